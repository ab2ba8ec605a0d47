// SQuAD's JSON schema.
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/file_bytes.h"
#include "core/json.h"
#include "tasks/squad/examples.h"
#include "text/unicode.h"

namespace engine {

using nlohmann::json;

namespace {

class SquadJsonReader {
 public:
  SquadJsonReader(const std::filesystem::path& file, QuestionAdder& to) : file_(file.string()), to_(to) {}

  // Reads paragraph after paragraph, of which none stays in memory. What is left must have the form of a file that has
  // none.
  void read() {
    const FileBytes file(file_);
    size_t article = 0, paragraph = 0;
    std::string first_key, second_key;  // of the file's object, and of an article
    const auto take = [&](int depth, const std::string& key, json* object) {
      if (!object) {
        if (depth == 1) first_key = key;
        if (depth == 3) second_key = key;
        return true;
      }
      if (first_key != "data") return true;
      if (depth == article_depth) {
        ++article;
        paragraph = 0;
      }
      if (depth != paragraph_depth || second_key != "paragraphs") return true;
      read_paragraph(*object, place(place(file_, "data", article), "paragraphs", paragraph++));
      return false;
    };
    const json rest = parse_json_pieces(text_of_file(file.text(), file_), file_, take);
    if (!rest.is_object() || !rest.contains("data"))
      fail(file_, ": should be an object with the member \"data\", as SQuAD's files have it; questions a line are ",
           "read from a file whose name ends with .jsonl");
    const json& articles = list(rest, "data", file_);
    for (size_t a = 0; a < articles.size(); ++a) {
      const std::string where = place(file_, "data", a);
      if (!list(articles[a], "paragraphs", where).empty()) fail(where, ": \"paragraphs\" should hold objects alone");
    }
  }

 private:
  static constexpr int article_depth = 2, paragraph_depth = 4;

  static std::string place(const std::string& where, const char* member, size_t index) {
    return where + (where.ends_with(']') ? "." : ": ") + member + "[" + std::to_string(index) + "]";
  }
  static const json& list(const json& object, const char* key, const std::string& where) {
    if (!object.is_object()) fail(where, ": should be an object");
    const json& member = json_member(object, key, where);
    if (!member.is_array()) fail(where, ": \"", key, "\" should be a list");
    return member;
  }

  void read_paragraph(const json& paragraph, const std::string& where) {
    const json& questions = list(paragraph, "qas", where);
    to_.set().contexts.push_back({json_string(paragraph, "context", where)});
    for (size_t q = 0; q < questions.size(); ++q) read_question(questions[q], place(where, "qas", q));
    to_.end_context();
  }

  void read_question(const json& entry, const std::string& where) {
    if (!entry.is_object()) fail(where, ": should be an object");
    Question question;
    question.id = json_string(entry, "id", where);
    if (question.id.empty()) fail(where, ": the id is empty");
    question.text = json_string(entry, "question", where);
    question.language = json_string(entry, "language", where, "");
    const bool is_impossible = json_bool(entry, "is_impossible", where, false);
    if (!is_impossible && json_has(entry, "answers", where)) {
      const json& answers = list(entry, "answers", where);
      for (size_t i = 0; i < answers.size(); ++i) read_answer(answers[i], place(where, "answers", i), question);
    } else if (!is_impossible && to_.wanted() == AnswersWanted::yes) {
      fail(where, ": question \"", question.id.substr(0, 80),
           "\" has no \"answers\": they are needed here; see predict");
    }
    to_.add(std::move(question), where);
  }

  void read_answer(const json& entry, const std::string& where, Question& question) {
    if (!entry.is_object()) fail(where, ": should be an object");
    const std::string text = json_string(entry, "text", where);
    // A file to predict may have answers of any form.
    if (to_.wanted() == AnswersWanted::yes)
      to_.add_answer(text, json_integer(entry, "answer_start", where, INT64_MIN, INT64_MAX, -1), question);
    else
      question.truths.push_back(text);
  }

  const std::string file_;
  QuestionAdder& to_;
};

}  // namespace

void read_squad_json(const std::filesystem::path& file, QuestionAdder& to) { SquadJsonReader(file, to).read(); }

}  // namespace engine
