#include "training/thought_runner.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <optional>

#include "core/error.h"
#include "models/positions.h"

namespace engine {

namespace {

// A row of the batch between two of its thoughts.
struct Part {
  size_t sequence;
  int32_t begin, end;  // tokens of the batch
};

// Runs chunk by chunk. The flat row of a slice has the chunks 0 of all sequences, then the chunks 1, and so on.
class ChunkRunner final : public BatchRunner {
 public:
  explicit ChunkRunner(Model& model) : recurrence_(model), model_(model) {}

  DeviceBatch send(Arena& arena, const SequenceBatch& batch, int64_t first, int64_t last,
                   const DropoutStream& stream) override;
  int64_t scored() const override { return std::ssize(labels_); }
  uint64_t key() const override { return upload_.key(); }
  std::span<const int32_t> order() const override { return order_; }
  void run(Pass& pass, Objective& objective, const DeviceBatch& batch, const LossRequest& request) override {
    const ArenaScope scope(pass.arena);
    pass.layout = batch.layout;
    pass.outputs = {};
    const Tensor hidden = recurrence_.exact(pass, batch.tokens.ids, chunks_);
    const Tensor dhidden = objective.run(pass, hidden, batch, request);
    if (request.gradients) recurrence_.backward(pass, dhidden);
  }

  // Returns what the thoughts of the slice inject, f32 [T, C], chunk by chunk.
  Tensor states(Pass& pass) {
    recurrence_.exact(pass, ids_, chunks_);
    return recurrence_.states(pass);
  }
  // Returns the row of each thought's state there, in the batch's order.
  std::vector<int32_t> order_of_states() const;

 private:
  // A chunk's lists, before they are tensors.
  struct Lists {
    int64_t first = 0, count = 0, longest = 0, longest_keys = 0;
    Upload::List offsets, key_begin, key_end, inject, capture, counters;
  };
  void cut(const SequenceBatch& batch, size_t first, size_t last);
  Lists list_chunk(const SequenceBatch& batch, size_t j, int32_t begin, const DropoutStream& stream);
  void list_scored(const SequenceBatch& batch);
  ThoughtChunk chunk_of(const Lists& lists);

