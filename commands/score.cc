#include "commands/score.h"

#include <iostream>
#include <nlohmann/json.hpp>

#include "commands/lines.h"
#include "commands/numbers.h"
#include "commands/verb.h"
#include "commands/with_model.h"

namespace engine {

namespace {

class ScoreVerb final : public Verb {
 public:
  void add_flags(Flags& flags) override {
    flags.add("DIR", folder_, "a run folder or a model folder", {.required = true});
    flags.add("--input", input_, "a text file", {.required = true});
    flags.add_options(settings_, machine_options);
  }

  int run(Communicator& ranks) override {
    return with_language_model(settings_, folder_, ranks, [&](Machine& machine, LanguageModel& language) {
      score_lines(machine, language, input_, std::cout);
    });
  }

 private:
  Settings settings_;
  std::string folder_, input_;
};

}  // namespace

void score_lines(Machine& machine, LanguageModel& language, const std::string& input_file, std::ostream& out) {
  if (reads_source(*language.model))
    fail_usage("score is for models that are a decoder alone: an encoder-decoder needs a source for each text");
  in_batches(input_file, "scoring", [&](size_t first, const std::vector<std::string>& lines) {
    std::vector<std::vector<int32_t>> sequences;
    for (size_t i = 0; i < lines.size(); ++i)
      sequences.push_back(at_line(input_file, first + i, [&] {
        return within(language.tokenizer->encode(lines[i]), most_scored_tokens(*language.model), "score");
      }));
    for (const Score& result : score(machine, *language.model, sequences)) {
      std::string text = nlohmann::ordered_json{{"tokens", result.tokens},
                                                {"log_likelihood", result.log_likelihood},
                                                {"perplexity", result.perplexity()}}
                             .dump();
      text.pop_back();
      text += ",\"log_probability\":" + json_list(result.log_probabilities) + ",\"rank\":";
      append_json(text, result.ranks);
      out << text + "}\n";
    }
    flush(out);
  });
}

std::unique_ptr<Verb> make_score_verb() { return std::make_unique<ScoreVerb>(); }

}  // namespace engine
