// GPT-2 (Radford et al. 2019) is a pre-layernorm decoder with learned positions, or other ones in their place
// (positions.h), and tied embeddings, or a table of its own for the logits.
//   r = token + position embedding;  for each layer:  r += attention(ln1(r));  r += feed_forward(ln2(r));  h = ln(r)
#include "models/gpt2.h"

#include "models/architectures.h"
#include "models/positions.h"
#include "models/pre_norm_decoder.h"
#include "models/tied_options.h"

namespace engine {

void Gpt2Options::declare(Options& options) {
  options.add("model.embedding_dropout", embedding_dropout, between(-1, 1),
              "gpt2: share of the embeddings that is dropped in training; -1: as dropout");
}

void Gpt2Options::take_dropouts(const ArchitectureOptions& wanted, const Options& options) {
  if (options.was_set("model.embedding_dropout"))
    embedding_dropout = dynamic_cast<const Gpt2Options&>(wanted).embedding_dropout;
  else if (options.was_set("model.dropout"))
    embedding_dropout = -1;
}

std::unique_ptr<Model> make_gpt2(const ModelConfig& config) {
  require_positions(config, {"learned", "rotary", "sinusoidal", "random"});
  check_position_table(config);
  return make_pre_norm_decoder(config, {.positions = config.own.get<PositionOptions>().positions,
                                        .is_tied = has_tied_embeddings(config),
                                        .embedding_dropout =
                                            config.own.get<Gpt2Options>().rate_of_embeddings(config)});
}

}  // namespace engine
