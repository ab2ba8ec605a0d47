// Found answers are written as run_qa writes them, and shown to a person.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "tasks/squad/answers.h"

namespace engine {

// Writes predictions.json (id: text), nbest_predictions.json (id: list of answers with scores and probabilities) and,
// with null_odds, null_odds.json (id: score of no answer less that of the best answer) into a folder, which is made
// where it is not there. The form is that of run_qa in transformers. With a table predictions.csv has the columns id
// and PredictionString, as chaii takes them.
struct PredictionFiles {
  bool null_odds = false, table = false;
};
void write_predictions(const QuestionSet& set, const std::vector<FoundAnswers>& found, PredictionFiles files,
                       const std::filesystem::path& folder);

// Returns a line of JSON a question: its id, the answer and the true ones.
std::string prediction_lines(const QuestionSet& set, const std::vector<FoundAnswers>& found);

// Returns some questions with their answers for a person to read, half of them mistakes as far as there are any.
std::string sample_text(const QuestionSet& set, const std::vector<FoundAnswers>& found,
                        const std::vector<bool>& is_right, size_t most);

}  // namespace engine
