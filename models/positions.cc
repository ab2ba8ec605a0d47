#include "models/positions.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/listing.h"
#include "core/random.h"

namespace engine {

namespace {

const std::vector<std::string> all_positions{"learned", "rotary", "sinusoidal", "random", "none"};

}  // namespace

void PositionOptions::declare(Options& options) {
  options.add("model.positions", positions, one_of(all_positions),
              "what tells the places of tokens apart: a gpt2 has learned, rotary, sinusoidal or random positions, a "
              "bart learned, sinusoidal or none; random: training reads a sorted draw from a longer table; only "
              "learned ones make a model that transformers can load");
}

void PositionOptions::check() const {
  if (std::find(all_positions.begin(), all_positions.end(), positions) == all_positions.end())
    fail_usage("model.positions \"", positions.substr(0, 60), "\" are unknown: ", listed(all_positions, " or "));
}

void PositionTableOptions::declare(Options& options) {
  options.add("model.trained_positions", trained, "the table of sinusoidal or random positions is trained");
  options.add("model.random_table", random_table, one_of({"normal", "sinusoidal"}),
              "values of a table of random positions when training begins");
  options.add("model.random_in_evaluation", random_in_evaluation,
              "losses of evaluations read drawn positions, too; false: the first of the table, as generation does");
  options.add("model.position_dropout", dropout, between(0, 1),
              "share of the position embeddings that is dropped in training before they are added; learned, sinusoidal "
              "and random ones");
}

void PositionTableOptions::check() const {
  if (random_table != "normal" && random_table != "sinusoidal")
    fail_usage("model.random_table \"", random_table.substr(0, 60), "\" is unknown: normal or sinusoidal");
  if (!(dropout >= 0 && dropout <= 1))
    fail_usage("model.position_dropout is ", dropout, ": it must be from 0 to 1");
}

void PositionTableOptions::take_dropouts(const ArchitectureOptions& wanted, const Options& options) {
  if (options.was_set("model.position_dropout"))
    dropout = dynamic_cast<const PositionTableOptions&>(wanted).dropout;
}

void check_position_table(const ModelConfig& config) {
  const auto& own = config.own.get<PositionTableOptions>();
  const std::string& positions = config.own.get<PositionOptions>().positions;
  const auto refuse = [&](const char* option, const char* wanted) {
    fail_usage(option, " is set, but model.positions is \"", positions, "\": it is for ", wanted, " ones");
  };
  const bool is_random = positions == "random", is_fixed = is_random || positions == "sinusoidal";
  if (own.trained && !is_fixed) refuse("model.trained_positions", "sinusoidal and random");
  if (own.random_table != "normal" && !is_random) refuse("model.random_table", "random");
  if (own.random_in_evaluation && !is_random) refuse("model.random_in_evaluation", "random");
  if (own.dropout > 0 && !is_fixed && positions != "learned")
    refuse("model.position_dropout", "learned, sinusoidal and random");
}

bool draws_positions(const ModelConfig& config, bool training) {
  if (config.own.get<PositionOptions>().positions != "random") return false;
  return training || config.own.get<PositionTableOptions>().random_in_evaluation;
}

void write_sinusoids(float* table, int64_t positions, int64_t width, double exponent_scale) {
  for (int64_t t = 0; t < positions; ++t)
    for (int64_t i = 0; i < width; ++i) {
      const double exponent = static_cast<double>(i / 2 * 2) / static_cast<double>(width) * exponent_scale;
      const double angle = static_cast<double>(t) / std::pow(10000.0, exponent);
      table[t * width + i] = static_cast<float>(i % 2 ? std::cos(angle) : std::sin(angle));
    }
}

float deviation_of_positions(int64_t positions, int64_t width) {
  return 0.1f * std::sqrt(static_cast<float>(positions) / static_cast<float>(width));
}

void write_normal_positions(float* table, int64_t positions, int64_t width) {
  constexpr uint64_t seed = 453345, stream = uint64_t{0x706f} << 48;
  const float deviation = deviation_of_positions(positions, width);
  Random random(seed, stream);
  for (int64_t i = 0; i < positions * width; ++i) table[i] = deviation * random.normal();
}

void RotaryOptions::declare(Options& options) {
  options.add("model.rotary_share", share, between(0, 1),
              "share of each head's width that rotary positions turn, the rest of a head knows no positions");
  options.add("model.rotary_base", base, above(0),
              "rotary positions: pair i of r/2 turns by the position times base^(-2i/r)");
}

void RotaryOptions::check() const {
  if (!(share >= 0 && share <= 1)) fail_usage("model.rotary_share is ", share, ": it must be from 0 to 1");
  if (!(base > 0 && base < 1e30f)) fail_usage("model.rotary_base is ", base, ": it must be a number above 0");
}

int64_t RotaryOptions::dims(const ModelConfig& config) const {
  const int64_t head = config.hidden_size / config.num_heads;
  const auto dims = static_cast<int64_t>(static_cast<double>(head) * share);
  if (dims < 2 || dims % 2)
    fail_usage("model.rotary_share is ", share, ", which is ", dims, " dimensions of a head of ", head,
               ": they must be an even number from 2");
  return dims;
}

void require_positions(const ModelConfig& config, const std::vector<std::string>& known) {
  const std::string& positions = config.own.get<PositionOptions>().positions;
  if (std::find(known.begin(), known.end(), positions) == known.end())
    fail_usage("model.positions is \"", positions, "\", those of a ", config.architecture, " are ",
               listed(known, " or "));
}

bool turns_positions(const ModelConfig& config) {
  for (const OwnOptions::Entry& entry : config.own.all())
    if (const auto* const own = dynamic_cast<const PositionOptions*>(entry.options.get()))
      return own->positions == "rotary" || !entry.is_of(config.architecture);
  return false;
}

}  // namespace engine
