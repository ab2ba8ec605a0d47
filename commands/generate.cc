#include "commands/generate.h"

#include <iostream>
#include <nlohmann/json.hpp>

#include "commands/lines.h"
#include "commands/verb.h"
#include "commands/with_model.h"
#include "models/generation.h"

namespace engine {

namespace {

GenerationOptions options_of(const GenerateRequest& request, const LanguageModel& language) {
  const GenerationConfig& generation = request.generation;
  return {.temperature = generation.temperature,
          .top_k = generation.top_k,
          .top_p = generation.top_p,
          .max_new_tokens = generation.max_new_tokens,
          .seed = request.seed,
          .end_tokens = end_tokens_of(*language.model, *language.tokenizer)};
}

// How much of `text` can be shown now: all but an unfinished code point at its end.
size_t whole_characters(const std::string& text) {
  static const std::string replacement = "\xEF\xBF\xBD";
  const bool unfinished = text.size() >= replacement.size() &&
                          text.compare(text.size() - replacement.size(), std::string::npos, replacement) == 0;
  return unfinished ? text.size() - replacement.size() : text.size();
}

void stream_one(Machine& machine, LanguageModel& language, const GenerateRequest& request, std::ostream& out) {
  const Tokenizer& tokenizer = *language.tokenizer;
  const std::vector<std::vector<int32_t>> prompts{encode_prompt(tokenizer, request.prompt)};
  Generator generator(machine.ops, *language.model, machine.compute, 1);
  out << request.prompt << std::flush;
  std::vector<int32_t> tokens;
  size_t shown = 0;
  generator.generate(prompts, options_of(request, language), [&](size_t, int32_t token) {
    tokens.push_back(token);
    const std::string text = tokenizer.decode(tokens, /*skip_special_tokens=*/true);
    const size_t end = whole_characters(text);
    if (end > shown) out << text.substr(shown, end - shown) << std::flush;
    shown = std::max(shown, end);
  });
  out << tokenizer.decode(tokens, true).substr(shown) << '\n';
  flush(out);
}

class GenerateVerb final : public Verb {
 public:
  void add_flags(Flags& flags) override {
    flags.add("DIR", folder_, "a run folder or a model folder", {.required = true});
    flags.add("--prompt", prompt_, "what to go on from");
    flags.add("--input", input_, "a text file");
    for (const char* name : {"temperature", "top_k", "top_p", "max_new_tokens"})
      flags.add_short(settings_, std::string("--") + name, std::string("generation.") + name);
    flags.add_options(settings_, machine_options);
    flags.add_options(settings_, {"seed", "generation."});
    flags_ = &flags;
  }

  int run(Communicator& ranks) override {
    if (flags_->given("--prompt") == flags_->given("--input"))
      fail_usage("generate goes on from --prompt TEXT or from the lines of --input FILE: give one of them");
    return with_language_model(settings_, folder_, ranks, [&](Machine& machine, LanguageModel& language) {
      const Config& config = settings_.config;
      generate_text(machine, language, {prompt_, input_, config.generation, config.seed}, std::cout);
    });
  }

 private:
  Settings settings_;
  std::string folder_, prompt_, input_;
  const Flags* flags_ = nullptr;
};

}  // namespace

void generate_text(Machine& machine, LanguageModel& language, const GenerateRequest& request, std::ostream& out) {
  if (request.input_file.empty()) return stream_one(machine, language, request, out);
  const Tokenizer& tokenizer = *language.tokenizer;
  Generator generator(machine.ops, *language.model, machine.compute);
  GenerationOptions options = options_of(request, language);
  in_batches(request.input_file, [&](size_t first, const std::vector<std::string>& lines) {
    std::vector<std::vector<int32_t>> prompts;
    for (size_t i = 0; i < lines.size(); ++i)
      prompts.push_back(at_line(request.input_file, first + i, [&] {
        return within(encode_prompt(tokenizer, lines[i]), language.model->config().max_positions, "go on from");
      }));
    // Draws depend on a prompt's index in its batch: another seed a batch keeps the batches apart.
    options.seed = request.seed + first - 1;
    const auto continuations = generator.generate(prompts, options);
    for (size_t i = 0; i < lines.size(); ++i)
      out << nlohmann::ordered_json{{"prompt", lines[i]}, {"text", tokenizer.decode(continuations[i], true)}}.dump()
          << '\n';
    flush(out);
  });
}

std::unique_ptr<Verb> make_generate_verb() { return std::make_unique<GenerateVerb>(); }

}  // namespace engine
