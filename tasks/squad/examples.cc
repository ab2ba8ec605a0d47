#include "tasks/squad/examples.h"

#include <utility>

#include "core/error.h"
#include "tasks/documents.h"
#include "text/unicode.h"

namespace engine {

namespace {

constexpr size_t questions_of_a_piece = 4096;

// Returns the byte of the occurrence of `answer` that is nearest to `wanted`, npos where there is none.
size_t nearest(std::string_view context, std::string_view answer, size_t wanted) {
  const size_t behind = context.find(answer, wanted), before = context.rfind(answer, wanted);
  if (behind == std::string_view::npos || before == std::string_view::npos)
    return behind == std::string_view::npos ? before : behind;
  return wanted - before <= behind - wanted ? before : behind;
}

void read_file(const std::filesystem::path& file, QuestionAdder& to) {
  if (is_table(file)) read_squad_table(file, to);
  else if (lower_ending(file) == ".jsonl") read_squad_lines(file, to);
  else read_squad_json(file, to);
}

}  // namespace

bool is_table(const std::filesystem::path& file) { return lower_ending(file) == ".csv"; }

size_t byte_of(std::string_view text, int64_t place) {
  const char *at = text.data(), *const end = at + text.size();
  for (; place > 0 && at < end; --place) next_character(at);
  return place == 0 ? static_cast<size_t>(at - text.data()) : std::string_view::npos;
}

bool is_blank(std::string_view text) { return text.find_first_not_of(" \t\r\n\v\f") == std::string_view::npos; }

QuestionAdder::QuestionAdder(AnswersWanted wanted, QuestionSet& set, const std::function<void()>& piece)
    : wanted_(wanted), set_(set), piece_(piece) {
  for (const Question& question : set.questions) ids_.insert(question.id);
}

void QuestionAdder::add(Question question, const std::string& where) {
  if (!ids_.insert(question.id).second)
    fail(where, ": the id \"", question.id.substr(0, 80), "\" occurs a second time");
  question.context = set_.contexts.size() - 1;
  question.file = set_.files;
  if (wanted_ == AnswersWanted::yes && (is_blank(question.text) || is_blank(set_.contexts.back().text))) ++set_.blank;
  else set_.questions.push_back(std::move(question));
}

void QuestionAdder::add_answer(const std::string& text, int64_t place, Question& question) {
  question.truths.push_back(text);
  const std::string& context = set_.contexts.back().text;
  const size_t at = place < 0 ? std::string_view::npos : byte_of(context, place);
  size_t found = at;
  if (text.empty() || at == std::string_view::npos || context.compare(at, text.size(), text) != 0) {
    found = text.empty() || nowhere_.contains(text) ? std::string_view::npos
                                                    : nearest(context, text, std::min(at, context.size()));
    if (found == std::string_view::npos) nowhere_.insert(text);
    ++(found == std::string_view::npos ? set_.lost : set_.moved);
    if (found == std::string_view::npos) return;
  }
  const auto begin = static_cast<int64_t>(count_characters(std::string_view(context).substr(0, found)));
  question.answers.push_back({text, begin, begin + static_cast<int64_t>(count_characters(text))});
}

void QuestionAdder::take_context(std::string text) {
  std::vector<Context>& contexts = set_.contexts;
  if (has_context_ && !contexts.empty() && contexts.back().text == text) return;
  end_context();
  contexts.push_back({std::move(text)});
  has_context_ = true;
}

void QuestionAdder::end_context() {
  nowhere_.clear();
  if (piece_ && set_.questions.size() >= questions_of_a_piece) piece_();
}

void read_questions(const std::filesystem::path& file, AnswersWanted wanted, QuestionSet& set) {
  QuestionAdder to(wanted, set);
  read_file(file, to);
  ++set.files;
}

void each_piece_of_questions(const std::vector<std::string>& files, AnswersWanted wanted,
                             const std::function<void(QuestionSet)>& piece) {
  QuestionSet set;
  const auto give = [&] {
    QuestionSet next;
    next.files = set.files;
    piece(std::exchange(set, std::move(next)));
  };
  QuestionAdder to(wanted, set, give);
  for (const std::string& file : files) {
    read_file(file, to);
    to.end_context();
    ++set.files;
  }
  if (!set.questions.empty() || set.moved + set.lost + set.blank > 0) give();
}

}  // namespace engine
