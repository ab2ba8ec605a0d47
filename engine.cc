// The verbs of the program. Exit codes: 0 done, 1 a failure while running, 2 what was asked for cannot be right, 130
// stopped by a signal after saving.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>

#include "core/ranks.h"
#include "tasks/verbs.h"
#include "training/machine.h"

namespace engine {
namespace {

void add_tokenizer_flags(CLI::App& verb, TokenizeRequest& tokenizing, VocabularyRequest& request) {
  verb.add_option("--input", request.inputs, "text files")->required();
  CLI::Option* const special = verb.add_flag("--special_tokens", tokenizing.special_tokens,
                                             "with those that the tokenizer puts around a text, such as [CLS]");
  CLI::Option* const pairs = verb.add_flag("--pairs", tokenizing.pairs, "a line is text<TAB>text");
  CLI::Option* const length = verb.add_option("--max_length", tokenizing.max_length,
                                              "tokens of a line at most; of a pair the longer text is cut first")
                                  ->check(CLI::PositiveNumber);
  CLI::Option* const kind = verb.add_option("--train", request.kind, "makes a new vocabulary: wordpiece or bpe")
                                ->check(CLI::IsMember({"wordpiece", "bpe"}))
                                ->excludes(special, pairs, length);
  VocabularyOptions& options = request.options;
  verb.add_option("--output", request.folder, "where the new one goes")->needs(kind);
  verb.add_option("--vocab_size", options.vocab_size, "its tokens")->needs(kind)->check(CLI::PositiveNumber);
  verb.add_option("--min_frequency", options.min_frequency, "of a pair that becomes a token")
      ->needs(kind)
      ->check(CLI::PositiveNumber);
  verb.add_option("--most_characters", options.most_characters, "wordpiece: the most frequent ones")
      ->needs(kind)
      ->check(CLI::PositiveNumber);
  verb.add_flag("!--cased", options.lowercase, "wordpiece: capitals and accents count")->needs(kind);
}

int dispatch(int argc, char** argv) {
  CLI::App app("engine: trains, evaluates and runs transformers");
  app.require_subcommand(1);
  Settings settings;
  Arguments arguments;
  CLI::App* const train_verb = app.add_subcommand("train", "trains; a run folder appears under runs/NAME");
  train_verb->add_option("task.cfg", arguments.file, "the task's configuration")->required();
  CLI::App* const eval_verb = app.add_subcommand("eval", "evaluates a run folder or a model folder");
  eval_verb->add_option("--split", arguments.split, "which data")->check(CLI::IsMember({"train", "eval", "test"}));
  CLI::App* const generate_verb = app.add_subcommand("generate", "continues a prompt, or each line of a file");
  CLI::Option* const prompt = generate_verb->add_option("--prompt", arguments.prompt, "what to go on from");
  CLI::App* const score_verb =
      app.add_subcommand("score", "log likelihood of each line of a file, and each token's rank, as JSON lines");
  CLI::App* const predict_verb = app.add_subcommand("predict", "labels a file's sentences, in the form of GLUE");
  predict_verb->add_option("--output", arguments.output, "where the predictions go")->required();
  CLI::App* const embed_verb = app.add_subcommand("embed", "the vector of each line of a file, as JSON lines");
  CLI::App* const tokenize_verb = app.add_subcommand("tokenize", "token ids of each line of a file, as JSON lines");
  add_tokenizer_flags(*tokenize_verb, arguments.tokenizing, arguments.vocabulary);
  CLI::App* const expressions_verb =
      app.add_subcommand("expressions", "writes a file of expressions for scratchpad.data");
  expressions_verb->add_option("FILE", arguments.file, "where they go")->required();
  expressions_verb->add_option("--quantity", arguments.quantity, "the most of each level, of either split")
      ->check(CLI::Range(1, 1000000));
  CLI::App* const info_verb = app.add_subcommand("info", "devices, instruction sets, libraries, precision chosen");
  info_verb->add_flag("--options", arguments.list_options, "every option of a task.cfg, as Markdown");
  for (CLI::App* verb : {eval_verb, predict_verb, generate_verb, score_verb, embed_verb, tokenize_verb})
    verb->add_option("DIR", arguments.folder, "a run folder or a model folder")->required(verb != tokenize_verb);
  for (CLI::App* verb : {predict_verb, generate_verb, score_verb, embed_verb})
    verb->add_option("--input", arguments.input, "a text file")->required(verb != generate_verb);
  for (const char* name : {"temperature", "top_k", "top_p", "max_new_tokens"})
    settings.add_short_flag(*generate_verb, std::string("--") + name, std::string("generation.") + name,
                            std::string("as generation.") + name);
  for (CLI::App* verb : {train_verb, eval_verb, predict_verb}) settings.add_flags(*verb);
  const std::vector<std::string> of_machine{"device", "precision", "attention", "matmul", "synchronous", "threads"};
  for (CLI::App* verb : {score_verb, embed_verb, generate_verb}) settings.add_flags(*verb, of_machine);
  settings.add_flags(*generate_verb, {"seed", "generation."});
  settings.add_flags(*expressions_verb, {"seed", "scratchpad."});
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) ? 2 : 0;
  }
  refuse_extras(*app.get_subcommands()[0], settings.options);
  if (*generate_verb && prompt->count() + generate_verb->count("--input") != 1)
    fail_usage("generate goes on from --prompt TEXT or from the lines of --input FILE: give one of them");
  if (*train_verb) return train(settings, arguments);
  if (*eval_verb) return evaluate(settings, arguments);
  if (*predict_verb) return predict(settings, arguments);
  if (*generate_verb) return generate(settings, arguments);
  if (*score_verb) return score(settings, arguments);
  if (*embed_verb) return embed(settings, arguments);
  if (*tokenize_verb) return tokenize(arguments);
  if (*expressions_verb) return make_expressions(settings, arguments);
  if (*info_verb && arguments.list_options) std::cout << settings.options.markdown();
  if (*info_verb && !arguments.list_options) print_info(std::cout);
  return 0;
}

}  // namespace
}  // namespace engine

int main(int argc, char** argv) {
  const auto failed = [](int code, const std::exception& error) {
    const std::string rank = engine::is_first_rank() ? "" : " (rank " + std::to_string(engine::rank()) + ")";
    std::cerr << "engine" + rank + ": " + error.what() + "\n";
    engine::abort_ranks(code);
    return code;
  };
  try {
    engine::begin_ranks();
    if (!engine::is_first_rank() && !std::freopen("/dev/null", "w", stdout)) engine::fail("cannot open /dev/null");
    const int code = engine::dispatch(argc, argv);
    if (!std::cout.flush()) engine::fail("the standard output cannot be written: is the disk full, or it closed?");
    engine::end_ranks();
    return code;
  } catch (const engine::UsageError& error) {
    return failed(2, error);
  } catch (const std::exception& error) {
    return failed(1, error);
  }
}
