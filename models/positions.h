// Options of the positions that several architectures share.
#pragma once

#include "models/config.h"

namespace engine {

// Names what tells the places of tokens apart.
struct PositionOptions final : OptionsOf<PositionOptions> {
  std::string positions = "learned";  // learned, rotary, sinusoidal or none

  void declare(Options& options) override;
  void check() const override;
};

// Rotary positions (kernels/attention/rotary.h).
struct RotaryOptions final : OptionsOf<RotaryOptions> {
  double share = 0.25;  // of each head's width
  float base = 10000;

  void declare(Options& options) override;
  void check() const override;
  // Returns how many dimensions of a head are turned. Throws a UsageError where they are odd or none.
  int64_t dims(const ModelConfig& config) const;
};

// Throws a UsageError where the config's positions are none of those that its architecture has.
void require_positions(const ModelConfig& config, const std::vector<std::string>& known);

// Tells whether positions are rotary in a model that reads RotaryOptions: it was chosen, or there is no choice.
bool turns_positions(const ModelConfig& config);

}  // namespace engine
