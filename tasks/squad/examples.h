// Questions about texts (Rajpurkar et al. 2016, 2018). Places in texts count characters (code points).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

namespace engine {

struct AnswerSpan {
  std::string text;
  int64_t begin = 0, end = 0;  // its characters in the context
};

// A context may be a part of a longer document.
struct Context {
  std::string text;
  int64_t begin = 0;     // characters of the document before it
  int64_t document = 0;  // characters of the whole document; 0: the context is the document
};

struct Question {
  std::string id, text;
  size_t context = 0;               // its index among the contexts
  std::vector<AnswerSpan> answers;  // that stand in the context; none: the context has no answer
  std::vector<std::string> truths;  // texts of all answers that the file gives
  std::string language;             // as the file names it; empty: it does not
  int64_t fold = -1;                // the part of the data for validation; -1: none
  float share = 1;                  // how often an epoch takes it
  size_t file = 0;                  // its index among the files that were read
};

struct QuestionSet {
  std::vector<Context> contexts;
  std::vector<Question> questions;
  int64_t moved = 0;  // answers that stand in the context, but not at their place
  int64_t lost = 0;   // answers that do not stand in the context
  int64_t blank = 0;  // questions left out because they or their contexts are empty or white space
  size_t files = 0;   // that were read
};

enum class AnswersWanted { yes, no };  // a file to predict has questions alone

// Appends the questions of a file: a table where its name ends with ".csv", a question a line where it ends with
// ".jsonl" (squad_lines.cc), else SQuAD's JSON schema, version 1.1 or 2.0. A table has a line of names, of which id,
// context and question must be there, answer_text and answer_start where answers are wanted, and language and fold may
// be; no or an empty answer_text means that there is no answer. An answer whose text does not stand at its place is
// looked for in the context, nearest to that place. Where answers are wanted, questions that are blank or have a blank
// context are counted and left out. It is an Error, with the file and the place in it, where a member is missing or of
// another type, where an id occurs twice in the set, and where a question that is not marked as impossible has no
// answers although they are wanted.
void read_questions(const std::filesystem::path& file, AnswersWanted wanted, QuestionSet& set);

// Reads files of any size piece by piece, a few thousand questions at a time, all those about a context together. Ids
// and counts are as if all were read into one set; a piece counts what was read since the one before it.
void each_piece_of_questions(const std::vector<std::string>& files, AnswersWanted wanted,
                             const std::function<void(QuestionSet)>& piece);

bool is_table(const std::filesystem::path& file);  // by its name's end, in any case

// Returns the byte at which character `place` begins, or npos where the text has fewer characters.
size_t byte_of(std::string_view text, int64_t place);
bool is_blank(std::string_view text);  // empty, or white space

// Appends questions to a set, which it checks.
class QuestionAdder {
 public:
  // `piece` (optional) is called whenever the set has as many questions as a piece, or more, and must empty it.
  QuestionAdder(AnswersWanted wanted, QuestionSet& set, const std::function<void()>& piece = nullptr);
  // Adds a question whose context is the set's last, or counts it where it is blank. `where` names it in errors.
  void add(Question question, const std::string& where);
  // Adds an answer to a question whose context is the set's last. `place` is the character at which the file says that
  // it begins; below 0: the file does not say.
  void add_answer(const std::string& text, int64_t place, Question& question);
  // Makes a text the context of the questions that follow. Rows about one document often stand together, and share it.
  void take_context(std::string text);
  // Comes behind the last question about a context, or before the first about a new one.
  void end_context();
  AnswersWanted wanted() const { return wanted_; }
  QuestionSet& set() { return set_; }

 private:
  AnswersWanted wanted_;
  QuestionSet& set_;
  std::function<void()> piece_;
  bool has_context_ = false;  // take_context() gave one
  std::unordered_set<std::string> ids_, nowhere_;  // of all questions; answers that are not in the last context
};

// The readers of each kind of files.
void read_squad_json(const std::filesystem::path& file, QuestionAdder& to);
void read_squad_table(const std::filesystem::path& file, QuestionAdder& to);
void read_squad_lines(const std::filesystem::path& file, QuestionAdder& to);

}  // namespace engine
