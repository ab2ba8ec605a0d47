// BART (Lewis et al. 2019): an encoder and a decoder that reads what the encoder made of the source, both
// post-layernorm; one table embeds the tokens of both and scores the output.
//   x = drop(norm(token + position embedding));  for each layer of the encoder:
//   h = norm1(x + drop(attention(x)));  x = norm2(h + drop(feed_forward(h)))
// of the decoder, with s the encoder's x:
//   h = norm1(x + drop(attention(x)));  g = cross_norm(h + drop(cross_attention(h, s)));
//   x = norm2(g + drop(feed_forward(g)));  logits = x E^T
// Positions are learned (their table begins with two rows that nothing reads, as in published models), sinusoidal
// (P[t, i] = sin(t / 10000^(2i/C)) and P[t, C/2 + i] the cosine of the same), or none. Beside them, or in their place,
// self attention may have relative tables (kernels/attention/attention.h); cross attention, whose sides share no count,
// has none.
#include "models/bart.h"

#include <cmath>

#include "kernels/attention/attention.h"
#include "models/blocks.h"

namespace engine {

namespace {

constexpr int64_t unused_positions = 2;

void write_positions(float* table, int64_t positions, int64_t width) {
  for (int64_t t = 0; t < positions; ++t)
    for (int64_t i = 0; i < width / 2; ++i) {
      const double exponent = static_cast<double>(2 * i) / static_cast<double>(width);
      const double angle = static_cast<double>(t) / std::pow(10000.0, exponent);
      table[t * width + i] = static_cast<float>(std::sin(angle));
      table[t * width + width / 2 + i] = static_cast<float>(std::cos(angle));
    }
}

// The rows that positions 0, 1, ... read; none of a table that is absent.
Tensor used_rows(const Tensor& table) {
  if (!table) return {};
  return {table.as<float>() + unused_positions * table.cols(), table.dtype,
          {table.rows() - unused_positions, table.cols()}};
}

// Encoder or decoder: positions and blocks.
struct Side {
  Parameter* positions = nullptr;
  PostNormStack stack;

  Side() = default;
  Side(Parameters& table, const ModelConfig& config, const std::string& prefix, int64_t layers, bool decoder,
       Initial initial) {
    if (config.positions == "learned")
      positions = &table.add(prefix + "embedding.positions",
                             {config.max_positions + unused_positions, config.hidden_size}, initial);
    stack = PostNormStack(table, config, prefix, layers, decoder, initial);
  }
};

class Bart final : public CausalModel {
 public:
  struct SavedStates final : Saved {
    PostNormStack::Saved encoder, decoder;
    SourceStates source;
  };

  explicit Bart(const ModelConfig& config) : CausalModel(config) {
    const int64_t width = config.hidden_size, positions = config.max_positions;
    const Initial initial = Initial::normal(config.initializer_range);
    const std::string& kind = config.positions;
    if (kind != "learned" && kind != "sinusoidal" && kind != "none")
      fail_usage("model.positions \"", config.positions.substr(0, 60), "\" are unknown: learned, sinusoidal or none");
    const std::string& relative = config.relative_positions;
    if (relative != "none" && relative != "shared" && relative != "separate")
      fail_usage("model.relative_positions \"", relative.substr(0, 60), "\" are unknown: none, shared or separate");
    if (config.relative_distances < 1 || config.relative_distances > most_distances)
      fail_usage("model.relative_distances is ", config.relative_distances, ": it must be from 1 to ", most_distances);
    token_table_ = &parameters_.add("embedding.tokens", {config.vocab_size, width}, initial);
    token_table_->is_factor = true;
    if (config.positions == "sinusoidal") {
      require(width % 2 == 0, "sinusoidal positions need an even model.hidden_size, it is ", width);
      sinusoids_ =
          &parameters_.add_constant({positions, width}, [=](float* to) { write_positions(to, positions, width); });
    }
    encoder_ = Side(parameters_, config, "encoder.", config.num_layers, /*decoder=*/false, initial);
    decoder_ = Side(parameters_, config, "decoder.", config.decoder_size(), /*decoder=*/true, initial);
    if (config.output_bias.empty()) return;
    output_bias_ = &parameters_.add_constant({config.vocab_size}, [bias = config.output_bias](float* to) {
      std::copy(bias.begin(), bias.end(), to);
    });
  }

