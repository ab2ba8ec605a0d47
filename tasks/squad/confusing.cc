#include "tasks/squad/confusing.h"

#include <utf8proc.h>

#include <cctype>
#include <sstream>

#include "core/error.h"
#include "core/files.h"
#include "tasks/squad/passages.h"
#include "text/normalizer.h"
#include "text/unicode.h"

namespace engine {

namespace {

constexpr int tries = 8;  // to find another answer that is no answer of the question

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool has_digit(std::string_view text) { return text.find_first_of("0123456789") != std::string_view::npos; }
// Bytes of characters beyond ASCII belong to words.
bool is_of_word(char c) { return static_cast<unsigned char>(c) >= 128 || std::isalpha(static_cast<unsigned char>(c)); }

bool begins_large(std::string_view word) {
  const char* at = word.data();
  return utf8proc_category(static_cast<utf8proc_int32_t>(next_character(at))) == UTF8PROC_CATEGORY_LU;
}

std::string with_large_beginning(std::string_view word) {
  const char* at = word.data();
  std::string result;
  append_utf8(result, static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(next_character(at)))));
  return result.append(at, word.data() + word.size());
}

// Returns other digits, as many. The first is 0 only where it was.
std::string other_number(std::string_view digits, Random& random) {
  std::string number(digits);
  while (number == digits)
    for (size_t i = digits.size() > 2 ? digits.size() - 2 : 0; i < digits.size(); ++i)  // 1996 becomes 1973, not 4108
      number[i] = static_cast<char>(i == 0 && digits[0] != '0' ? '1' + random.below(9) : '0' + random.below(10));
  return number;
}

}  // namespace

ConfusingSentences::ConfusingSentences(const std::filesystem::path& words) {
  if (!words.empty()) {
    const std::string text = read_text(words);
    const std::string_view all = text_of_file(text, words.string());
    if (const size_t bad = find_invalid_utf8(all); bad < all.size())
      fail(words.string(), ": is no valid UTF-8 at byte ", bad);
    int64_t number = 0;
    for (const auto& [begin, end] : lines_of(all)) {
      ++number;
      std::istringstream line{std::string(all.substr(begin, end - begin))};
      std::string word, other;
      if (!(line >> word)) continue;
      std::vector<std::string>& others = others_[word];
      while (line >> other)
        if (other != word) others.push_back(other);
      if (others.empty())
        fail(words.string(), ":", number, ": \"", word.substr(0, 40), "\" has no other word beside it");
    }
  }
}

void ConfusingSentences::learn_answers(const QuestionSet& set) {
  for (const Question& question : set.questions)
    if (!question.answers.empty())
      (has_digit(question.answers[0].text) ? numbers_ : names_).push_back(question.answers[0].text);
}

std::string ConfusingSentences::changed(std::string_view text, Random& random, bool& is_changed) const {
  std::string result;
  for (size_t at = 0; at < text.size();) {
    size_t end = at + 1;
    if (is_digit(text[at])) {
      while (end < text.size() && is_digit(text[end])) ++end;
      result += other_number(text.substr(at, end - at), random);
      is_changed = true;
    } else if (is_of_word(text[at])) {
      while (end < text.size() && is_of_word(text[end])) ++end;
      const std::string word(text.substr(at, end - at));
      const auto found = others_.find(in_lower_case(word));
      std::string other = word;
      if (found != others_.end()) {
        other = found->second[random.below(static_cast<uint32_t>(found->second.size()))];
        if (begins_large(word)) other = with_large_beginning(other);
        is_changed = true;
      }
      result += other;
    } else {
      result += text[at];
    }
    at = end;
  }
  return result;
}

std::string ConfusingSentences::sentence_for(const QuestionSet& set, const Question& question, Random& random) const {
  if (question.answers.empty()) return {};
  const std::string_view context = set.contexts[question.context].text;
  const AnswerSpan& answer = question.answers.front();
  const size_t from = byte_of(context, answer.begin), to = from + answer.text.size();
  const std::vector<std::string>& kind = has_digit(answer.text) ? numbers_ : names_;
  const auto holds_answer = [&](const std::string& text) {
    for (const std::string& truth : question.truths)
      if (!truth.empty() && in_lower_case(text).find(in_lower_case(truth)) != std::string::npos) return true;
    return false;
  };
  for (const auto& [begin, end] : sentences_of(context)) {
    if (from < begin || to > end) continue;
    bool is_changed = false;
    const std::string before = changed(context.substr(begin, from - begin), random, is_changed);
    const std::string behind = changed(context.substr(to, end - to), random, is_changed);
    if (!is_changed) return {};
    for (int i = 0; i < tries; ++i) {
      std::string sentence = before + kind[random.below(static_cast<uint32_t>(kind.size()))] + behind;
      while (!sentence.empty() && std::isspace(static_cast<unsigned char>(sentence.back()))) sentence.pop_back();
      if (!holds_answer(sentence)) return sentence;
    }
    return {};
  }
  return {};  // the answer reaches over several sentences
}

}  // namespace engine
