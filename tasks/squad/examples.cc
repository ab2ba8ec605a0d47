#include "tasks/squad/examples.h"

#include <nlohmann/json.hpp>
#include <unordered_set>

#include "core/error.h"
#include "core/json.h"
#include "text/unicode.h"

namespace engine {

using nlohmann::json;

namespace {

// Returns the byte at which character `place` begins, or npos where the text has fewer characters.
size_t byte_of(std::string_view text, int64_t place) {
  const char *at = text.data(), *const end = at + text.size();
  for (; place > 0 && at < end; --place) next_character(at);
  return place == 0 ? static_cast<size_t>(at - text.data()) : std::string_view::npos;
}

// Returns the byte of the occurrence of `answer` that is nearest to `wanted`, npos where there is none.
size_t nearest(std::string_view context, std::string_view answer, size_t wanted) {
  const size_t behind = context.find(answer, wanted), before = context.rfind(answer, wanted);
  if (behind == std::string_view::npos || before == std::string_view::npos)
    return behind == std::string_view::npos ? before : behind;
  return wanted - before <= behind - wanted ? before : behind;
}

class Reader {
 public:
  Reader(const std::filesystem::path& file, AnswersWanted wanted, QuestionSet& set)
      : file_(file.string()), wanted_(wanted), set_(set) {
    for (const Question& question : set.questions) ids_.insert(question.id);
  }

  void read() {
    const json all = parse_json_file(file_);
    if (!all.is_object())
      fail(file_, ": should be an object with the member \"data\", as SQuAD's files have it");
    const json& articles = list(all, "data", file_);
    for (size_t a = 0; a < articles.size(); ++a) {
      const std::string where = place(file_, "data", a);
      const json& paragraphs = list(articles[a], "paragraphs", where);
      for (size_t p = 0; p < paragraphs.size(); ++p) read_paragraph(paragraphs[p], place(where, "paragraphs", p));
    }
  }

 private:
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
    set_.contexts.push_back(json_string(paragraph, "context", where));
    for (size_t q = 0; q < questions.size(); ++q) read_question(questions[q], place(where, "qas", q));
  }

  void read_question(const json& entry, const std::string& where) {
    if (!entry.is_object()) fail(where, ": should be an object");
    Question question;
    question.id = json_string(entry, "id", where);
    question.text = json_string(entry, "question", where);
    question.context = set_.contexts.size() - 1;
    if (!ids_.insert(question.id).second)
      fail(where, ": the id \"", question.id.substr(0, 80), "\" occurs a second time");
    const bool is_impossible = json_bool(entry, "is_impossible", where, false);
    if (!is_impossible && json_has(entry, "answers", where)) {
      const json& answers = list(entry, "answers", where);
      for (size_t i = 0; i < answers.size(); ++i) read_answer(answers[i], place(where, "answers", i), question);
    } else if (!is_impossible && wanted_ == AnswersWanted::yes) {
      fail(where, ": question \"", question.id.substr(0, 80),
           "\" has no \"answers\": they are needed here; see predict");
    }
    set_.questions.push_back(std::move(question));
  }

  void read_answer(const json& entry, const std::string& where, Question& question) {
    if (!entry.is_object()) fail(where, ": should be an object");
    const std::string& context = set_.contexts[question.context];
    const std::string text = json_string(entry, "text", where);
    question.truths.push_back(text);
    if (wanted_ == AnswersWanted::no) return;
    const int64_t said = json_integer(entry, "answer_start", where, INT64_MIN, INT64_MAX, -1);
    const size_t at = said < 0 ? std::string_view::npos : byte_of(context, said);
    size_t found = at;
    if (text.empty() || at == std::string_view::npos || context.compare(at, text.size(), text) != 0) {
      found = text.empty() ? std::string_view::npos : nearest(context, text, std::min(at, context.size()));
      ++(found == std::string_view::npos ? set_.lost : set_.moved);
      if (found == std::string_view::npos) return;
    }
    const auto begin = static_cast<int64_t>(count_characters(std::string_view(context).substr(0, found)));
    question.answers.push_back({text, begin, begin + static_cast<int64_t>(count_characters(text))});
  }

  const std::string file_;
  AnswersWanted wanted_;
  QuestionSet& set_;
  std::unordered_set<std::string> ids_;
};

}  // namespace

void read_questions(const std::filesystem::path& file, AnswersWanted wanted, QuestionSet& set) {
  Reader(file, wanted, set).read();
}

}  // namespace engine
