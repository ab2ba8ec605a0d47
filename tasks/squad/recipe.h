// A recipe changes the questions of a training before windows are made, after the systems that did well at chaii
// (question answering in Hindi and Tamil over whole articles). Each step is an option of [squad].
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "tasks/squad/config.h"
#include "tasks/squad/confusing.h"
#include "tasks/squad/examples.h"

namespace engine {

class NegativeScores;

struct RecipeCounts {
  int64_t without_paragraph = 0;  // questions left out because no line holds all of their answer
  std::optional<int64_t> negatives;  // questions made of lines without the answer, where they are asked for
  int64_t dropped_lines = 0;      // lines that repeat an answer
  int64_t confusing = 0;          // sentences added
  std::string text() const;
};

// Leaves out the questions in other languages than squad.languages and gives questions of files that name none
// squad.language. An Error where neither names a question's language, but squad.languages asks for some.
void keep_languages(QuestionSet& set, const SquadConfig& config);

// Gives every question of a file without folds one of squad.folds by its context, so that questions about one context
// have the same. Nothing where squad.folds is 0.
void give_folds(QuestionSet& set, const SquadConfig& config);
// Leaves out the questions of the fold squad.fold, or all others.
void leave_out_fold(QuestionSet& set, int64_t fold);
void leave_only_fold(QuestionSet& set, int64_t fold);

// Takes the steps that squad.* asks for, with a set of questions at a time, in this order:
//   - remove_multi_answer_sentences: lines that hold an answer's text, but not the answer, go
//   - paragraphs = "gold": the line that holds the first answer becomes the context
//   - negatives: every other line without any of the answers' texts becomes the context of a question of its own, which
//     has no answer, where it has min_paragraph_length characters or more. Its id is the question's with "#" and the
//     line's number, from 1. With "hard" an epoch takes it with the probability negative_ratio times its part of the
//     scores of its question's negatives, at most 1; with negative_ratio = 0 those with a score above 0.5 are taken
//   - shuffle_sentences: sentences of a line change places; those that an answer lies in stay together
//   - confusing_sentences: see confusing.h
// All that is random is a function of the seed and the question's id.
class Recipe {
 public:
  Recipe(const SquadConfig& config, uint64_t seed);
  ~Recipe();
  // Whether learn_answers must see all questions before the first are changed.
  bool needs_answers() const { return confusing_.has_value(); }
  void learn_answers(const QuestionSet& set) { confusing_->learn_answers(set); }
  // An Error where negative_scores lack a negative.
  void follow(QuestionSet& set);
  const RecipeCounts& counts() const { return counts_; }  // of all sets so far

 private:
  const SquadConfig config_;
  const uint64_t seed_;
  RecipeCounts counts_;
  std::optional<ConfusingSentences> confusing_;
  std::unique_ptr<const NegativeScores> scores_;
};

// Leaves the first words of every context; 0: all.
void cut_contexts(QuestionSet& set, int64_t words);
// Leaves nothing but the negatives of the questions' lines, as "uniform" makes them.
void leave_only_negatives(QuestionSet& set, const SquadConfig& config);

}  // namespace engine
