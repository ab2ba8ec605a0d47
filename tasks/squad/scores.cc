#include "tasks/squad/scores.h"

#include <algorithm>
#include <map>
#include <set>

#include "text/normalizer.h"
#include "text/unicode.h"

namespace engine {

namespace {

// Calls each(character) for every character of a well-formed text.
template <class Each>
void each_character(std::string_view text, const Each& each) {
  for (const char *at = text.data(), *const end = at + text.size(); at < end;) each(next_character(at));
}

bool is_ascii_punctuation(char32_t c) {
  return (c > 0x20 && c < '0') || (c > '9' && c < 'A') || (c > 'Z' && c < 'a') || (c > 'z' && c < 0x7f);
}

std::string lower_case(std::string_view text) {
  static const Normalizer normalizer({Normalizer::Step::lowercase});
  return normalizer.apply(text);
}

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words(1);
  each_character(text, [&](char32_t c) {
    if (class_of(c) != CharacterClass::space) append_utf8(words.back(), c);
    else if (!words.back().empty()) words.emplace_back();
  });
  if (words.back().empty()) words.pop_back();
  return words;
}

// Replaces every word a, an and the by a space. A word here is a run of word characters (\w), whatever is beside it.
std::string without_articles(std::string_view text) {
  std::string result, run;
  const auto end_run = [&] {
    result += run == "a" || run == "an" || run == "the" ? " " : run;
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

double f1_of(const std::vector<std::string>& answer, const std::vector<std::string>& truth, bool both_empty_agree) {
  if (both_empty_agree && (answer.empty() || truth.empty())) return answer.empty() && truth.empty() ? 1 : 0;
  std::map<std::string, int> counts;
  for (const std::string& word : truth) ++counts[word];
  int common = 0;
  for (const std::string& word : answer)
    if (counts[word]-- > 0) ++common;
  if (common == 0) return 0;
  const double precision = common / static_cast<double>(answer.size());
  const double recall = common / static_cast<double>(truth.size());
  return 2 * precision * recall / (precision + recall);
}

double jaccard_of(std::string_view answer, std::string_view truth) {
  const auto set_of = [](std::string_view text) {
    const std::vector<std::string> words = words_of(lower_case(text));
    return std::set<std::string>(words.begin(), words.end());
  };
  const std::set<std::string> a = set_of(answer), b = set_of(truth);
  if (a.empty() && b.empty()) return 1;
  const auto common = std::count_if(a.begin(), a.end(), [&](const std::string& word) { return b.contains(word); });
  return static_cast<double>(common) / (static_cast<double>(a.size() + b.size()) - static_cast<double>(common));
}

}  // namespace

std::string normalized_answer(std::string_view answer) {
  std::string plain;
  each_character(lower_case(answer), [&](char32_t c) {
    if (!is_ascii_punctuation(c)) append_utf8(plain, c);
  });
  std::string result;
  for (const std::string& word : words_of(without_articles(plain))) result += (result.empty() ? "" : " ") + word;
  return result;
}

AnswerScore score_answer(std::string_view answer, const std::vector<std::string>& truths, bool both_empty_agree) {
  AnswerScore best;
  const std::string own = normalized_answer(answer);
  const std::vector<std::string> own_words = words_of(own);
  const auto compare = [&](const std::string& truth) {
    const std::string normalized = normalized_answer(truth);
    if (both_empty_agree && normalized.empty() && !truths.empty()) return false;
    best.exact_match = std::max(best.exact_match, own == normalized ? 1.0 : 0.0);
    best.f1 = std::max(best.f1, f1_of(own_words, words_of(normalized), both_empty_agree));
    return true;
  };
  bool is_compared = false;
  for (const std::string& truth : truths) {
    is_compared |= compare(truth);
    best.jaccard = std::max(best.jaccard, jaccard_of(answer, truth));
  }
  if (!is_compared) best.exact_match = best.f1 = own.empty() ? 1 : 0;
  if (truths.empty()) best.jaccard = jaccard_of(answer, "");
  return best;
}

AnswerScore AnswerScores::add(std::string_view answer, const std::vector<std::string>& truths) {
  const AnswerScore score = score_answer(answer, truths, version_2_);
  Sums& sums = truths.empty() ? without_ : with_answer_;
  sums.count += 1;
  sums.exact += score.exact_match;
  sums.f1 += score.f1;
  sums.jaccard += score.jaccard;
  return score;
}

std::vector<std::pair<std::string, double>> AnswerScores::metrics() const {
  const auto mean = [](double sum, double count) { return count > 0 ? sum / count : 0; };
  const double count = with_answer_.count + without_.count;
  std::vector<std::pair<std::string, double>> metrics{
      {"exact_match", 100 * mean(with_answer_.exact + without_.exact, count)},
      {"f1", 100 * mean(with_answer_.f1 + without_.f1, count)},
      {"jaccard", mean(with_answer_.jaccard + without_.jaccard, count)}};
  if (!version_2_) return metrics;
  metrics.emplace_back("has_answer_exact", 100 * mean(with_answer_.exact, with_answer_.count));
  metrics.emplace_back("has_answer_f1", 100 * mean(with_answer_.f1, with_answer_.count));
  metrics.emplace_back("no_answer_exact", 100 * mean(without_.exact, without_.count));
  metrics.emplace_back("no_answer_f1", 100 * mean(without_.f1, without_.count));
  return metrics;
}

}  // namespace engine
