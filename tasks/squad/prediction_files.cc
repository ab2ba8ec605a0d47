#include "tasks/squad/prediction_files.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <ostream>
#include <sstream>

#include "core/csv.h"
#include "core/files.h"
#include "core/folders.h"

namespace engine {

namespace {

using Json = nlohmann::ordered_json;

// An object with a member a question, one after another, in the layout of json.dump(indent=4).
class ObjectFile {
 public:
  ObjectFile(std::ostream& out, Json (*value_of)(const FoundAnswers&)) : out_(out), value_of_(value_of) { out_ << "{"; }
  void add(const std::string& id, const FoundAnswers& found) {
    std::string value = value_of_(found).dump(4);
    for (size_t at = 0; (at = value.find('\n', at)) != std::string::npos; at += 5) value.insert(at + 1, "    ");
    out_ << (is_first_ ? "\n    " : ",\n    ") << Json(id).dump() << ": " << value;
    is_first_ = false;
  }
  void end() { out_ << "\n}\n"; }

 private:
  std::ostream& out_;
  Json (*value_of_)(const FoundAnswers&);
  bool is_first_ = true;
};

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

void write_predictions(const std::filesystem::path& folder, PredictionFiles files,
                       const std::function<void(const WritePredictions& write)>& work) {
  make_folders(folder);
  std::vector<ObjectFile> objects;
  std::ostream* table = nullptr;
  const WritePredictions write = [&](const QuestionSet& set, const std::vector<FoundAnswers>& found) {
    for (size_t q = 0; q < found.size(); ++q) {
      for (ObjectFile& object : objects) object.add(set.questions[q].id, found[q]);
      if (table) *table << csv_field(set.questions[q].id) << ',' << csv_field(found[q].text) << '\n';
    }
  };
  // Each file is written inside the writing of the one before.
  std::vector<std::pair<const char*, Json (*)(const FoundAnswers&)>> names{
      {"predictions.json", text_of}, {"nbest_predictions.json", candidates_of}};
  if (files.null_odds) names.emplace_back("null_odds.json", odds_of);
  const std::function<void(size_t)> write_from = [&](size_t i) {
    if (i < names.size()) {
      write_file(folder / names[i].first, [&](std::ostream& out) {
        objects.emplace_back(out, names[i].second);
        write_from(i + 1);
        objects[i].end();
      });
    } else if (files.table && !table) {
      write_file(folder / "predictions.csv", [&](std::ostream& out) {
        table = &out;
        out << "id,PredictionString\n";
        write_from(i);
      });
    } else {
      work(write);
    }
  };
  write_from(0);
}

nlohmann::ordered_json prediction_of(const Question& question, const FoundAnswers& found, bool is_right) {
  return {{"id", question.id},
          {"input", question.text},
          {"label", question.truths},
          {"prediction", found.text},
          {"right", is_right}};
}

std::string prediction_lines(const QuestionSet& set, const std::vector<FoundAnswers>& found,
                             const std::vector<bool>& is_right, const std::vector<double>& losses) {
  std::string lines;
  for (size_t q = 0; q < found.size(); ++q) {
    Json line = prediction_of(set.questions[q], found[q], is_right[q]);
    if (!std::isnan(losses[q])) line["loss"] = losses[q];
    lines += line.dump() + "\n";
  }
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
