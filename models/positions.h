// Options of the positions that several architectures share.
#pragma once

#include "models/config.h"

namespace engine {

// Names what tells the places of tokens apart.
struct PositionOptions final : OptionsOf<PositionOptions> {
  std::string positions = "learned";  // learned, rotary, sinusoidal, random or none

  void declare(Options& options) override;
  void check() const override;
};

// A table of positions that is added to the embeddings of tokens.
//   sinusoidal  P[t, 2i] = sin(t / 10000^(2i/C)),  P[t, 2i+1] = cos of the same (Vaswani et al. 2017)
//   random      each row of a training reads a sorted draw from the table, which is longer than any row. A row with n
//               positions gets n different ones out of the first m, m even on n ... max_positions (after Ruoss et al.
//               2023). The table is normal with deviation 0.1 sqrt(max_positions / C), or sinusoidal. Evaluation and
//               generation read its first n rows.
// A table that is not trained is the same in every model. Dropout of positions acts on the table's rows alone, before
// they are added.
struct PositionTableOptions final : OptionsOf<PositionTableOptions> {
  bool trained = false;                // of sinusoidal and random ones
  std::string random_table = "normal";  // normal or sinusoidal
  bool random_in_evaluation = false;
  float dropout = 0;

  void declare(Options& options) override;
  void check() const override;
  void take_dropouts(const ArchitectureOptions& wanted, const Options& options) override;
};

// Throws a UsageError where options of the table are set for positions without it.
void check_position_table(const ModelConfig& config);

// Tells whether the positions of a row are drawn.
bool draws_positions(const ModelConfig& config, bool training);

// Writes P [positions, width] as above. Angles have their exponent multiplied by `exponent_scale`.
void write_sinusoids(float* table, int64_t positions, int64_t width, double exponent_scale = 1);
// Writes the values of a random table that is not trained.
void write_normal_positions(float* table, int64_t positions, int64_t width);
// Returns the deviation of a random table.
float deviation_of_positions(int64_t positions, int64_t width);

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
