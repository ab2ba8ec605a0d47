#include "models/positions.h"

#include <algorithm>

#include "core/error.h"
#include "core/listing.h"

namespace engine {

namespace {

const std::vector<std::string> all_positions{"learned", "rotary", "sinusoidal", "none"};

}  // namespace

void PositionOptions::declare(Options& options) {
  options.add("model.positions", positions, one_of(all_positions),
              "what tells the places of tokens apart: a gpt2 has learned or rotary positions, a bart learned, "
              "sinusoidal or none; only learned ones make a model that transformers can load");
}

void PositionOptions::check() const {
  if (std::find(all_positions.begin(), all_positions.end(), positions) == all_positions.end())
    fail_usage("model.positions \"", positions.substr(0, 60), "\" are unknown: ", listed(all_positions, " or "));
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
