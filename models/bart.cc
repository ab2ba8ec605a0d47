// BART (Lewis et al. 2019) is an encoder and a decoder, which reads the encoder's hidden states of a source. Both are
// post-layernorm. One table embeds the tokens of both and scores the output or, untied, each of the three has its own.
//   x = drop(norm(token + position embedding));  for each layer of the encoder:
//   h = norm1(x + drop(attention(x)));  x = norm2(h + drop(feed_forward(h)))
//   for each layer of the decoder, with s the encoder's x:
//   h = norm1(x + drop(attention(x)));  g = cross_norm(h + drop(cross_attention(h, s)));
//   x = norm2(g + drop(feed_forward(g)));  logits = x E^T, E a table of tokens
// Positions are learned (their table begins with two rows that nothing reads, as in published models), sinusoidal
// (P[t, i] = sin(t / 10000^(2i/C)) and P[t, C/2 + i] the cosine of the same), or none. Beside them, or in their place,
// self attention may have relative tables (kernels/attention/attention.h). Cross attention has none, because
// positions of the two texts cannot be compared.
#include "models/bart.h"

#include <cmath>

#include "kernels/attention/attention.h"
#include "models/architectures.h"
#include "models/blocks.h"
#include "models/positions.h"
#include "models/tied_options.h"

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

// Returns the rows of a position table that positions 0, 1, ... read. An absent table has none.
Tensor used_rows(const Tensor& table) {
  if (!table) return {};
  return {table.as<float>() + unused_positions * table.cols(), table.dtype,
          {table.rows() - unused_positions, table.cols()}};
}

// The encoder or the decoder has token embeddings, positions and blocks.
struct Side {
  Parameter* tokens = nullptr;  // its own, or the table of both
  Parameter* positions = nullptr;
  ParameterRange range;  // of its own tables
  PostNormStack stack;

  Side() = default;
  Side(Parameters& table, const ModelConfig& config, const std::string& prefix, int64_t layers, bool decoder,
       Initial initial, Parameter* shared) {
    const auto& own = config.own.get<BartOptions>();
    range.first = table.size();
    const Shape of_tokens{config.vocab_size, config.hidden_size};
    tokens = shared ? shared : &table.add(prefix + "embedding.tokens", of_tokens, initial);
    tokens->is_tied = shared != nullptr;
    tokens->is_lookup = !shared;
    if (config.own.get<PositionOptions>().positions == "learned")
      positions = &table.add(prefix + "embedding.positions",
                             {config.max_positions + unused_positions, config.hidden_size}, initial);
    range.last = table.size();
    stack = PostNormStack(table, config, prefix, layers, decoder, initial,
                          {.activation_dropout = own.activation_dropout, .relative = own.relative()});
  }
};

class Bart final : public Model {
 public:
  struct SavedStates final : Saved {
    PostNormStack::Saved encoder, decoder;
    SourceStates source;
  };

  explicit Bart(const ModelConfig& config) : Model(config) {
    const auto& own = config.own.get<BartOptions>();
    const int64_t width = config.hidden_size, positions = config.max_positions;
    const Initial initial = Initial::normal(config.initializer_range);
    const auto table = [&](const char* name) { return &parameters_.add(name, {config.vocab_size, width}, initial); };
    Parameter* const shared = has_tied_embeddings(config) ? table("embedding.tokens") : nullptr;
    shared_range_ = {0, parameters_.size()};
    if (config.own.get<PositionOptions>().positions == "sinusoidal") {
      require(width % 2 == 0, "sinusoidal positions need an even model.hidden_size, it is ", width);
      sinusoids_ =
          &parameters_.add_constant({positions, width}, [=](float* to) { write_positions(to, positions, width); });
    }
    token_scale_ = own.scale_embedding ? std::sqrt(static_cast<float>(width)) : 1;
    encoder_ = Side(parameters_, config, "encoder.", config.num_layers, /*decoder=*/false, initial, shared);
    decoder_ = Side(parameters_, config, "decoder.", own.decoder_size(config), /*decoder=*/true, initial, shared);
    head_.range.first = parameters_.size();
    head_.projection = shared ? shared : table("lm_head.weight");
    head_.range.last = parameters_.size();
    head_.projection->is_factor = true;
    if (own.output_bias.empty()) return;
    head_.fixed_bias = &parameters_.add_constant({config.vocab_size}, [bias = own.output_bias](float* to) {
      std::copy(bias.begin(), bias.end(), to);
    });
  }

  std::unique_ptr<Saved> make_saved() const override { return std::make_unique<SavedStates>(); }

  std::unique_ptr<DecodeState> make_decode_state(Arena& arena, DType compute, const DecodeSizes& sizes) const override {
    const int64_t layers = config_.own.get<BartOptions>().decoder_size(config_);
    return std::make_unique<KeyValueCache>(arena, compute, sizes, layers, config_.hidden_size, /*with_sources=*/true);
  }

  Embedded embed(Pass& pass, const Tokens& tokens) override {
    // A decoding state may already hold the keys and values of all sources. A pass then needs no source.
    require(tokens.source_ids || pass.state, "an encoder-decoder was given no source");
    return {embed_side(pass, decoder_, tokens.ids, pass.layout),
            tokens.source_ids ? embed_side(pass, encoder_, tokens.source_ids, pass.source) : Tensor{}};
  }

