// Found answers are written as run_qa writes them, and shown to a person.
#pragma once

#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "tasks/squad/answers.h"

namespace engine {

// The files of predict, to which pieces are appended: predictions.json (id: text), nbest_predictions.json (id: list of
// answers with scores and probabilities) and, with null_odds, null_odds.json (id: score of no answer less that of the
// best answer), in the form of run_qa in transformers; with a table predictions.csv, too, which has the columns id and
// PredictionString, as chaii takes them.
struct PredictionFiles {
  bool null_odds = false, table = false;
};
using WritePredictions = std::function<void(const QuestionSet& set, const std::vector<FoundAnswers>& found)>;
// Makes the folder where it is not there, and lets `work` write piece after piece. The files appear whole, when it has
// ended, or not at all.
void write_predictions(const std::filesystem::path& folder, PredictionFiles files,
                       const std::function<void(const WritePredictions& write)>& work);

// Tells of a question and its answer.
nlohmann::ordered_json prediction_of(const Question& question, const FoundAnswers& found, bool is_right);
// Returns a line of predictions.jsonl a question. Its loss is left out where it is NaN.
std::string prediction_lines(const QuestionSet& set, const std::vector<FoundAnswers>& found,
                             const std::vector<bool>& is_right, const std::vector<double>& losses);

// Returns some questions with their answers for a person to read, half of them mistakes as far as there are any.
std::string sample_text(const QuestionSet& set, const std::vector<FoundAnswers>& found,
                        const std::vector<bool>& is_right, size_t most);

}  // namespace engine
