#pragma once

#include "models/config.h"
#include "models/layers.h"

namespace engine {

struct BartOptions final : OptionsOf<BartOptions> {
  int64_t decoder_layers = 0;               // 0: as many as the encoder
  std::string relative_positions = "none";  // self attention's tables, none, shared by keys and values or separate
  int64_t relative_distances = 64;          // distances told apart each way, the last one for all farther
  bool scale_embedding = false;             // scales token embeddings by sqrt(C)
  float activation_dropout = 0;             // of the feed-forward part's inner values
  int32_t decoder_start_token = -1;         // first token of every target
  int32_t forced_bos_token = -1, forced_eos_token = -1;  // generation's first token, and its last at the limit
  std::vector<float> output_bias;           // [V], added to logits, not trained, may be empty

  int64_t decoder_size(const ModelConfig& config) const { return decoder_layers ? decoder_layers : config.num_layers; }
  bool has_relative_tables() const { return relative_positions != "none"; }
  RelativeTable relative() const { return {relative_positions, relative_distances}; }

  void declare(Options& options) override;
  void check() const override;
  void take_dropouts(const ArchitectureOptions& wanted, const Options& options) override;
  void write_out(const ModelConfig& config) override { decoder_layers = decoder_size(config); }
};

}  // namespace engine
