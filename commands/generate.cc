#include "commands/generate.h"

#include <iostream>
#include <nlohmann/json.hpp>

#include "commands/generation_file.h"
#include "commands/lines.h"
#include "commands/verb.h"
#include "commands/with_model.h"
#include "models/generation.h"

namespace engine {

namespace {

// The inputs of generation, one of each for a text. Sources are empty where the model has no encoder.
struct Inputs {
  std::vector<std::vector<int32_t>> prompts, sources;
};

// Adds a text, which an encoder-decoder reads with its encoder and any other model continues.
void add_input(const LanguageModel& language, std::string_view text, Inputs& inputs) {
  const Model& model = *language.model;
  const int64_t positions = model.config().max_positions;
  if (!reads_source(model)) {
    inputs.prompts.push_back(within(encode_prompt(*language.tokenizer, text), positions, "go on from"));
    return;
  }
  inputs.sources.push_back(within(encode_source(*language.tokenizer, text), positions, "read"));
  inputs.prompts.push_back(decoder_start(model));
}

// Says where the model's positions end a text before max_new_tokens do.
class RoomReport {
 public:
  RoomReport(const LanguageModel& language, const GenerationOptions& options)
      : positions_(language.model->config().max_positions), options_(options) {}

  void add(const std::vector<int32_t>& prompt, const std::vector<int32_t>& text) {
    const auto room = positions_ - static_cast<int64_t>(prompt.size());
    const bool is_full = static_cast<int64_t>(text.size()) == room && room < options_.max_new_tokens;
    if (!is_full || (!text.empty() && options_.ends(text.back()))) return;
    ++ended_;
    without_room_ += room == 0;
  }
  // Empty where every text ended by itself or at max_new_tokens.
  std::string text() const {
    if (!ended_) return "";
    std::string result = ended_ == 1 ? "1 text ends" : std::to_string(ended_) + " texts end";
    result += " before generation.max_new_tokens = " + std::to_string(options_.max_new_tokens) +
              " tokens, at the model's " + std::to_string(positions_) + " positions";
    if (without_room_)
      result += "; " + std::string(ended_ == 1 ? "its prompt fills" : std::to_string(without_room_) + " prompts fill") +
                " all of them, so that there is no room for a new token";
    return result;
  }

 private:
  int64_t positions_;
  const GenerationOptions& options_;
  size_t ended_ = 0, without_room_ = 0;
};

void tell(const RoomReport& report, const Machine& machine) {
  const std::string text = report.text();
  if (!text.empty() && machine.communicator.is_first()) std::cerr << text << '\n';
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
  const GenerationOptions options =
      generation_options(request.generation, *language.model, tokenizer, request.seed);
  Inputs inputs;
  add_input(language, request.prompt, inputs);
  Generator generator(machine.ops, *language.model, machine.compute, options.beams);
  if (!reads_source(*language.model)) out << request.prompt << std::flush;
  std::vector<int32_t> tokens;
  size_t shown = 0;
  generator.generate(inputs.prompts, inputs.sources, options, [&](size_t, int32_t token) {
    tokens.push_back(token);
    const std::string text = tokenizer.decode(tokens, /*skip_special_tokens=*/true);
    const size_t end = whole_characters(text);
    if (end > shown) out << text.substr(shown, end - shown) << std::flush;
    shown = std::max(shown, end);
  });
  out << tokenizer.decode(tokens, true).substr(shown) << '\n';
  flush(out);
  RoomReport report(language, options);
  report.add(inputs.prompts[0], tokens);
  tell(report, machine);
}

class GenerateVerb final : public Verb {
 public:
  void add_flags(Flags& flags) override {
    flags.add("DIR", folder_, "a run folder or a model folder", {.required = true});
    flags.add("--prompt", prompt_, "the text to continue, or that an encoder reads");
    flags.add("--input", input_, "a text file with a prompt a line");
    flags.add("--ignore", ignored_, "keys of a model folder's generation_config.json that are passed over");
    for (const char* name : {"temperature", "top_k", "top_p", "max_new_tokens", "num_beams", "length_penalty"}) {
      const std::string option = std::string("generation.") + name;
      flags.add_short(settings_, std::string("--") + name, option, settings_.options.find(option)->help);
    }
    flags.add_short(settings_, "--seed", "seed",
                    "seed of the tokens that are drawn at a temperature above 0: another one gives another text");
    flags.add_options(settings_, machine_options);
    flags.add_options(settings_, {"generation."});
    flags_ = &flags;
  }

  int run(Communicator& ranks) override {
    if (flags_->given("--prompt") == flags_->given("--input"))
      fail_usage("generate goes on from --prompt TEXT or from the lines of --input FILE: give one of them");
    return with_language_model(settings_, folder_, ranks, [&](Machine& machine, LanguageModel& language) {
      Config& config = settings_.config;
      // The task.cfg of a run says all of [generation].
      if (const OpenedRun run = open_run(folder_); run.config.empty())
        take_generation_file(run.model, reads_source(*language.model), settings_.options, ignored_,
                             config.generation);
      settings_.refuse_unread_flags();
      const std::string seed = seed_text(config.generation, config.seed, flags_->given("--seed"));
      if (!seed.empty() && ranks.is_first()) std::cerr << seed << '\n';
      generate_text(machine, language, {prompt_, input_, config.generation, config.seed}, std::cout);
    });
  }

 private:
  Settings settings_;
  std::string folder_, prompt_, input_;
  std::vector<std::string> ignored_;
  const Flags* flags_ = nullptr;
};

}  // namespace

void generate_text(Machine& machine, LanguageModel& language, const GenerateRequest& request, std::ostream& out) {
  if (request.input_file.empty()) return stream_one(machine, language, request, out);
  const Tokenizer& tokenizer = *language.tokenizer;
  Generator generator(machine.ops, *language.model, machine.compute);
  GenerationOptions options =
      generation_options(request.generation, *language.model, tokenizer, request.seed);
  RoomReport report(language, options);
  in_batches(request.input_file, nullptr, [&](size_t first, const std::vector<std::string>& lines) {
    Inputs inputs;
    for (size_t i = 0; i < lines.size(); ++i)
      at_line(request.input_file, first + i, [&] { add_input(language, lines[i], inputs); });
    // Draws depend on a prompt's index in its batch, so another seed for each batch keeps the batches apart.
    options.seed = request.seed + first - 1;
    const auto texts = generator.generate(inputs.prompts, inputs.sources, options);
    for (size_t i = 0; i < lines.size(); ++i) {
      report.add(inputs.prompts[i], texts[i]);
      out << nlohmann::ordered_json{{"prompt", lines[i]}, {"text", tokenizer.decode(texts[i], true)}}.dump() << '\n';
    }
    flush(out);
  });
  tell(report, machine);
}

std::string seed_text(const GenerationConfig& generation, uint64_t seed, bool given) {
  if (generation.temperature > 0) return "tokens are drawn with --seed " + std::to_string(seed);
  return given ? "--seed changes nothing at temperature 0: no tokens are drawn" : "";
}

std::unique_ptr<Verb> make_generate_verb() { return std::make_unique<GenerateVerb>(); }

}  // namespace engine
