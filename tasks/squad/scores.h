// How good an answer is beside true ones, as the official scorers measure it.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace engine {

struct AnswerScore {
  double exact_match = 0, f1 = 0;  // 0 ... 1, the most over all true answers (Rajpurkar et al. 2016, section 6.1)
  double jaccard = 0;              // the most over all true answers, of the sets of words in lower case
};

// Scores an answer beside the true ones. None of them, or none that is not empty when it is normalized, means that the
// empty answer is right, as SQuAD 2.0's scorer has it. Two answers without words have the F1 of 1 if `both_empty_agree`
// (SQuAD 2.0), else 0 (SQuAD 1.1). Two answers without words have the Jaccard of 1.
AnswerScore score_answer(std::string_view answer, const std::vector<std::string>& truths, bool both_empty_agree);

// Scores an answer as MLQA's scorer does: exact_match and f1 alone.
AnswerScore score_answer_in(const std::string& language, std::string_view answer,
                            const std::vector<std::string>& truths);

// Adds up scores, as SQuAD's scorers and MLQA's report them.
class AnswerScores {
 public:
  // With version_2 questions may have no answer (SQuAD 2.0).
  explicit AnswerScores(bool version_2) : version_2_(version_2) {}
  // Scores an answer, and adds it. The language may be empty.
  AnswerScore add(std::string_view answer, const std::vector<std::string>& truths, const std::string& language = "");
  // Returns exact_match and f1 in percent, and jaccard. With version_2 also has_answer_exact, has_answer_f1,
  // no_answer_exact and no_answer_f1, over the questions that have an answer or none. For each language mlqa_exact_X,
  // mlqa_f1_X and jaccard_X.
  std::vector<std::pair<std::string, double>> metrics() const;

 private:
  struct Sums {
    double count = 0, exact = 0, f1 = 0, jaccard = 0;
    void add(const AnswerScore& score);
  };
  bool version_2_;
  Sums with_answer_, without_;
  std::map<std::string, Sums> languages_;
};

}  // namespace engine
