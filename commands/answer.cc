// answer: the answers to a question, or to each line of a file, that stand in a text.
#include <cstdio>
#include <iostream>

#include "commands/lines.h"
#include "commands/verb.h"
#include "commands/with_model.h"
#include "core/files.h"
#include "tasks/squad/squad.h"
#include "text/unicode.h"

namespace engine {

namespace {

constexpr size_t answers_shown = 3;

class AnswerVerb final : public Verb {
 public:
  void add_flags(Flags& flags) override {
    flags.add("DIR", folder_, "a run folder or a model folder with a head that answers questions", {.required = true});
    flags.add("--context", context_, "a text file in which the answers stand", {.required = true});
    flags.add("--question", question_, "the question");
    flags.add("--input", input_, "a text file with a question a line");
    flags.add_options(settings_);
  }

  int run(Communicator& ranks) override {
    if (question_.empty() == input_.empty()) fail_usage("answer needs --question or --input, one of them");
    const auto choose_task = [](Config& config) {
      if (config.task.empty()) config.task = "squad";
      if (config.task != "squad")
        fail_usage("answer is for models of the task squad: this one is of the task ", config.task);
      config.data.eval.clear();  // only the context is read
    };
    return with_task(settings_, folder_, Use::prediction, ranks, choose_task, [&](Machine& machine, Task& task) {
      print_answers(machine, static_cast<SquadTask&>(task));
    });
  }

 private:
  void print_answers(Machine& machine, SquadTask& task) const {
    const std::string context(text_of_file(read_text(context_), context_));
    if (input_.empty()) return print_some(machine, task, context, {question_});
    in_batches(input_, nullptr, [&](size_t first, const std::vector<std::string>& lines) {
      if (first > 1 && machine.communicator.is_first()) std::cout << '\n';
      print_some(machine, task, context, lines);
    });
  }

  void print_some(Machine& machine, SquadTask& task, const std::string& context,
                  const std::vector<std::string>& questions) const {
    QuestionSet set;
    set.contexts.push_back({context});
    for (const std::string& text : questions)
      set.questions.push_back({.id = std::to_string(set.questions.size()), .text = text});
    const std::vector<FoundAnswers> found = task.answer(machine, set);
    if (!machine.communicator.is_first()) return;
    for (size_t q = 0; q < found.size(); ++q) {
      if (!input_.empty()) std::cout << (q ? "\n" : "") << set.questions[q].text << '\n';
      const std::vector<Candidate>& candidates = found[q].candidates;
      for (size_t i = 0; i < std::min(candidates.size(), answers_shown); ++i) print(candidates[i]);
    }
    flush(std::cout);
  }

  static void print(const Candidate& candidate) {
    char probability[16];
    std::snprintf(probability, sizeof probability, "%.3f", candidate.probability);
    std::cout << probability << "  ";
    if (candidate.begin == candidate.end) std::cout << "(no answer)\n";
    else std::cout << candidate.text << "  (characters " << candidate.begin << " to " << candidate.end << ")\n";
  }

  Settings settings_;
  std::string folder_, context_, question_, input_;
};

}  // namespace

std::unique_ptr<Verb> make_answer_verb() { return std::make_unique<AnswerVerb>(); }

}  // namespace engine
