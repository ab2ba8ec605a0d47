// Windows over contexts. A model reads a question with as much of its context as fits. A long context has several
// windows, each of which begins some tokens before the end of the last (Devlin et al. 2018).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tasks/squad/config.h"
#include "tasks/squad/examples.h"
#include "text/tokenizer.h"

namespace engine {

struct Window {
  size_t question;
  size_t begin, end;  // its tokens of the context
};

// The model's input of a window, with the places of the context and of the answer in it.
struct WindowInput {
  Framed framed;
  size_t context = 0, context_tokens = 0;           // its first token of the context, and how many there are
  std::optional<std::pair<size_t, size_t>> answer;  // see EncodedQuestions::answer_in
};

// Questions with their contexts, encoded. Every context is encoded once, however many questions it has.
class EncodedQuestions {
 public:
  EncodedQuestions() = default;
  // All threads encode. An Error where no window fits, or where a text is no UTF-8, names the question or the context.
  EncodedQuestions(std::shared_ptr<const QuestionSet> set, const Tokenizer& tokenizer, const SquadConfig& config);
  EncodedQuestions(QuestionSet set, const Tokenizer& tokenizer, const SquadConfig& config)
      : EncodedQuestions(std::make_shared<const QuestionSet>(std::move(set)), tokenizer, config) {}

  const QuestionSet& set() const { return *set_; }
  const std::shared_ptr<const QuestionSet>& shared_set() const { return set_; }
  const std::vector<Window>& windows() const { return windows_; }
  int64_t cut_questions() const { return cut_questions_; }

  // Returns the number of tokens of a window, with the special tokens.
  size_t length(const Window& window) const {
    return questions_[window.question].ids.size() + (window.end - window.begin) + special_tokens_;
  }
  std::vector<int32_t> lengths() const;  // of all windows
  // Returns the input of the model.
  Framed framed(const Window& window) const;
  // Returns the first and the last token, counted in the window, of the question's first answer: the last one that
  // begins no later than the answer, and the first one that ends no earlier. Nothing where the window does not hold
  // all of the answer, or where there is none.
  std::optional<std::pair<size_t, size_t>> answer_in(const Window& window) const;
  WindowInput input(const Window& window) const {
    return {framed(window), first_of_context(window), window.end - window.begin, answer_in(window)};
  }
  // Returns the place in a window of the context's first token in it.
  size_t first_of_context(const Window& window) const;
  // Returns the context's token that is at a place of a window, in characters of the context.
  std::pair<int32_t, int32_t> offsets(const Window& window, size_t token) const {
    return contexts_[set_->questions[window.question].context].offsets[window.begin + token];
  }
  // Returns the characters of all tokens of a context.
  const std::vector<std::pair<int32_t, int32_t>>& context_offsets(size_t context) const {
    return contexts_[context].offsets;
  }
  const std::vector<int32_t>& context_ids(size_t context) const { return contexts_[context].ids; }
  const std::vector<int32_t>& question_ids(size_t question) const { return questions_[question].ids; }
  // Whether a token of the context has no characters, because it tells a place (place_tokens.h).
  bool is_place_token(const Window& window, size_t token) const {
    const auto [begin, end] = offsets(window, token);
    return has_place_tokens_ && begin == end;
  }

 private:
  std::shared_ptr<const QuestionSet> set_ = std::make_shared<const QuestionSet>();
  std::vector<Encoding> contexts_, questions_;
  std::vector<Window> windows_;
  Framing framing_;
  size_t special_tokens_ = 0;
  int64_t cut_questions_ = 0;
  bool has_place_tokens_ = false;
};

}  // namespace engine
