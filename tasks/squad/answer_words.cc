#include "tasks/squad/answer_words.h"

#include <utf8proc.h>

#include <algorithm>
#include <map>
#include <set>

#include "text/normalizer.h"
#include "text/unicode.h"

namespace engine {

namespace {

using Words = std::set<std::string>;

// Calls each(character) for every character of a well-formed text.
template <class Each>
void each_character(std::string_view text, const Each& each) {
  for (const char *at = text.data(), *const end = at + text.size(); at < end;) each(next_character(at));
}

bool is_ascii_punctuation(char32_t c) {
  return (c > 0x20 && c < '0') || (c > '9' && c < 'A') || (c > 'Z' && c < 'a') || (c > 'z' && c < 0x7f);
}

bool is_punctuation(char32_t c) {
  if (is_ascii_punctuation(c)) return true;  // some of these are symbols in Unicode
  const utf8proc_category_t kind = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  return kind >= UTF8PROC_CATEGORY_PC && kind <= UTF8PROC_CATEGORY_PO;
}

// Replaces every one of these words by a space. A word here is a run of word characters (\w), whatever is beside it.
std::string without_words(std::string_view text, const Words& words) {
  std::string result, run;
  const auto end_run = [&] {
    result += words.contains(run) ? " " : run;
    run.clear();
  };
  each_character(text, [&](char32_t c) {
    if (is_word_character(c)) return append_utf8(run, c);
    end_run();
    append_utf8(result, c);
  });
  end_run();
  return result;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

// Returns the code of a language that a file calls by its English name.
std::string code_of(const std::string& language) {
  static const std::map<std::string, std::string> codes{
      {"english", "en"}, {"spanish", "es"},  {"german", "de"}, {"vietnamese", "vi"},
      {"arabic", "ar"},  {"chinese", "zh"}};
  const auto found = codes.find(in_lower_case(language));
  return found == codes.end() ? language : found->second;
}

// Puts spaces around every character of the Chinese script.
std::string apart(std::string_view text) {
  std::string result;
  each_character(text, [&](char32_t c) {
    const bool is_chinese = c >= 0x4e00 && c <= 0x9fa5;
    if (is_chinese) result += ' ';
    append_utf8(result, c);
    if (is_chinese) result += ' ';
  });
  return result;
}

}  // namespace

std::vector<std::string> words_in(std::string_view text) {
  std::vector<std::string> words(1);
  each_character(text, [&](char32_t c) {
    if (class_of(c) != CharacterClass::space) append_utf8(words.back(), c);
    else if (!words.back().empty()) words.emplace_back();
  });
  if (words.back().empty()) words.pop_back();
  return words;
}

std::string normalized_answer(std::string_view answer) {
  std::string plain;
  each_character(in_lower_case(answer), [&](char32_t c) {
    if (!is_ascii_punctuation(c)) append_utf8(plain, c);
  });
  return joined(words_in(without_words(plain, {"a", "an", "the"})));
}

std::string normalized_answer_in(const std::string& language, std::string_view answer) {
  static const std::map<std::string, Words> articles{
      {"en", {"a", "an", "the"}},
      {"es", {"un", "una", "unos", "unas", "el", "la", "los", "las"}},
      {"vi", {"c\u1ee7a", "l\u00e0", "c\u00e1i", "chi\u1ebfc", "nh\u1eefng"}},
      {"de", {"ein", "eine", "einen", "einem", "eines", "einer", "der", "die", "das", "den", "dem", "des"}}};
  std::string plain;
  each_character(in_lower_case(answer), [&](char32_t c) {
    if (!is_punctuation(c)) append_utf8(plain, c);
  });
  const std::string code = code_of(language);
  if (const auto found = articles.find(code); found != articles.end()) plain = without_words(plain, found->second);
  if (code == "zh") plain = apart(plain);
  if (code == "ar") {  // the scorer cuts the article off the words that begin with it, and out of others
    const std::string article = "\u0627\u0644";
    std::string without;
    for (size_t at = 0; at < plain.size();) {
      const size_t found = std::min(plain.find(article, at), plain.size());
      without.append(plain, at, found - at).append(1, ' ');
      at = found + article.size();
    }
    plain = std::move(without);
  }
  return joined(words_in(plain));
}

}  // namespace engine
