// Answers of one reader or several, and the files that predict writes.
#include <algorithm>
#include <cmath>
#include <iostream>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "core/parallel.h"
#include "tasks/squad/heat_map.h"
#include "tasks/squad/option_numbers.h"
#include "tasks/squad/prediction_files.h"
#include "tasks/squad/squad.h"

namespace engine {

namespace {

// Returns the first window of each question, whose windows lie together.
std::vector<size_t> first_windows(const EncodedQuestions& questions) {
  const std::vector<Window>& windows = questions.windows();
  std::vector<size_t> first(questions.set().questions.size());
  for (size_t i = windows.size(); i-- > 0;) first[windows[i].question] = i;
  return first;
}

}  // namespace

void SquadTask::join(std::unique_ptr<Task> other) {
  if (!dynamic_cast<SquadTask*>(other.get())) fail_usage("only models of the task squad answer its questions together");
  if (own_.merge == "best")
    fail_usage("several models answer together with squad.merge = \"logits\" or \"probabilities\"");
  others_.emplace_back(static_cast<SquadTask*>(other.release()));
}

std::vector<FoundAnswers> SquadTask::answers_of(Machine& machine, const EncodedQuestions& questions,
                                                const Logits& logits) {
  struct Reader {
    const EncodedQuestions* questions;
    const Logits* logits;
    std::vector<size_t> first;
  };
  std::vector<Reader> readers{{&questions, &logits, first_windows(questions)}};
  std::vector<std::pair<EncodedQuestions, Logits>> more;
  more.reserve(own_.strides.size() + others_.size() * (1 + own_.strides.size()));
  const auto read = [&](SquadTask& task, const SquadConfig& config) {
    auto& [own_windows, own_logits] = more.emplace_back();
    own_windows = EncodedQuestions(questions.shared_set(), task.tokenizer(), config);
    own_logits = task.logits_of(machine, own_windows);
    readers.push_back({&own_windows, &own_logits, first_windows(own_windows)});
  };
  const auto read_strides = [&](SquadTask& task) {
    for (const std::string& stride : own_.strides) {
      SquadConfig config = task.own_;
      config.doc_stride = number_of_option<int64_t>("squad.strides", stride, between(0, 1 << 20));
      config.window_step = 0;
      read(task, config);
    }
  };
  read_strides(*this);
  for (const auto& other : others_) {
    read(*other, other->own_);
    read_strides(*other);
  }
  std::vector<FoundAnswers> found(readers.front().first.size());
  parallel_for_or_throw(static_cast<int64_t>(found.size()), [&](int64_t q) {
    const auto at = static_cast<size_t>(q);
    std::vector<ModelReading> readings;
    for (const Reader& reader : readers) {
      ModelReading& reading = readings.emplace_back(ModelReading{reader.questions, {}});
      const std::vector<Window>& windows = reader.questions->windows();
      for (size_t i = reader.first[at]; i < windows.size() && windows[i].question == at; ++i)
        reading.windows.push_back({&windows[i], reader.logits->of(i)});
    }
    found[at] = find_answers(readings, own_);
  });
  return found;
}

std::vector<FoundAnswers> SquadTask::answer(Machine& machine, QuestionSet set) {
  cut_contexts(set, own_.max_contents);
  const EncodedQuestions questions(std::move(set), tokenizer(), own_);
  return answers_of(machine, questions, logits_of(machine, questions));
}

void SquadTask::predict(Machine& machine, const std::filesystem::path& input, const std::filesystem::path& output) {
  int64_t questions = 0, cut = 0, blank = 0;
  const auto answer_all = [&](const WritePredictions& write) {
    each_piece_of_questions({input.string()}, AnswersWanted::no, [&](QuestionSet set) {
      cut_contexts(set, own_.max_contents);
      for (const Question& question : set.questions)
        blank += is_blank(question.text) || is_blank(set.contexts[question.context].text);
      const EncodedQuestions piece(std::move(set), tokenizer(), own_);
      const std::vector<FoundAnswers> found = answers_of(machine, piece, logits_of(machine, piece));
      if (write) write(piece.set(), found);
      questions += static_cast<int64_t>(found.size());
      cut += piece.cut_questions();
    });
    if (questions == 0) fail(input.string(), ": holds no question");
  };
  const bool writes = machine.communicator.is_first();
  if (writes) write_predictions(output, {own_.version_2, is_table(input)}, answer_all);
  else answer_all(nullptr);
  if (blank && writes) std::cerr << input.string() << ": " << blank << " questions or their contexts are blank\n";
  if (cut && writes)
    std::cerr << input.string() << ": " << cut << " questions are cut to " << own_.max_query_length << " tokens\n";
  if (own_.score_negatives) score_negatives(machine, input, output);
}

// The score of a negative is the probability of an answer beside that of none: 1 / (1 + exp(null odds)).
void SquadTask::score_negatives(Machine& machine, const std::filesystem::path& input,
                                const std::filesystem::path& output) {
  QuestionSet set;
  read_questions(input, AnswersWanted::yes, set);
  give_folds(set, own_);
  if (own_.fold >= 0) leave_only_fold(set, own_.fold);
  leave_only_negatives(set, own_);
  nlohmann::ordered_json scores = nlohmann::ordered_json::object();
  if (!set.questions.empty()) {
    const EncodedQuestions negatives(std::move(set), tokenizer(), own_);
    const std::vector<FoundAnswers> found = answers_of(machine, negatives, logits_of(machine, negatives));
    for (size_t q = 0; q < found.size(); ++q)
      scores[negatives.set().questions[q].id] = 1 / (1 + std::exp(found[q].null_odds));
  }
  if (machine.communicator.is_first()) write_file(output / "negative_scores.json", scores.dump(1) + "\n");
}

}  // namespace engine
