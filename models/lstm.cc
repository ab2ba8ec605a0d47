// A language model of long short-term memories (kernels/lstm/lstm.h), layers upon layers.
//   x = token embedding;  for each layer:  x = lstm(x), dropped between two layers;  h = x
// The logits are products of h with a table of their own, or with the token embedding (model.tied_embeddings). There
// are no positions: a layer's state knows what came before, and is all that generation keeps of it.
//
// The first layer's sums are a linear function of an embedding alone. Where the vocabulary is no larger than the batch
// they are looked up in the table of all embeddings' sums, E W_ih^T + bias, whose gradient is collected by token. Then
// no product of that layer's inputs runs over the tokens. So embed returns these sums [N, 4C], in the precision of the
// pass. A decoding state has the table once for all its passes.
//
// Initial values are PyTorch's in their deviation, 1 / sqrt(3 C) for a layer's weights and 1 for embeddings that are
// not tied, but normal, and biases are 0. The table of the logits has model.initializer_range.
#include <cmath>

#include "models/architectures.h"
#include "models/layers.h"
#include "models/tied_options.h"
#include "models/upload.h"

namespace engine {

namespace {

// Cells holds h and c of each slot and layer, behind the last token that the slot has read.
class Cells final : public DecodeState {
 public:
  struct Layer {
    Tensor h, c;  // f32 [slots + 1, C], of which the last row stays 0
  };
  std::vector<Layer> layers;
  Tensor sums;  // f32 [V, 4C] of all tokens' embeddings, where the passes are expected to read as many tokens
  bool has_sums = false;
  Tensor slots, slots_before;  // i32 [S] of the pass; slots_before names the last row where a sequence begins

  Cells(Arena& arena, const DecodeSizes& sizes_, int64_t count, int64_t width, int64_t vocabulary)
      : DecodeState(sizes_), lengths_(static_cast<size_t>(sizes.slots), 0) {
    for (int64_t layer = 0; layer < count; ++layer)
      layers.push_back({arena.make_zeros(DType::f32, {sizes.slots + 1, width}),
                        arena.make_zeros(DType::f32, {sizes.slots + 1, width})});
    if (vocabulary <= sizes.slots * sizes.rows) sums = arena.make(DType::f32, {vocabulary, 4 * width});
  }

  void list(Upload& upload, std::span<const Part> parts) override {
    const auto count = static_cast<int64_t>(parts.size());
    slot_list_ = upload.list(count);
    before_list_ = upload.list(count);
    for (size_t i = 0; i < parts.size(); ++i) {
      const auto [slot, cached, tokens] = parts[i];
      int64_t& length = lengths_.at(static_cast<size_t>(slot));
      require(cached == 0 || cached == length, "an lstm goes on behind the ", length, " tokens that slot ", slot,
              " has read, not behind ", cached);
      length = cached + tokens;
      upload[slot_list_][i] = static_cast<int32_t>(slot);
      upload[before_list_][i] = static_cast<int32_t>(cached ? slot : sizes.slots);
    }
  }
  void take(const Upload& upload) override {
    slots = upload.tensor(slot_list_);
    slots_before = upload.tensor(before_list_);
  }

  void copy_slots(Ops& ops, Arena& arena, std::span<const Copy> copies) override {
    if (copies.empty()) return;
    const ArenaScope scope(arena);
    Upload upload;
    const auto count = static_cast<int64_t>(copies.size());
    const Upload::List from = upload.list(count), to = upload.list(count);
    for (size_t i = 0; i < copies.size(); ++i) {
      const int64_t length = lengths_.at(static_cast<size_t>(copies[i].from));
      require(copies[i].rows == 0 || copies[i].rows == length, "an lstm's slot ", copies[i].from, " has read ", length,
              " tokens: the first ", copies[i].rows, " alone cannot be copied");
      lengths_.at(static_cast<size_t>(copies[i].to)) = copies[i].rows;
      upload[from][i] = static_cast<int32_t>(copies[i].from);
      upload[to][i] = static_cast<int32_t>(copies[i].to);
    }
    upload.send(arena);
    const Tensor taken = arena.make(DType::f32, {count, layers.at(0).h.cols()});
    for (const Layer& layer : layers)
      for (const Tensor& side : {layer.h, layer.c}) {
        ops.gather_rows({.x = side, .index = upload.tensor(from), .y = taken});
        ops.scatter_rows({.x = taken, .index = upload.tensor(to), .y = side});
      }
  }

 private:
  std::vector<int64_t> lengths_;  // tokens that each slot has read
  Upload::List slot_list_, before_list_;
};

// One layer. Its gates' sums are a Linear of the inputs, which has the bias, and a product of h with the recurrent
// weights. The first layer is given what its Linear makes.
struct LstmLayer {
  struct Saved {
    Tensor x;         // [N, C], input, or the first layer's sums [N, 4C]
    Tensor y;         // [N, C], output
    Tensor gates, c;  // [N, 4C], and f32 [N, C]; made again where the pass recomputes
  };
  Linear input, recurrent;
  DropoutSite dropout;  // of the input
  size_t index = 0;
  ParameterRange range;  // of the parameters that are complete behind backward, without the first layer's Linear

