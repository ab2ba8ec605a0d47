// The verbs of the program. Exit codes: 0 done, 1 a failure while running, 2 what was asked for cannot be right, 130
// stopped by a signal after saving.
#include <algorithm>
#include <cstdio>
#include <iostream>

#include "commands/verb.h"
#include "core/error.h"

namespace engine {
namespace {

// A new verb is a row here and a file in commands/.
struct Row {
  const char* name;
  const char* help;
  std::unique_ptr<Verb> (*make)();
};
constexpr Row verbs[] = {
    {"train", "trains; a run folder appears under runs/NAME", make_train_verb},
    {"eval", "evaluates a run folder or a model folder", make_eval_verb},
    {"predict", "labels a file's sentences, in the form of GLUE", make_predict_verb},
    {"generate", "continues a prompt, or each line of a file", make_generate_verb},
    {"score", "log likelihood of each line of a file, and each token's rank, as JSON lines", make_score_verb},
    {"embed", "the vector of each line of a file, as JSON lines", make_embed_verb},
    {"tokenize", "token ids of each line of a file, as JSON lines", make_tokenize_verb},
    {"expressions", "writes a file of expressions for scratchpad.data", make_expressions_verb},
    {"info", "devices, instruction sets, libraries, precision chosen", make_info_verb},
};

void print_help() {
  std::printf("engine: trains, evaluates and runs transformers\nUsage: engine VERB ...\n\nVerbs:\n");
  for (const Row& row : verbs) std::printf("  %-12s %s\n", row.name, row.help);
  std::printf("\nengine VERB --help says more of each.\n");
}

int dispatch(int argc, char** argv, Communicator& ranks) {
  const std::string name = argc > 1 ? argv[1] : "";
  if (name == "--help" || name == "-h") {
    print_help();
    return 0;
  }
  if (name.empty()) fail_usage("a verb is missing, such as train or generate; engine --help lists them");
  std::vector<std::string> names;
  for (const Row& row : verbs) names.push_back(row.name);
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) fail_usage("there is no command ", name, "; the nearest is ", nearest_name(name, names));
  const Row& row = verbs[found - names.begin()];
  const std::unique_ptr<Verb> verb = row.make();
  Flags flags(row.name, row.help);
  verb->add_flags(flags);
  return flags.read(argc - 1, argv + 1) ? verb->run(ranks) : 0;
}

}  // namespace
}  // namespace engine

int main(int argc, char** argv) {
  std::unique_ptr<engine::Communicator> ranks;
  const auto failed = [&](int code, const std::exception& error) {
    const std::string rank = !ranks || ranks->is_first() ? "" : " (rank " + std::to_string(ranks->rank()) + ")";
    std::cerr << "engine" + rank + ": " + error.what() + "\n";
    if (ranks) ranks->abort(code);
    return code;
  };
  try {
    ranks = engine::make_communicator();
    if (!ranks->is_first() && !std::freopen("/dev/null", "w", stdout)) engine::fail("cannot open /dev/null");
    const int code = engine::dispatch(argc, argv, *ranks);
    if (!std::cout.flush()) engine::fail("the standard output cannot be written: is the disk full, or it closed?");
    return code;
  } catch (const engine::UsageError& error) {
    return failed(2, error);
  } catch (const std::exception& error) {
    return failed(1, error);
  }
}
