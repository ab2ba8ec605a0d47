// GPT-NeoX (Black et al. 2022), which Pythia's models are, is a pre-layernorm decoder with rotary positions on a share
// of each head and a table of its own for the logits.
//   r = token embedding;  for each layer:  r += attention(ln1(r)) + feed_forward(ln2(r));  h = ln(r)
// Without parallel_residual a layer is GPT-2's: r += attention(ln1(r));  r += feed_forward(ln2(r)).
#include "models/neox.h"

#include "models/architectures.h"
#include "models/pre_norm_decoder.h"
#include "models/tied_options.h"

namespace engine {

void NeoxOptions::declare(Options& options) {
  options.add("model.parallel_residual", parallel_residual,
              "gpt_neox: attention and the feed-forward part of a layer read the same stream; false: one after the "
              "other");
  options.add("model.attention_bias", attention_bias, "gpt_neox: biases of attention's linear layers");
}

std::unique_ptr<Model> make_gpt_neox(const ModelConfig& config) {
  const auto& own = config.own.get<NeoxOptions>();
  return make_pre_norm_decoder(config, {.positions = "rotary",
                                        .is_parallel = own.parallel_residual,
                                        .attention_bias = own.attention_bias,
                                        .is_tied = has_tied_embeddings(config),
                                        .embedding_dropout = config.dropout});
}

}  // namespace engine