  ThoughtRecurrence recurrence_;
  Model& model_;
  Upload upload_;
  std::vector<std::vector<Part>> parts_;  // of each chunk
  std::vector<int32_t> tokens_;           // token of the batch at each row of the flat row
  std::vector<int32_t> scored_, labels_, order_;
  Upload::List positions_, cache_rows_;
  std::vector<Lists> lists_;
  std::vector<ThoughtChunk> chunks_;
  Tensor ids_;
};

std::vector<int32_t> ChunkRunner::order_of_states() const {
  std::vector<std::pair<int32_t, int32_t>> places;  // thoughts of the batch, and rows of their states
  for (size_t j = 1; j < parts_.size(); ++j)
    for (const Part& part : parts_[j]) places.emplace_back(part.begin, static_cast<int32_t>(places.size()));
  std::sort(places.begin(), places.end());
  std::vector<int32_t> rows;
  for (const auto& [place, row] : places) rows.push_back(row);
  return rows;
}

void ChunkRunner::cut(const SequenceBatch& batch, size_t first, size_t last) {
  const int32_t thought = model_.config().thought_token;
  parts_.clear();
  for (size_t s = first; s < last; ++s) {
    const auto row = std::span(batch.tokens).subspan(static_cast<size_t>(batch.offsets[s]),
                                                     static_cast<size_t>(batch.offsets[s + 1] - batch.offsets[s]));
    size_t j = 0;
    int32_t begin = batch.offsets[s];
    for (const std::span<const int32_t> tokens : parts_at_thoughts(row, thought)) {
      const int32_t end = begin + static_cast<int32_t>(tokens.size());
      if (parts_.size() == j) parts_.emplace_back();
      parts_[j++].push_back({s, begin, end});
      begin = end;
    }
  }
  tokens_.clear();
  for (const std::vector<Part>& parts : parts_)
    for (const Part& part : parts)
      for (int32_t i = part.begin; i < part.end; ++i) tokens_.push_back(i);
}

// `begin` is the slice's first token. The cache has a row for every token of the slice, in the batch's order.
ChunkRunner::Lists ChunkRunner::list_chunk(const SequenceBatch& batch, size_t j, int32_t begin,
                                           const DropoutStream& stream) {
  const std::vector<Part>& parts = parts_[j];
  const auto count = std::ssize(parts);
  Lists lists;
  lists.offsets = upload_.list(count + 1);
  lists.key_begin = upload_.list(count), lists.key_end = upload_.list(count);
  lists.inject = upload_.list(j ? count : 0);
  lists.capture = upload_.list(j + 1 < parts_.size() ? std::ssize(parts_[j + 1]) : 0);
  lists.counters = upload_.list(stream.is_active ? 3 : 0);
  upload_[lists.offsets][0] = 0;
  size_t continued = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    const Part& part = parts[i];
    if (j) upload_[lists.inject][i] = static_cast<int32_t>(lists.count);
    lists.count += part.end - part.begin;
    upload_[lists.offsets][i + 1] = static_cast<int32_t>(lists.count);
    upload_[lists.key_begin][i] = batch.offsets[part.sequence] - begin;
    upload_[lists.key_end][i] = part.end - begin;
    lists.longest = std::max<int64_t>(lists.longest, part.end - part.begin);
    lists.longest_keys = std::max<int64_t>(lists.longest_keys, part.end - batch.offsets[part.sequence]);
    if (part.end < batch.offsets[part.sequence + 1])
      upload_[lists.capture][continued++] = static_cast<int32_t>(lists.count) - 1;
  }
  return lists;
}

void ChunkRunner::list_scored(const SequenceBatch& batch) {
  scored_.clear();
  labels_.clear();
  for (size_t row = 0; row < tokens_.size(); ++row) {
    const int32_t label = batch.targets.labels[static_cast<size_t>(tokens_[row])];
    if (label == -100) continue;
    scored_.push_back(static_cast<int32_t>(row));
    labels_.push_back(label);
  }
  order_.resize(scored_.size());
  std::iota(order_.begin(), order_.end(), 0);
  const auto token_of = [&](int32_t i) { return tokens_[static_cast<size_t>(scored_[static_cast<size_t>(i)])]; };
  std::sort(order_.begin(), order_.end(), [&](int32_t a, int32_t b) { return token_of(a) < token_of(b); });
}

ThoughtChunk ChunkRunner::chunk_of(const Lists& lists) {
  const auto part = [&](const Upload::List& all) {
    return Upload::List{all.begin + static_cast<size_t>(lists.first), static_cast<size_t>(lists.count)};
  };
  ThoughtChunk chunk{.first = lists.first};
  chunk.layout = {upload_.segments(lists.offsets, lists.longest), upload_.tensor(part(positions_))};
  chunk.cache_rows = upload_.tensor(part(cache_rows_));
  chunk.keys = upload_.segments(lists.key_begin, lists.key_end, lists.longest_keys);
  if (lists.inject.count) chunk.inject = upload_.tensor(lists.inject);
  if (lists.capture.count) chunk.capture = upload_.tensor(lists.capture);
  return chunk;
}

DeviceBatch ChunkRunner::send(Arena& arena, const SequenceBatch& batch, int64_t first, int64_t last,
                              const DropoutStream& stream) {
  require(0 <= first && first < last && last <= batch.sequences(), "sequences ", first, " to ", last, " of a batch of ",
          batch.sequences());
  const int32_t begin = batch.offsets[static_cast<size_t>(first)];
  cut(batch, static_cast<size_t>(first), static_cast<size_t>(last));
  list_scored(batch);
  upload_.clear();
  const auto rows = std::ssize(tokens_);
  const Upload::List ids = upload_.list(rows), scored = upload_.list(scored_), labels = upload_.list(labels_),
                     weights = upload_.list(batch.targets.weights.empty() ? 0 : std::ssize(scored_)),
                     penalties = upload_.list(batch.targets.penalties.empty() ? 0 : std::ssize(scored_));
  positions_ = upload_.list(rows), cache_rows_ = upload_.list(rows);
  size_t row = 0;
  for (const std::vector<Part>& parts : parts_)
    for (const Part& part : parts)
      for (int32_t i = part.begin; i < part.end; ++i, ++row) {
        const auto at = static_cast<size_t>(i);
        const int32_t position = batch.positions.empty() ? i - batch.offsets[part.sequence] : batch.positions[at];
        require(position < model_.config().max_positions, "a sequence has a token at position ", position,
                ", the model ", model_.config().max_positions, " positions");
        upload_[ids][row] = batch.tokens[at];
        upload_[positions_][row] = position;
        upload_[cache_rows_][row] = i - begin;
      }
  for (size_t i = 0; i < scored_.size(); ++i) {
    const auto token = static_cast<size_t>(tokens_[static_cast<size_t>(scored_[i])]);
    if (weights.count) upload_.floats(weights)[i] = batch.targets.weights[token];
    if (penalties.count) upload_.floats(penalties)[i] = batch.targets.penalties[token];
  }
  lists_.clear();
  int64_t before = 0;
  for (size_t j = 0; j < parts_.size(); ++j) {
    lists_.push_back(list_chunk(batch, j, begin, stream));
    lists_.back().first = before;
    if (lists_.back().counters.count) write_counters(upload_, lists_.back().counters, stream, begin + before);
    before += lists_.back().count;
  }
  const Upload::List counters = upload_.list(stream.is_active ? 3 : 0);
  if (counters.count) write_counters(upload_, counters, stream, begin);
  upload_.send(arena);

  chunks_.clear();
  for (const Lists& lists : lists_) {
    chunks_.push_back(chunk_of(lists));
    chunks_.back().layout.rows_before = begin + lists.first;
    if (lists.counters.count) chunks_.back().layout.dropout_counters = upload_.tensor(lists.counters);
  }
  ids_ = upload_.tensor(ids);
  DeviceBatch result{.tokens = {.ids = ids_}};
  result.layout.rows_before = begin;
  if (counters.count) result.layout.dropout_counters = upload_.tensor(counters);
  result.outputs.index = upload_.tensor(scored);
  result.outputs.layout = result.layout;
  result.labels = upload_.tensor(labels);
  if (weights.count) result.weights = upload_.tensor(weights, DType::f32);
  if (penalties.count) result.penalties = upload_.tensor(penalties, DType::f32);
  return result;
}

// Runs rows several times. The first run may inject the states of a run chunk by chunk.
class RepeatedRunner final : public BatchRunner {
 public:
  RepeatedRunner(Model& model, const ThoughtRunning& running)
      : recurrence_(model), model_(model), running_(running) {
    if (running.begins_exact) exact_.emplace(model);
  }