  std::unique_ptr<Saved> make_saved() const override { return std::make_unique<SavedStates>(); }

  Tensor forward(Pass& pass, const Tokens& tokens, Saved& saved_states) override {
    auto& saved = static_cast<SavedStates&>(saved_states);
    saved.source = encode(pass, tokens.source, saved);
    return decoder_.stack.forward(pass, embed(pass, decoder_, tokens.ids, tokens.positions), saved.decoder,
                                  saved.source, tokens.asked);
  }

  void backward(Pass& pass, const Tokens& tokens, const Tensor& dhidden, Saved& saved_states) override {
    auto& saved = static_cast<SavedStates&>(saved_states);
    const ArenaScope scope(pass.arena);
    const Tensor dsource = pass.arena.make(DType::f32, saved.source.states.shape);
    {
      const ArenaScope of_decoder(pass.arena);
      const Tensor dembedded = decoder_.stack.backward(pass, dhidden, saved.decoder, saved.source, dsource);
      embed_backward(pass, decoder_, tokens.ids, tokens.positions, dembedded);
    }
    Pass encoder_pass = pass_of_encoder(pass, tokens.source);
    const Tensor dembedded = encoder_.stack.backward(encoder_pass, dsource, saved.encoder);
    embed_backward(pass, encoder_, tokens.source.ids, tokens.source.positions, dembedded);
  }

  Parameter& output_projection() override { return *token_table_; }
  Parameter* output_bias() override {
    if (!output_bias_) return nullptr;
    fixed_bias_.value = *output_bias_;
    return &fixed_bias_;
  }

 private:
  static Pass pass_of_encoder(const Pass& pass, const Tokens::Source& source) {
    Pass result = pass;
    result.segments = source.segments;
    result.first_row = pass.first_source_row;
    result.cache = nullptr;
    return result;
  }

  // What the decoder reads of the sources; nothing where a cache holds all of them.
  SourceStates encode(Pass& pass, const Tokens::Source& source, SavedStates& saved) const {
    if (!source.ids) {
      require(pass.cache, "an encoder-decoder was given no source");
      return {};
    }
    const Shape shape{source.ids.count(), config_.hidden_size};
    Pass encoder_pass = pass_of_encoder(pass, source);
    const Tensor states = pass.arena.make(pass.compute, shape);
    std::optional<ArenaScope> released;
    if (!pass.keep) released.emplace(pass.arena);
    const Tensor embedded = embed(pass, encoder_, source.ids, source.positions);
    pass.ops.copy({.x = encoder_.stack.forward(encoder_pass, embedded, saved.encoder), .y = states});
    return {states, source.segments};
  }

  // Tokens and positions, f32 [N, C].
  Tensor embed(Pass& pass, const Side& side, const Tensor& ids, const Tensor& positions) const {
    const Tensor embedded = pass.arena.make(DType::f32, {ids.count(), config_.hidden_size});
    const Tensor table = side.positions ? used_rows(side.positions->value) : sinusoids_ ? *sinusoids_ : Tensor{};
    pass.ops.embedding_forward({.tokens = ids,
                                .positions = table ? positions : Tensor{},
                                .token_table = token_table_->value,
                                .position_table = table,
                                .y = embedded,
                                .token_scale = token_scale()});
    return embedded;
  }
  void embed_backward(Pass& pass, const Side& side, const Tensor& ids, const Tensor& positions,
                      const Tensor& dembedded) const {
    pass.ops.embedding_backward({.tokens = ids,
                                 .positions = side.positions ? positions : Tensor{},
                                 .dy = dembedded,
                                 .dtoken_table = token_table_->gradient,
                                 .dposition_table = side.positions ? used_rows(side.positions->gradient) : Tensor{},
                                 .token_scale = token_scale()});
  }

  float token_scale() const {
    return config_.scale_embedding ? std::sqrt(static_cast<float>(config_.hidden_size)) : 1;
  }

  Parameter* token_table_;
  const Tensor* sinusoids_ = nullptr;
  const Tensor* output_bias_ = nullptr;
  Parameter fixed_bias_;  // of the output, never trained
  Side encoder_, decoder_;
};

}  // namespace

std::unique_ptr<CausalModel> make_bart(const ModelConfig& config) { return std::make_unique<Bart>(config); }

}  // namespace engine
