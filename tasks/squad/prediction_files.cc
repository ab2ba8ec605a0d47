#include "tasks/squad/prediction_files.h"

#include <nlohmann/json.hpp>
#include <ostream>
#include <sstream>

#include "core/csv.h"
#include "core/files.h"

namespace engine {

namespace {

using Json = nlohmann::ordered_json;

// Writes an object with a member a question, one after another, in the layout of json.dump(indent=4).
void write_object(const std::filesystem::path& file, const QuestionSet& set, const std::vector<FoundAnswers>& found,
                  Json (*value_of)(const FoundAnswers&)) {
  write_file(file, [&](std::ostream& out) {
    out << "{";
    for (size_t q = 0; q < found.size(); ++q) {
      std::string value = value_of(found[q]).dump(4);
      for (size_t at = 0; (at = value.find('\n', at)) != std::string::npos; at += 5) value.insert(at + 1, "    ");
      out << (q ? ",\n    " : "\n    ") << Json(set.questions[q].id).dump() << ": " << value;
    }
    out << "\n}\n";
  });
}

Json text_of(const FoundAnswers& found) { return found.text; }
Json odds_of(const FoundAnswers& found) { return found.null_odds; }
Json candidates_of(const FoundAnswers& found) {
  Json list = Json::array();
  for (const Candidate& c : found.candidates)
    list.push_back({{"score", c.score},
                    {"start_logit", c.start_logit},
                    {"end_logit", c.end_logit},
                    {"text", c.text},
                    {"probability", c.probability}});
  return list;
}

}  // namespace

void write_predictions(const QuestionSet& set, const std::vector<FoundAnswers>& found, PredictionFiles files,
                       const std::filesystem::path& folder) {
  std::filesystem::create_directories(folder);
  write_object(folder / "predictions.json", set, found, text_of);
  write_object(folder / "nbest_predictions.json", set, found, candidates_of);
  if (files.null_odds) write_object(folder / "null_odds.json", set, found, odds_of);
  if (!files.table) return;
  write_file(folder / "predictions.csv", [&](std::ostream& out) {
    out << "id,PredictionString\n";
    for (size_t q = 0; q < found.size(); ++q)
      out << csv_field(set.questions[q].id) << ',' << csv_field(found[q].text) << '\n';
  });
}

std::string prediction_lines(const QuestionSet& set, const std::vector<FoundAnswers>& found) {
  std::string lines;
  for (size_t q = 0; q < found.size(); ++q)
    lines += Json{{"id", set.questions[q].id}, {"answer", found[q].text}, {"truths", set.questions[q].truths}}.dump() +
             "\n";
  return lines;
}

std::string sample_text(const QuestionSet& set, const std::vector<FoundAnswers>& found,
                        const std::vector<bool>& is_right, size_t most) {
  std::vector<size_t> right, wrong;
  for (size_t q = 0; q < found.size(); ++q) (is_right[q] ? right : wrong).push_back(q);
  wrong.resize(std::min(wrong.size(), most / 2));
  right.resize(std::min(right.size(), most - wrong.size()));
  std::ostringstream text;
  for (const auto* rows : {&right, &wrong})
    for (const size_t q : *rows) {
      const Question& question = set.questions[q];
      text << (is_right[q] ? "right  " : "WRONG  ") << question.text << "\n       answer: " << found[q].text
           << "\n       truth:  " << (question.truths.empty() ? "(none)" : question.truths.front()) << '\n';
    }
  return text.str();
}

}  // namespace engine
