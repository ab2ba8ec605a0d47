#include "commands/generation_file.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"

namespace engine {

using nlohmann::json;

namespace {

// A key that is not obeyed, and the value that changes nothing beside null.
struct Neutral {
  const char* key;
  json value;
};

bool is_empty_list(const json& value) { return value.is_structured() && value.empty(); }

void refuse(const json& file, const std::vector<Neutral>& keys, const std::string& where) {
  for (const Neutral& one : keys)
    if (const json* found = json_find(file, one.key, where); found && *found != one.value && !is_empty_list(*found))
      fail_usage(where, ": \"", one.key, "\" is ", found->dump().substr(0, 60),
                 ", which is not obeyed; --ignore ", one.key, " generates without it");
}

}  // namespace

void take_generation_file(const std::filesystem::path& folder, bool is_encoder_decoder, const Options& options,
                          const std::vector<std::string>& ignored, GenerationConfig& generation) {
  std::filesystem::path path = folder / "generation_config.json";
  if (!std::filesystem::exists(path)) path = folder / "config.json";
  if (!std::filesystem::exists(path)) return;
  const std::string where = path.string();
  json file = parse_json_file(path);
  if (!file.is_object()) fail(where, ": should be a JSON object");
  for (const std::string& key : ignored)
    if (file.erase(key) == 0) fail_usage("--ignore ", key, ": ", where, " has no such key");
  const auto is_open = [&](const char* name) { return !options.was_set(std::string("generation.") + name); };
  refuse(file,
         {{"repetition_penalty", 1.0}, {"encoder_repetition_penalty", 1.0}, {"no_repeat_ngram_size", 0},
          {"encoder_no_repeat_ngram_size", 0}, {"diversity_penalty", 0.0}, {"num_beam_groups", 1}, {"min_length", 0},
          {"min_new_tokens", 0}, {"guidance_scale", 1.0}, {"num_return_sequences", 1}, {"penalty_alpha", 0.0},
          {"renormalize_logits", false}, {"bad_words_ids", nullptr}, {"force_words_ids", nullptr},
          {"constraints", nullptr}, {"sequence_bias", nullptr}, {"suppress_tokens", nullptr},
          {"begin_suppress_tokens", nullptr}, {"stop_strings", nullptr}, {"watermarking_config", nullptr},
          {"exponential_decay_length_penalty", nullptr}, {"dola_layers", nullptr}, {"max_time", nullptr}},
         where);
  const bool samples = json_bool(file, "do_sample", where, false);
  if (samples)
    refuse(file,
           {{"typical_p", 1.0}, {"min_p", 0.0}, {"epsilon_cutoff", 0.0}, {"eta_cutoff", 0.0}, {"top_h", nullptr}},
           where);
  // A temperature that was set says whether tokens are drawn, and in which manner.
  if (is_open("temperature") && samples) {
    generation.temperature = static_cast<float>(json_number(file, "temperature", where, 1));
    if (is_open("top_k")) generation.top_k = static_cast<int>(json_integer(file, "top_k", where, 0, INT32_MAX, 50));
    if (is_open("top_p")) generation.top_p = static_cast<float>(json_number(file, "top_p", where, 1));
    if (!(generation.temperature > 0) || !(generation.top_p > 0 && generation.top_p <= 1))
      fail_usage(where, ": \"temperature\" should be above 0, and \"top_p\" above 0 and at most 1");
  }
  if (is_open("num_beams"))
    generation.num_beams = static_cast<int>(json_integer(file, "num_beams", where, 1, 1024, 1));
  if (generation.num_beams > 1 && generation.temperature > 0)
    fail_usage(where, ": \"num_beams\" and \"do_sample\" together are not obeyed: set --num_beams 1 or ",
               "--temperature 0");
  if (generation.num_beams > 1) {
    if (is_open("length_penalty"))
      generation.length_penalty = static_cast<float>(json_number(file, "length_penalty", where, 1));
    const json* const stops = json_find(file, "early_stopping", where);
    if (is_open("early_stopping") && stops) {
      if (!stops->is_boolean())
        fail_usage(where, ": \"early_stopping\" is ", stops->dump(), ": true or false are obeyed");
      generation.early_stopping = stops->get<bool>();
    }
  }
  if (!is_open("max_new_tokens")) return;
  const auto most = [&](const char* key) { return static_cast<int>(json_integer(file, key, where, 1, INT32_MAX)); };
  if (json_has(file, "max_new_tokens", where)) {
    generation.max_new_tokens = most("max_new_tokens");
  } else if (json_has(file, "max_length", where)) {
    // It counts the token that the decoder starts with, and a prompt.
    if (!is_encoder_decoder)
      fail_usage(where, ": \"max_length\" counts the prompt, too, which is not obeyed: set --max_new_tokens");
    generation.max_new_tokens = std::max(1, most("max_length") - 1);
  }
}

}  // namespace engine
