// Targets for the files of tasks, models and runs.
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/memory.h"
#include "models/huggingface.h"
#include "tasks/classification/examples.h"
#include "tasks/scratchpad/curriculum.h"
#include "tasks/scratchpad/expression_file.h"
#include "tasks/squad/examples.h"
#include "tasks/tasks.h"
#include "tasks/thought/chase_curriculum.h"
#include "tasks/thought/questions.h"
#include "tests/fuzz/targets.h"
#include "text/tokenizer.h"
#include "training/state.h"

namespace engine::fuzz {

namespace {

void check_questions(const std::string& file) {
  for (const AnswersWanted wanted : {AnswersWanted::yes, AnswersWanted::no}) {
    QuestionSet set;
    try {
      read_questions(file, wanted, set);
    } catch (const Error&) {
      continue;
    }
    size_t count = 0;
    each_piece_of_questions({file}, wanted, [&](const QuestionSet& piece) { count += piece.questions.size(); });
    promise(count == set.questions.size(), "questions in pieces are others than those of the whole");
    for (const Question& question : set.questions) {
      promise(question.context < set.contexts.size(), "a question is about no context");
      const std::string& context = set.contexts[question.context].text;
      for (const AnswerSpan& answer : question.answers) {
        const size_t begin = byte_of(context, answer.begin), end = byte_of(context, answer.end);
        promise(begin <= end && end <= context.size(), "an answer is outside of its context");
        promise(context.substr(begin, end - begin) == answer.text, "an answer does not stand at its place");
      }
    }
  }
}

}  // namespace

void read_squad_json_input(std::string_view input) { check_questions(input_file("input.json", input)); }

void read_squad_lines_input(std::string_view input) { check_questions(input_file("input.jsonl", input)); }

void read_squad_table_input(std::string_view input) { check_questions(input_file("input.csv", input)); }

void read_glue_input(std::string_view input) {
  const std::string file = input_file("input.tsv", input);
  for (const GlueFormat format : {GlueFormat::cola, GlueFormat::sst2})
    for (const bool may_be_a_list : {false, true}) {
      try {
        const ExampleFile read = read_examples(file, format, may_be_a_list);
        for (const Example& example : read.examples) {
          promise(example.label >= -1 && example.label <= 1, "a label is neither 0 nor 1");
          promise(!read.labelled || example.label >= 0, "a labelled file has a sentence without a label");
        }
      } catch (const Error&) {
      }
    }
}

void read_choices_input(std::string_view input) {
  static const std::unique_ptr<Tokenizer> tokenizer = make_arithmetic_tokenizer();
  ModelConfig model;
  model.max_positions = 16;
  for (const bool needs_answers : {true, false}) {
    const ChoiceFile file =
        read_choices(input_file("input.jsonl", input), *tokenizer, model, {.needs_answers = needs_answers});
    promise(!file.questions.empty(), "a file without questions is taken");
    for (const ChoiceQuestion& question : file.questions)
      promise(question.answer < static_cast<int64_t>(question.completions.size()), "an answer is no completion");
  }
}

void read_expression_input(std::string_view input) {
  ExpressionPool pool;
  const Expression* const tree = pool.parse(input);
  promise(tree->input() == input, "an expression is not its own input");
  promise(tree->input_length == static_cast<int>(input.size()), "an expression has another length");
  promise(static_cast<int>(tree->oracle().size()) == tree->oracle_length, "an expression's steps have another length");
}

void read_expression_file_input(std::string_view input) {
  const ScratchpadConfig config;
  const ExpressionFile file(input_file("input.json", input), config, {1});
  promise(file.longest_input() > 0, "a file of expressions has none");
}

// progress.json, task.cfg, data.txt, a curriculum's state, tensors
void read_state_input(std::string_view input) {
  auto parts = parts_of(input);
  parts.resize(5);
  const std::string folder = input_folder({{"progress.json", parts[0]},
                                           {"task.cfg", parts[1]},
                                           {"data.txt", parts[2]},
                                           {"task/curriculum.json", parts[3]},
                                           {"tensors.safetensors", parts[4]}});
  static Memory& memory = host_memory();  // comes first, and so ends behind the parameters
  static Parameters parameters;
  if (parameters.size() == 0) {
    parameters.add("a", {3}, Initial::zeros());
    parameters.allocate(memory, /*with_gradients=*/false);
  }
  const auto answered = [](const auto& read) {
    try {
      read();
    } catch (const Error&) {
    }
  };
  answered([&] { promise(has_state(folder), "a state is not found"); });
  answered([&] {
    const TrainingProgress progress = read_progress(folder);
    promise(progress.step >= 0 && progress.version >= 1, "a state has a negative step");
  });
  answered([&] { load_state(folder, {parameters, {}}); });
  answered([&] { load_fitting_state(folder, {parameters, {}}); });
  answered([&] { option_of_state(folder, "training.batch_size"); });
  answered([&] {
    Config config;
    Options options;
    config.declare(options);
    check_same_training(folder, options);
  });
  answered([&] { check_same_data(folder, "a fingerprint"); });
  answered([&] {
    ChaseCurriculum curriculum(4, true);
    curriculum.set_state(read_task_state(folder + "/task", "curriculum.json"), "curriculum.json");
    promise(1 <= curriculum.stage() && curriculum.stage() <= 4, "a curriculum has no such stage");
    promise(curriculum.state() == curriculum.state(), "a curriculum's state changes");
  });
  answered([&] {
    ScratchpadConfig config;
    config.curriculum = "exp3";
    Curriculum curriculum(config, 1);
    curriculum.set_state(read_task_state(folder + "/task", "curriculum.json"));
    Random random(1, 1);
    curriculum.begin_step(1);
    promise(curriculum.has(curriculum.draw(random)), "a curriculum draws a level that it does not have");
  });
}

void read_model_config_input(std::string_view input) {
  const ModelConfig config = read_model_config(input_folder({{"config.json", input}}));
  promise(config.hidden_size > 0 && config.num_layers >= 0, "a model has no width");
}

}  // namespace engine::fuzz
