// Sentences that look like the one with the answer, but do not answer the question, in the manner of AddSent (Jia and
// Liang 2017, section 3.2). There people checked them. Here the sentence that holds the answer is taken as the
// statement, another question's answer of the same kind stands in place of the answer, and words and numbers are
// changed, so that it speaks of something else:
//   - a word of the list becomes one of its others, which begins as large or small
//   - a number keeps its length, and has other digits
// A sentence in which nothing but the answer would change, or that would hold an answer of the question, is left out.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/random.h"
#include "tasks/squad/examples.h"

namespace engine {

class ConfusingSentences {
 public:
  // Reads a file of lines "word other other ...", in lower case; without a file only numbers change. An Error names a
  // line without two words.
  explicit ConfusingSentences(const std::filesystem::path& words);

  // Takes the answers of the set's questions, to stand in place of others'.
  void learn_answers(const QuestionSet& set);
  // Returns a sentence for a question about its context, or an empty text.
  std::string sentence_for(const QuestionSet& set, const Question& question, Random& random) const;

 private:
  std::string changed(std::string_view text, Random& random, bool& is_changed) const;

  std::unordered_map<std::string, std::vector<std::string>> others_;
  std::vector<std::string> names_, numbers_;  // answers, apart by whether they hold a digit
};

}  // namespace engine
