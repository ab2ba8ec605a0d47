// The verbs of the program. Its exit code is 0 when it is done, 1 after a failure while running, 2 where the command
// line or a file of options is wrong, and 130 where a signal stopped it after saving.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <stdexcept>

#include "commands/launch.h"
#include "commands/verb.h"
#include "core/error.h"
#include "core/standard_streams.h"
#include "core/version.h"

namespace engine {
namespace {

// A new verb is a row here and a file in commands/.
struct Row {
  const char* name;
  const char* help;
  const char* example;
  std::unique_ptr<Verb> (*make)();
};
constexpr Row verbs[] = {
    {"train", "trains; a run folder appears under runs/NAME",
     "engine train configs/arithmetic.cfg --training.max_steps 200 --name first", make_train_verb},
    {"eval", "evaluates a run folder or a model folder", "engine eval runs/first", make_eval_verb},
    {"profile", "shows how training steps spend their time and memory, by operation, layer and phase",
     "engine profile configs/arithmetic.cfg --steps 5 --trace trace.json", make_profile_verb},
    {"predict", "labels a file's sentences (GLUE), answers its questions (SQuAD), or chooses among its completions",
     "engine predict runs/sst2 --input sentences.txt --output labels.tsv", make_predict_verb},
    {"answer", "the answers to a question that stand in a text",
     "engine answer runs/squad --context text.txt --question \"Who won?\"", make_answer_verb},
    {"generate", "continues a prompt, or each line of a file",
     "engine generate gpt2 --prompt \"Once upon a time\" --temperature 0.8 --seed 2", make_generate_verb},
    {"score", "log likelihood of each line of a file, and each token's rank, as JSON lines",
     "engine score gpt2 --input lines.txt", make_score_verb},
    {"embed", "the vector of each line of a file, as JSON lines",
     "engine embed all-MiniLM-L6-v2 --input lines.txt > vectors.jsonl", make_embed_verb},
    {"tokenize", "token ids of each line of a file, as JSON lines; or makes a vocabulary",
     "engine tokenize gpt2 --input lines.txt > tokens.jsonl", make_tokenize_verb},
    {"expressions", "writes a file of expressions for scratchpad.data", "engine expressions expressions.txt",
     make_expressions_verb},
    {"problems", "writes arithmetic problems with their solutions, a line each",
     "engine problems configs/blotching_quick.cfg --quantity 1000 --seed 2", make_problems_verb},
    {"sweep", "trains a task with many choices of its options, and compares them", "engine sweep sweep.cfg",
     make_sweep_verb},
    {"inspect", "shows a task's data as the model sees it; after a run, labels that may be wrong",
     "engine inspect configs/cola.cfg", make_inspect_verb},
    {"report", "writes one HTML page about runs: curves, tables, samples", "engine report runs/first runs/second",
     make_report_verb},
    {"options", "explains the options of a task.cfg", "engine options training", make_options_verb},
    {"info", "devices, instruction sets, libraries, precision chosen", "engine info", make_info_verb},
};

void print_help() {
  std::printf("engine %s: trains, evaluates and runs transformers\nUsage: engine VERB ...\nExample: %s\n\nVerbs:\n",
              version, verbs[0].example);
  for (const Row& row : verbs) std::printf("  %-12s %s\n", row.name, row.help);
  std::printf("\nengine VERB --help says more of each, engine --version which version this is.\n");
}

int dispatch(const std::vector<std::string>& arguments, Communicator& ranks) {
  const std::string name = arguments.empty() ? "" : arguments[0];
  if (name == "--version") return std::printf("engine %s\n", version), 0;
  if (name == "--help" || name == "--help-all" || name == "-h" || name == "help") return print_help(), 0;
  if (name.empty()) fail_usage("a command is missing, such as train or generate; engine --help lists them");
  std::vector<std::string> names;
  for (const Row& row : verbs) names.push_back(row.name);
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) {
    const std::string verb = name.substr(std::min(name.find_first_not_of('-'), name.size()));
    if (name.starts_with('-') && std::find(names.begin(), names.end(), verb) == names.end())
      names = {"--help", "--version"};
    fail_usage("there is no command ", name, "; the nearest is ", nearest_name(name, names));
  }
  const Row& row = verbs[found - names.begin()];
  const std::unique_ptr<Verb> verb = row.make();
  Flags flags(row.name, row.help, row.example);
  verb->add_flags(flags);
  return flags.read({arguments.begin() + 1, arguments.end()}) ? verb->run(ranks) : 0;
}

}  // namespace
}  // namespace engine

int main(int argc, char** argv) {
  std::unique_ptr<engine::Communicator> ranks;
  const auto failed = [&](int code, const std::exception& error) {
    if (ranks) ranks->let_first_speak();
    const std::string rank = !ranks || ranks->is_first() ? "" : " (rank " + std::to_string(ranks->rank()) + ")";
    std::cerr << "engine" + rank + ": " + error.what() + "\n";
    if (ranks) ranks->abort(code);
    return code;
  };
  try {
    engine::fill_standard_streams();
    std::vector<std::string> arguments(argv + 1, argv + argc);
    if (const std::optional<int> count = engine::take_ranks(arguments); count.value_or(1) > 1)
      return engine::launch(arguments, *count);
    ranks = engine::make_communicator();
    if (!ranks->is_first() && !std::freopen("/dev/null", "w", stdout)) engine::fail("cannot open /dev/null");
    const int code = engine::dispatch(arguments, *ranks);
    if (code == 0) engine::require_printed();  // a training that ended because nobody reads it any more has said so
    return code;
  } catch (const engine::UsageError& error) {
    return failed(2, error);
  } catch (const std::filesystem::filesystem_error& error) {
    return failed(1, std::runtime_error(error.path1().string() + ": " + error.code().message()));
  } catch (const std::exception& error) {
    return failed(1, error);
  }
}