  LstmLayer(Parameters& table, size_t layer, int64_t width, float dropout_rate) : index(layer) {
    const std::string name = "layers." + std::to_string(layer);
    const Initial initial = Initial::normal(1 / std::sqrt(3.0f * static_cast<float>(width)));
    range.first = table.size();
    input = Linear(table, name + ".input", width, 4 * width, initial);
    if (layer == 0) range.first = table.size();
    recurrent = Linear(table, name + ".recurrent", width, 4 * width, initial, /*with_bias=*/false);
    recurrent.weight->is_read_apart = true;
    range.last = table.size();
    dropout = table.add_dropout(name, layer > 0 ? dropout_rate : 0);
  }

  // Returns the output, which stays in use until the backward pass, as x does.
  Tensor forward(Pass& pass, const Tensor& before, Saved& saved) const {
    saved.x = before;
    if (const Dropout drops = pass.dropout(dropout); drops.rate > 0) {
      saved.x = pass.arena.make(before.dtype, before.shape);
      pass.ops.dropout({.x = before, .y = saved.x, .dropout = drops});
    }
    saved.y = pass.arena.make(pass.compute, {before.rows(), recurrent.weight->shape[1]});
    if (pass.keep && !pass.recompute) {
      run(pass, saved);
    } else {
      const ArenaScope scope(pass.arena);
      run(pass, saved);
    }
    return saved.y;
  }

  // dx receives the gradient of what forward was given, in its shape.
  void backward(Pass& pass, const Tensor& dy, const Tensor& dx, Saved& saved) const {
    const ArenaScope scope(pass.arena);
    if (pass.recompute) run(pass, saved);
    const Tensor dgates = index == 0 ? dx : pass.arena.make(pass.compute, saved.gates.shape),
                 h_before = pass.arena.make(pass.compute, saved.y.shape);
    pass.ops.lstm_backward({.gates = saved.gates,
                            .weight = recurrent.weight->factor(pass.compute),
                            .segments = pass.layout.segments,
                            .y = saved.y,
                            .c = saved.c,
                            .dy = dy,
                            .dgates = dgates,
                            .h_before = h_before,
                            .compute = pass.compute});
    recurrent.backward(pass, dgates, h_before, {});
    if (index > 0) input.backward(pass, dgates, saved.x, dx);
    if (const Dropout drops = pass.dropout(dropout); drops.rate > 0)
      pass.ops.dropout({.x = dx, .y = dx, .dropout = drops});
    pass.done(range);
  }

 private:
  // Makes gates and c, and writes y.
  void run(Pass& pass, Saved& saved) const {
    const int64_t tokens = saved.y.rows(), width = saved.y.cols(), sequences = pass.layout.segments.count();
    const bool in_place = index == 0 && !(pass.keep && pass.recompute);
    saved.gates = in_place ? saved.x : pass.arena.make(pass.compute, {tokens, 4 * width});
    saved.c = pass.arena.make(DType::f32, {tokens, width});
    if (index > 0) input.forward(pass, saved.x, saved.gates);
    else if (!in_place) pass.ops.copy({.x = saved.x, .y = saved.gates});
    LstmForwardArgs args{.gates = saved.gates,
                         .weight = recurrent.weight->factor(pass.compute),
                         .packed_weight = pass.keep ? Tensor{} : recurrent.weight->packed(pass.compute),
                         .segments = pass.layout.segments,
                         .y = saved.y,
                         .c = saved.c,
                         .compute = pass.compute};
    if (!pass.state) return pass.ops.lstm_forward(args);
    const auto& cells = static_cast<const Cells&>(*pass.state);
    const Cells::Layer& layer = cells.layers[index];
    for (Tensor* state : {&args.first_h, &args.first_c, &args.last_h, &args.last_c})
      *state = pass.arena.make(DType::f32, {sequences, width});
    pass.ops.gather_rows({.x = layer.h, .index = cells.slots_before, .y = args.first_h});
    pass.ops.gather_rows({.x = layer.c, .index = cells.slots_before, .y = args.first_c});
    pass.ops.lstm_forward(args);
    pass.ops.scatter_rows({.x = args.last_h, .index = cells.slots, .y = layer.h});
    pass.ops.scatter_rows({.x = args.last_c, .index = cells.slots, .y = layer.c});
  }
};

class Lstm final : public Model {
 public:
  struct SavedStates final : Saved {
    std::vector<LstmLayer::Saved> layers;
  };

