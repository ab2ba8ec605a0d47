// Questions a line, as the library datasets writes SQuAD to a .jsonl file:
//   {"id": "1", "context": "...", "question": "...", "answers": {"text": ["..."], "answer_start": [3]}}
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/file_bytes.h"
#include "core/json.h"
#include "tasks/squad/examples.h"

namespace engine {

using nlohmann::json;

namespace {

const json& list_of(const json& answers, const char* key, const std::string& where) {
  const json& list = json_member(answers, key, where);
  if (!list.is_array()) fail(where, ": \"", key, "\" should be a list");
  return list;
}

void read_answers(const json& answers, const std::string& where, QuestionAdder& to, Question& question) {
  if (!answers.is_object()) fail(where, ": should be an object with the lists \"text\" and \"answer_start\"");
  const json& texts = list_of(answers, "text", where);
  // A file to predict may have answers without places.
  const bool wanted = to.wanted() == AnswersWanted::yes;
  const json& starts = wanted ? list_of(answers, "answer_start", where) : texts;
  if (texts.size() != starts.size())
    fail(where, ": \"text\" has ", texts.size(), " elements, \"answer_start\" ", starts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    if (!texts[i].is_string())
      fail(where, ": text[", i, "] is ", texts[i].dump(-1, ' ', true).substr(0, 60), ", it should be a string");
    if (wanted && !starts[i].is_number_integer())
      fail(where, ": answer_start[", i, "] is ", starts[i].dump(-1, ' ', true).substr(0, 60),
           ", it should be an integer");
    if (wanted) to.add_answer(texts[i], starts[i], question);
    else question.truths.push_back(texts[i]);
  }
}

void read_line(const json& entry, const std::string& where, QuestionAdder& to) {
  if (!entry.is_object()) fail(where, ": should be an object");
  if (json_has(entry, "data", where))
    fail(where, ": holds articles of SQuAD's own schema: give the file a name that ends with .json");
  Question question;
  question.id = json_string(entry, "id", where);
  if (question.id.empty()) fail(where, ": the id is empty");
  question.text = json_string(entry, "question", where);
  question.language = json_string(entry, "language", where, "");
  question.fold = json_integer(entry, "fold", where, 0, INT64_MAX, -1);
  to.take_context(json_string(entry, "context", where));
  if (to.wanted() == AnswersWanted::yes || json_has(entry, "answers", where))
    read_answers(json_member(entry, "answers", where), where + ": answers", to, question);
  to.add(std::move(question), where);
}

}  // namespace

void read_squad_lines(const std::filesystem::path& file, QuestionAdder& to) {
  const FileBytes bytes(file);
  each_json_line(bytes.text(), file.string(),
                 [&](const json& entry, const std::string& where, size_t) { read_line(entry, where, to); });
}

}  // namespace engine
