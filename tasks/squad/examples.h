// Questions about texts, as SQuAD's files have them (Rajpurkar et al. 2016, 2018). Places in texts count characters
// (code points).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace engine {

struct AnswerSpan {
  std::string text;
  int64_t begin = 0, end = 0;  // its characters in the context
};

struct Question {
  std::string id, text;
  size_t context = 0;           // its index among the contexts
  std::vector<AnswerSpan> answers;  // that stand in the context; none: the context has no answer
  std::vector<std::string> truths;  // texts of all answers that the file gives
};

struct QuestionSet {
  std::vector<std::string> contexts;
  std::vector<Question> questions;
  int64_t moved = 0;  // answers that stand in the context, but not at their place
  int64_t lost = 0;   // answers that do not stand in the context
};

enum class AnswersWanted { yes, no };  // a file to predict has questions alone

// Appends the questions of a file in SQuAD's JSON schema, version 1.1 or 2.0. An answer whose text does not stand at
// its place is looked for in the context, nearest to that place. It is an Error, with the file and the place in it,
// where a member is missing or of another type, where an id occurs twice in the set, and where a question that is not
// marked as impossible has no answers although they are wanted.
void read_questions(const std::filesystem::path& file, AnswersWanted wanted, QuestionSet& set);

}  // namespace engine
