#include "tasks/squad/windows.h"

#include "core/error.h"
#include "core/parallel.h"
#include "tasks/squad/place_tokens.h"

namespace engine {

namespace {

void encode_all(size_t count, std::vector<Encoding>& encodings, const std::function<Encoding(size_t)>& encoding_of,
                const std::function<std::string(size_t)>& name_of) {
  encodings.resize(count);
  parallel_for_or_throw(static_cast<int64_t>(count), [&](int64_t i) {
    const auto at = static_cast<size_t>(i);
    try {
      encodings[at] = encoding_of(at);
    } catch (const Error& error) {
      fail(name_of(at), ": ", error.what());
    }
  });
}

}  // namespace

EncodedQuestions::EncodedQuestions(std::shared_ptr<const QuestionSet> shared, const Tokenizer& tokenizer,
                                   const SquadConfig& config)
    : set_(std::move(shared)), framing_(tokenizer.framing()) {
  special_tokens_ = framing_.special_tokens(/*is_pair=*/true);
  const auto name = [&](size_t q) { return "question \"" + set_->questions[q].id.substr(0, 80) + "\""; };
  has_place_tokens_ = config.word_tokens != "none" || config.context_token;
  const auto encode_context = [&](size_t c) {
    const Context& context = set_->contexts[c];
    return has_place_tokens_ ? encode_with_places(tokenizer, context, config)
                             : tokenizer.encode_with_offsets(context.text);
  };
  const auto name_of_context = [&](size_t c) {
    for (size_t q = 0; q < set_->questions.size(); ++q)
      if (set_->questions[q].context == c) return "the context of " + name(q);
    return std::string("a context without questions");
  };
  encode_all(set_->contexts.size(), contexts_, encode_context, name_of_context);
  // White space before a question is no part of it.
  const auto encode_question = [&](size_t q) {
    const std::string& text = set_->questions[q].text;
    return tokenizer.encode_with_offsets(
        std::string_view(text).substr(std::min(text.find_first_not_of(" \t\r\n"), text.size())));
  };
  encode_all(set_->questions.size(), questions_, encode_question, name);
  const auto most = static_cast<size_t>(config.max_query_length);
  for (size_t q = 0; q < questions_.size(); ++q) {
    Encoding& question = questions_[q];
    if (question.ids.size() > most) {
      question.ids.resize(most);
      question.offsets.resize(most);
      ++cut_questions_;
    }
    try {
      const size_t context = contexts_[set_->questions[q].context].ids.size();
      const auto most_tokens = static_cast<size_t>(config.max_length), used = question.ids.size() + special_tokens_;
      auto overlap = static_cast<size_t>(config.doc_stride);
      // A step that is longer than a window would leave tokens out.
      if (config.window_step && used < most_tokens)
        overlap = most_tokens - used - std::min(most_tokens - used, static_cast<size_t>(config.window_step));
      for (const auto& [begin, end] : window_parts(tokenizer, question.ids.size(), context, most_tokens, overlap))
        windows_.push_back({q, begin, end});
    } catch (const Error& error) {
      fail(name(q), ": ", error.what(), " (squad.max_length, squad.doc_stride, squad.max_query_length)");
    }
  }
}

std::vector<int32_t> EncodedQuestions::lengths() const {
  std::vector<int32_t> lengths;
  for (const Window& window : windows_) lengths.push_back(static_cast<int32_t>(length(window)));
  return lengths;
}

Framed EncodedQuestions::framed(const Window& window) const {
  return frame_pair(framing_, questions_[window.question], contexts_[set_->questions[window.question].context],
                    window.begin, window.end);
}

size_t EncodedQuestions::first_of_context(const Window& window) const {
  size_t place = 0;
  for (const Framing::Piece& piece : framing_.pair) {
    if (piece.text == 1) break;
    place += piece.text == 0 ? questions_[window.question].ids.size() : 1;
  }
  return place;
}

std::optional<std::pair<size_t, size_t>> EncodedQuestions::answer_in(const Window& window) const {
  const Question& question = set_->questions[window.question];
  if (question.answers.empty() || window.begin == window.end) return {};
  const AnswerSpan& answer = question.answers.front();
  const auto& offsets = contexts_[question.context].offsets;
  if (offsets[window.begin].first > answer.begin || offsets[window.end - 1].second < answer.end) return {};
  size_t first = window.begin, last = window.end - 1;
  while (first + 1 < window.end && offsets[first + 1].first <= answer.begin) ++first;
  while (last > window.begin && offsets[last - 1].second >= answer.end) --last;
  if (last < first) std::swap(first, last);  // tokens of one character have the same places
  const size_t place = first_of_context(window);
  return std::pair(place + first - window.begin, place + last - window.begin);
}

}  // namespace engine