  explicit Lstm(const ModelConfig& config) : Model(config) {
    if (config.thought_states) fail_usage("thought.states is true: an lstm has no thought states");
    const bool is_tied = has_tied_embeddings(config);
    const auto table = [&](const char* name, float deviation) {
      return &parameters_.add(name, {config.vocab_size, config.hidden_size}, Initial::normal(deviation));
    };
    token_table_ = table("embedding.tokens", is_tied ? config.initializer_range : 1.0f);
    for (int64_t layer = 0; layer < config.num_layers; ++layer)
      layers_.emplace_back(parameters_, static_cast<size_t>(layer), config.hidden_size, config.dropout);
    embedding_range_ = {0, layers_[0].range.first};
    head_.range.first = parameters_.size();
    head_.projection = is_tied ? token_table_ : table("lm_head.weight", config.initializer_range);
    head_.range.last = parameters_.size();
    head_.projection->is_factor = true;
  }

  std::unique_ptr<Saved> make_saved() const override { return std::make_unique<SavedStates>(); }

  std::unique_ptr<DecodeState> make_decode_state(Arena& arena, DType, const DecodeSizes& sizes) const override {
    return std::make_unique<Cells>(arena, sizes, config_.num_layers, config_.hidden_size, config_.vocab_size);
  }

  Embedded embed(Pass& pass, const Tokens& tokens) override {
    const Tensor sums = pass.arena.make(pass.compute, {tokens.ids.count(), 4 * config_.hidden_size});
    const ArenaScope scope(pass.arena);
    auto* const cells = static_cast<Cells*>(pass.state);
    if (cells && cells->sums) {
      if (!cells->has_sums) write_sums(pass, cells->sums);
      cells->has_sums = true;
      pass.ops.embedding_forward({.tokens = tokens.ids, .token_table = cells->sums, .y = sums});
    } else if (looks_up(tokens)) {
      const Tensor table = pass.arena.make(DType::f32, {config_.vocab_size, sums.cols()});
      write_sums(pass, table);
      pass.ops.embedding_forward({.tokens = tokens.ids, .token_table = table, .y = sums});
    } else {
      layers_[0].input.forward(pass, embeddings(pass, tokens), sums);
    }
    return {sums, {}};
  }

  Tensor trunk(Pass& pass, const Embedded& embedded, Saved& saved_states) override {
    require(!pass.bidirectional, "an lstm reads its tokens from the first to the last: nothing sees those behind it");
    require(!pass.tap, "an lstm has no residual stream to be tapped");
    auto& saved = static_cast<SavedStates&>(saved_states);
    saved.layers.resize(layers_.size());
    Tensor x = embedded.x;
    for (size_t i = 0; i < layers_.size(); ++i) x = layers_[i].forward(pass, x, saved.layers[i]);
    return x;
  }

  Embedded trunk_backward(Pass& pass, const Tensor& dhidden, Saved& saved_states) override {
    auto& saved = static_cast<SavedStates&>(saved_states);
    const Tensor dsums = pass.arena.make(pass.compute, {dhidden.rows(), 4 * dhidden.cols()});
    Tensor dy = dhidden;
    for (size_t i = layers_.size(); i-- > 0;) {
      const Tensor dx = i > 0 ? pass.arena.make(pass.compute, dhidden.shape) : dsums;
      layers_[i].backward(pass, dy, dx, saved.layers[i]);
      dy = dx;
    }
    return {dsums, {}};
  }

  void embed_backward(Pass& pass, const Tokens& tokens, const Embedded& dsums) override {
    const ArenaScope scope(pass.arena);
    const Tensor& dembedding = pass.gradients->sum(*token_table_);
    const Linear& input = layers_[0].input;
    if (looks_up(tokens)) {
      const Tensor dtable = pass.arena.make_zeros(DType::f32, {config_.vocab_size, dsums.x.cols()});
      pass.ops.embedding_backward({.tokens = tokens.ids, .dy = dsums.x, .dtoken_table = dtable});
      input.backward(pass, dtable, token_table_->factor(pass.compute), dembedding, Activation::none, {},
                     /*accumulate=*/true);
    } else {
      const Tensor dx = pass.arena.make(pass.compute, {dsums.x.rows(), config_.hidden_size});
      input.backward(pass, dsums.x, embeddings(pass, tokens), dx);
      pass.ops.embedding_backward({.tokens = tokens.ids, .dy = dx, .dtoken_table = dembedding});
    }
    pass.done(embedding_range_);
  }

 private:
  bool looks_up(const Tokens& tokens) const { return config_.vocab_size <= tokens.ids.count(); }
  // Writes the first layer's sums of every token's embedding.
  void write_sums(Pass& pass, const Tensor& table) const {
    layers_[0].input.forward(pass, token_table_->factor(pass.compute), table);
  }
  Tensor embeddings(Pass& pass, const Tokens& tokens) const {
    const Tensor x = pass.arena.make(pass.compute, {tokens.ids.count(), config_.hidden_size});
    pass.ops.embedding_forward({.tokens = tokens.ids, .token_table = token_table_->value, .y = x});
    return x;
  }

  Parameter* token_table_;
  std::vector<LstmLayer> layers_;
  ParameterRange embedding_range_;
};

}  // namespace

std::unique_ptr<Model> make_lstm(const ModelConfig& config) { return std::make_unique<Lstm>(config); }

}  // namespace engine