  DeviceBatch send(Arena& arena, const SequenceBatch& batch, int64_t first, int64_t last,
                   const DropoutStream& stream) override {
    const DeviceBatch result = upload_.send(arena, model_, batch, first, last, stream);
    inject_.clear();
    const int32_t thought = model_.config().thought_token;
    const int32_t begin = batch.offsets[static_cast<size_t>(first)];
    for (auto s = static_cast<size_t>(first); s < static_cast<size_t>(last); ++s)
      for (int32_t i = batch.offsets[s] + 1; i < batch.offsets[s + 1]; ++i)
        if (batch.tokens[static_cast<size_t>(i)] == thought) inject_.push_back(i - begin);
    rows_upload_.clear();
    const Upload::List inject = rows_upload_.list(inject_), capture = rows_upload_.list(std::ssize(inject_));
    std::transform(inject_.begin(), inject_.end(), rows_upload_[capture].begin(), [](int32_t row) { return row - 1; });
    if (exact_) exact_->send(arena, batch, first, last, {});
    const Upload::List order = rows_upload_.list(exact_ ? exact_->order_of_states() : std::vector<int32_t>{});
    rows_upload_.send(arena);
    order_ = order.count ? rows_upload_.tensor(order) : Tensor{};
    rows_ = {rows_upload_.tensor(inject), rows_upload_.tensor(capture)};
    return result;
  }
  int64_t scored() const override { return upload_.scored(); }
  uint64_t key() const override {
    return upload_.key() ^ (rows_upload_.key() * 31) ^ (exact_ ? exact_->key() * 961 : 0);
  }
  void run(Pass& pass, Objective& objective, const DeviceBatch& batch, const LossRequest& request) override {
    const ArenaScope scope(pass.arena);
    pass.layout = batch.layout;
    pass.outputs = {};
    const Tensor hidden = recurrence_.passes(pass, batch.tokens.ids, rows_, running_.passes, running_.detached,
                                             initial_states(pass));
    const Tensor dhidden = objective.run(pass, hidden, batch, request);
    if (request.gradients) recurrence_.backward(pass, dhidden);
  }

 private:
  Tensor initial_states(Pass& pass) {
    if (!order_) return {};
    const Tensor states = pass.arena.make(DType::f32, {order_.count(), model_.config().hidden_size});
    const ArenaScope scope(pass.arena);
    Pass still(Run{.ops = pass.ops, .arena = pass.arena, .compute = pass.compute, .keep = false}, {});
    pass.ops.gather_rows({.x = exact_->states(still), .index = order_, .y = states});
    return states;
  }

  ThoughtRecurrence recurrence_;
  std::optional<ChunkRunner> exact_;  // where the first run has its states
  Tensor order_;                      // of its states, row of each thought's; absent without
  Model& model_;
  const ThoughtRunning running_;
  BatchUpload upload_;
  Upload rows_upload_;
  std::vector<int32_t> inject_;
  ThoughtRows rows_;
};

}  // namespace

std::unique_ptr<BatchRunner> make_thought_runner(Model& model, const ThoughtRunning& running) {
  require(model.config().thought_token >= 0, "the model has no thought token");
  if (draws_positions(model.config(), true))
    fail_usage("model.positions is \"random\", which a model with thought states cannot have: learned or rotary");
  if (running.is_exact) return std::make_unique<ChunkRunner>(model);
  return std::make_unique<RepeatedRunner>(model, running);
}

}  // namespace engine
