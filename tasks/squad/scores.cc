#include "tasks/squad/scores.h"

#include <algorithm>
#include <map>
#include <set>

#include "tasks/squad/answer_words.h"
#include "text/normalizer.h"

namespace engine {

namespace {

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
    const std::vector<std::string> words = words_in(in_lower_case(text));
    return std::set<std::string>(words.begin(), words.end());
  };
  const std::set<std::string> a = set_of(answer), b = set_of(truth);
  if (a.empty() && b.empty()) return 1;
  const auto common = std::count_if(a.begin(), a.end(), [&](const std::string& word) { return b.contains(word); });
  return static_cast<double>(common) / (static_cast<double>(a.size() + b.size()) - static_cast<double>(common));
}

}  // namespace

AnswerScore score_answer(std::string_view answer, const std::vector<std::string>& truths, bool both_empty_agree) {
  AnswerScore best;
  const std::string own = normalized_answer(answer);
  const std::vector<std::string> own_words = words_in(own);
  const auto compare = [&](const std::string& truth) {
    const std::string normalized = normalized_answer(truth);
    if (both_empty_agree && normalized.empty() && !truths.empty()) return false;
    best.exact_match = std::max(best.exact_match, own == normalized ? 1.0 : 0.0);
    best.f1 = std::max(best.f1, f1_of(own_words, words_in(normalized), both_empty_agree));
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

AnswerScore score_answer_in(const std::string& language, std::string_view answer,
                            const std::vector<std::string>& truths) {
  AnswerScore best;
  const std::string own = normalized_answer_in(language, answer);
  for (const std::string& truth : truths) {
    const std::string other = normalized_answer_in(language, truth);
    best.exact_match = std::max(best.exact_match, own == other ? 1.0 : 0.0);
    best.f1 = std::max(best.f1, f1_of(words_in(own), words_in(other), /*both_empty_agree=*/false));
  }
  if (truths.empty()) best.exact_match = best.f1 = own.empty() ? 1 : 0;
  return best;
}

void AnswerScores::Sums::add(const AnswerScore& score) {
  count += 1;
  exact += score.exact_match;
  f1 += score.f1;
  jaccard += score.jaccard;
}

AnswerScore AnswerScores::add(std::string_view answer, const std::vector<std::string>& truths,
                              const std::string& language) {
  const AnswerScore score = score_answer(answer, truths, version_2_);
  (truths.empty() ? without_ : with_answer_).add(score);
  if (!language.empty()) {
    AnswerScore in_language = score_answer_in(language, answer, truths);
    in_language.jaccard = score.jaccard;
    languages_[language].add(in_language);
  }
  return score;
}

std::vector<std::pair<std::string, double>> AnswerScores::metrics() const {
  const auto mean = [](double sum, double count) { return count > 0 ? sum / count : 0; };
  const double count = with_answer_.count + without_.count;
  std::vector<std::pair<std::string, double>> metrics{
      {"exact_match", 100 * mean(with_answer_.exact + without_.exact, count)},
      {"f1", 100 * mean(with_answer_.f1 + without_.f1, count)},
      {"jaccard", mean(with_answer_.jaccard + without_.jaccard, count)}};
  if (version_2_) {
    metrics.emplace_back("has_answer_exact", 100 * mean(with_answer_.exact, with_answer_.count));
    metrics.emplace_back("has_answer_f1", 100 * mean(with_answer_.f1, with_answer_.count));
    metrics.emplace_back("no_answer_exact", 100 * mean(without_.exact, without_.count));
    metrics.emplace_back("no_answer_f1", 100 * mean(without_.f1, without_.count));
  }
  for (const auto& [language, sums] : languages_) {
    metrics.emplace_back("mlqa_exact_" + language, 100 * mean(sums.exact, sums.count));
    metrics.emplace_back("mlqa_f1_" + language, 100 * mean(sums.f1, sums.count));
    metrics.emplace_back("jaccard_" + language, mean(sums.jaccard, sums.count));
  }
  return metrics;
}

}  // namespace engine