  Tensor trunk(Pass& pass, const Embedded& embedded, Saved& saved_states) override {
    auto& saved = static_cast<SavedStates&>(saved_states);
    saved.source = {};
    if (embedded.source) {
      const Tensor states = pass.arena.make(pass.compute, embedded.source.shape);
      std::optional<ArenaScope> released;
      if (!pass.keep) released.emplace(pass.arena);
      Pass encoder_pass = pass_of_encoder(pass);
      pass.ops.copy({.x = encoder_.stack.forward(encoder_pass, embedded.source, saved.encoder), .y = states});
      saved.source = {states, pass.source.segments, {}};
    }
    return decoder_.stack.forward(pass, embedded.x, saved.decoder, saved.source, pass.outputs);
  }

  Embedded trunk_backward(Pass& pass, const Tensor& dhidden, Saved& saved_states) override {
    auto& saved = static_cast<SavedStates&>(saved_states);
    const Tensor dsource = pass.arena.make(DType::f32, saved.source.states.shape);
    const Tensor dx = decoder_.stack.backward(pass, dhidden, saved.decoder, saved.source, dsource);
    Pass encoder_pass = pass_of_encoder(pass);
    return {dx, encoder_.stack.backward(encoder_pass, dsource, saved.encoder)};
  }

  void embed_backward(Pass& pass, const Tokens& tokens, const Embedded& dx) override {
    embed_side_backward(pass, decoder_, tokens.ids, pass.layout, dx.x);
    embed_side_backward(pass, encoder_, tokens.source_ids, pass.source, dx.source);
    pass.done(shared_range_);
  }

 private:
  static Pass pass_of_encoder(const Pass& pass) {
    Pass result = pass.over(pass.source);
    result.state = nullptr;
    result.tap = nullptr;
    return result;
  }

  // Returns the sum of token and position embeddings, f32 [N, C].
  Tensor embed_side(Pass& pass, const Side& side, const Tensor& ids, const Layout& layout) const {
    const Tensor embedded = pass.arena.make(DType::f32, {ids.count(), config_.hidden_size});
    const Tensor table = side.positions ? used_rows(side.positions->value) : sinusoids_ ? *sinusoids_ : Tensor{};
    pass.ops.embedding_forward({.tokens = ids,
                                .positions = table ? layout.positions : Tensor{},
                                .token_table = side.tokens->value,
                                .position_table = table,
                                .y = embedded,
                                .token_scale = token_scale_});
    return embedded;
  }
  void embed_side_backward(Pass& pass, const Side& side, const Tensor& ids, const Layout& layout,
                           const Tensor& dembedded) const {
    const Tensor dpositions = side.positions ? used_rows(pass.gradients->sum(*side.positions)) : Tensor{};
    pass.ops.embedding_backward({.tokens = ids,
                                 .positions = dpositions ? layout.positions : Tensor{},
                                 .dy = dembedded,
                                 .dtoken_table = pass.gradients->lookup(*side.tokens),
                                 .dposition_table = dpositions,
                                 .token_scale = token_scale_,
                                 .touched_blocks = pass.gradients->touched_blocks(*side.tokens)});
    pass.done(side.range);
  }

  ParameterRange shared_range_;  // of the table of both sides, if there is one
  const Tensor* sinusoids_ = nullptr;
  float token_scale_ = 1;
  Side encoder_, decoder_;
};

}  // namespace

void BartOptions::declare(Options& options) {
  options.add("model.relative_positions", relative_positions, one_of({"none", "shared", "separate"}),
              "bart: what self attention adds to keys and values by their distance from the query: nothing, rows of "
              "one table, or of one for each; with tables transformers cannot load the model");
  options.add("model.relative_distances", relative_distances, between(1, most_distances),
              "bart: distances that relative_positions tell apart each way; farther ones count as the farthest");
  options.add("model.decoder_layers", decoder_layers, between(0, most_layers),
              "bart: transformer blocks of the decoder, num_layers being the encoder's; 0: as many");
  options.add("model.activation_dropout", activation_dropout, between(0, 1),
              "bart: share of the feed-forward part's inner values that is dropped in training");
}

void BartOptions::take_dropouts(const ArchitectureOptions& wanted, const Options& options) {
  if (options.was_set("model.activation_dropout"))
    activation_dropout = dynamic_cast<const BartOptions&>(wanted).activation_dropout;
}

void BartOptions::check() const {
  if (relative_positions != "none" && relative_positions != "shared" && relative_positions != "separate")
    fail_usage("model.relative_positions \"", relative_positions.substr(0, 60),
               "\" are unknown: none, shared or separate");
  if (relative_distances < 1 || relative_distances > most_distances)
    fail_usage("model.relative_distances is ", relative_distances, ": it must be from 1 to ", most_distances);
}

std::unique_ptr<Model> make_bart(const ModelConfig& config) {
  require_positions(config, {"learned", "sinusoidal", "none"});
  return std::make_unique<Bart>(config);
}

}  // namespace engine
