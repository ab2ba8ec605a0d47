#pragma once

#include "models/config.h"
#include "models/layers.h"

namespace engine {

struct BartOptions final : OptionsOf<BartOptions> {
  int64_t decoder_layers = 0;               // 0: as many as the encoder has
  std::string positions = "learned";        // learned, sinusoidal or none
  std::string relative_positions = "none";  // tables of self attention: none, shared (by keys and values), separate
  int64_t relative_distances = 64;          // told apart each way; farther ones count as the farthest
  bool scale_embedding = false;             // embeddings of tokens times the root of C
  float activation_dropout = 0;             // of the inner values of the feed-forward part
  int32_t decoder_start_token = -1;         // what every target begins with
  int32_t forced_bos_token = -1, forced_eos_token = -1;  // what generation puts first, and last at its limit
  std::vector<float> output_bias;           // [V], added to the logits and not trained; empty: none

  int64_t decoder_size(const ModelConfig& config) const { return decoder_layers ? decoder_layers : config.num_layers; }
  bool has_relative_tables() const { return relative_positions != "none"; }
  RelativeTable relative() const { return {relative_positions, relative_distances}; }

  void declare(Options& options) override;
  void check() const override;
  void take_dropouts(const ArchitectureOptions& wanted, const Options& options) override;
  void write_out(const ModelConfig& config) override { decoder_layers = decoder_size(config); }
};

}  // namespace engine
