#include "tasks/embed.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.h"
#include "core/parallel.h"
#include "models/huggingface.h"
#include "models/upload.h"
#include "tasks/language_model.h"

namespace engine {

namespace fs = std::filesystem;

namespace {

// This is enough for the matrix units, and a pass's activations stay in the cache. It is the same at any number of
// threads, because the bits of a vector depend on the other sentences of its pass.
constexpr size_t tokens_per_pass = 2048;

void normalise(float* vector, int64_t width) {
  double squares = 0;
  for (int64_t i = 0; i < width; ++i) squares += static_cast<double>(vector[i]) * static_cast<double>(vector[i]);
  const float factor = static_cast<float>(1 / std::max(std::sqrt(squares), 1e-12));
  for (int64_t i = 0; i < width; ++i) vector[i] *= factor;
}

// Splits `order` into parts of at most tokens_per_pass tokens or one sentence.
std::vector<std::span<const size_t>> cut_passes(std::span<const std::vector<int32_t>> sentences,
                                                std::span<const size_t> order) {
  std::vector<std::span<const size_t>> passes;
  for (size_t first = 0, last; first < order.size(); first = last) {
    size_t tokens = 0;
    const auto fits = [&](size_t i) { return i == first || tokens + sentences[order[i]].size() <= tokens_per_pass; };
    for (last = first; last < order.size() && fits(last); ++last) tokens += sentences[order[last]].size();
    passes.push_back(order.subspan(first, last - first));
  }
  return passes;
}

}  // namespace

// Each pass that runs at the same time as others has its own backend, memory and saved activations.
struct SentenceEncoder::Worker {
  Worker(Machine& machine, const Model& model) : ops(machine.ops), arena(machine.arena), saved(model.make_saved()) {}
  // Takes a backend, and one of `parts` parts of the memory.
  Worker(std::unique_ptr<Ops> its_own, int parts, const Model& model)
      : own_ops(std::move(its_own)),
        own_arena(
            std::make_unique<Arena>(own_ops->memory(), own_ops->memory().capacity() / static_cast<size_t>(parts))),
        ops(*own_ops),
        arena(*own_arena),
        saved(model.make_saved()) {}

  std::unique_ptr<Ops> own_ops;
  std::unique_ptr<Arena> own_arena;
  Ops& ops;
  Arena& arena;
  std::unique_ptr<Model::Saved> saved;
  Upload upload;
};

SentenceEncoder::~SentenceEncoder() = default;

SentenceEncoder::SentenceEncoder(const fs::path& folder, Machine& machine)
    : machine_(machine), config_(read_sentence_config(folder)) {
  tokenizer_ = load_tokenizer(config_.encoder, {.lowers_first = config_.lowers});
  model_ = load_model(config_.encoder, machine.ops.memory(), false, {.kinds = encoder_kinds, .head = HeadKind::none});
  require_vocabulary(folder, *tokenizer_, *model_);
  const int64_t positions = model_->config().max_positions;
  if (!config_.max_length) config_.max_length = tokenizer_->max_length();
  config_.max_length = config_.max_length ? std::min(config_.max_length, positions) : positions;
  prompt_tokens_ = count_prompt_tokens();
  model_->parameters().pack(machine.ops, machine.compute);
  workers_.push_back(std::make_unique<Worker>(machine, *model_));
}

void SentenceEncoder::add_workers() {
  const int threads = thread_count();
  while (static_cast<int>(workers_.size()) < threads) {
    std::unique_ptr<Ops> ops = machine_.ops.another(threads);
    if (!ops) break;
    workers_.push_back(std::make_unique<Worker>(std::move(ops), threads, *model_));
  }
}

int64_t SentenceEncoder::width() const {
  const int64_t whole = model_->config().hidden_size;
  return config_.truncated_width ? std::min(config_.truncated_width, whole) : whole;
}

std::vector<int32_t> SentenceEncoder::encode(std::string_view text, bool* cut) const {
  std::string prompted;
  if (!config_.prompt.empty()) text = prompted = config_.prompt + std::string(text);
  const auto most = static_cast<size_t>(config_.max_length);
  std::vector<int32_t> ids = encode_framed(*tokenizer_, text).ids;
  if (cut) *cut = ids.size() > most;
  return ids.size() > most ? encode_framed(*tokenizer_, text, {.max_length = most}).ids : ids;
}

size_t SentenceEncoder::count_prompt_tokens() const {
  if (config_.includes_prompt || config_.prompt.empty()) return 0;
  // sentence-transformers counts the prompt alone with its special tokens, without the one behind it.
  const std::vector<int32_t> ids = encode("");
  return ids.size() - (!ids.empty() && tokenizer_->is_named(ids.back()));
}

std::vector<float> SentenceEncoder::embed(std::span<const std::vector<int32_t>> sentences) {
  // Sentences of like length go together, the longest first.
  std::vector<size_t> order(sentences.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return sentences[a].size() > sentences[b].size(); });
  add_workers();
  const auto passes = cut_passes(sentences, order);
  std::vector<float> vectors(sentences.size() * static_cast<size_t>(width()));
  const auto run = [&](size_t pass, Worker& worker) { embed_pass(worker, sentences, passes[pass], vectors.data()); };
  if (workers_.size() > 1 && passes.size() >= workers_.size())
    parallel_for_or_throw(static_cast<int64_t>(passes.size()), [&](int64_t i) {
      run(static_cast<size_t>(i), *workers_[static_cast<size_t>(thread_index())]);
    });
  else
    for (size_t i = 0; i < passes.size(); ++i) run(i, *workers_[0]);
  return vectors;
}

void SentenceEncoder::embed_pass(Worker& worker, std::span<const std::vector<int32_t>> sentences,
                                 std::span<const size_t> chosen, float* vectors) const {
  Arena& arena = worker.arena;
  const ArenaScope scope(arena);
  int64_t tokens = 0, longest = 0;
  for (const size_t i : chosen) {
    require(!sentences[i].empty(), "sentence ", i, " has no tokens");
    tokens += static_cast<int64_t>(sentences[i].size());
    longest = std::max(longest, static_cast<int64_t>(sentences[i].size()));
  }
  Upload& upload = worker.upload;
  upload.clear();
  const Upload::List ids = upload.list(tokens), positions = upload.list(tokens);
  std::vector<int32_t> ends{0};
  size_t token = 0;
  for (const size_t i : chosen) {
    for (size_t t = 0; t < sentences[i].size(); ++t, ++token) {
      upload[ids][token] = sentences[i][t];
      upload[positions][token] = static_cast<int32_t>(t);
    }
    ends.push_back(static_cast<int32_t>(token));
  }
  const Upload::List offsets = upload.list(ends);
  upload.send(arena);
  Pass pass(Run{.ops = worker.ops, .arena = arena, .compute = machine_.compute, .keep = false},
            {upload.segments(offsets, longest), upload.tensor(positions)});
  const Tensor hidden = model_->hidden_states(pass, {.ids = upload.tensor(ids)}, *worker.saved);
  const Tensor pooled = pool(worker, hidden, ends);
  std::vector<float> rows(static_cast<size_t>(pooled.count()));
  arena.memory().copy_out(rows.data(), pooled.data, pooled.bytes());
  const auto whole = static_cast<size_t>(model_->config().hidden_size), kept = static_cast<size_t>(width());
  for (size_t i = 0; i < chosen.size(); ++i) {
    float* const row = rows.data() + i * whole;
    const size_t length = sentences[chosen[i]].size(), pooled_tokens = length - std::min(prompt_tokens_, length);
    // If pooling reads no token, the sum is zero. The first token's vector stays.
    if (pooled_tokens == 0 && config_.pooling != SentenceConfig::Pooling::first) std::fill_n(row, whole, 0.0f);
    if (config_.pooling == SentenceConfig::Pooling::mean_sqrt)
      for (size_t c = 0; c < whole; ++c) row[c] *= std::sqrt(static_cast<float>(pooled_tokens));
    if (config_.normalises) normalise(row, static_cast<int64_t>(whole));
    std::copy_n(row, kept, vectors + chosen[i] * kept);
  }
}

// Returns one row a sequence: the mean of the tokens behind the prompt, or the first or last of them. If a sequence is
// all prompt, the row is that of its first token.
Tensor SentenceEncoder::pool(Worker& worker, const Tensor& hidden, const std::vector<int32_t>& offsets) const {
  using Pooling = SentenceConfig::Pooling;
  Arena& arena = worker.arena;
  const size_t count = offsets.size() - 1;
  const auto uploaded = [&](const std::vector<int32_t>& values) {
    const Tensor tensor = arena.make(DType::i32, {static_cast<int64_t>(values.size())});
    arena.memory().copy_in(tensor.data, values.data(), tensor.bytes());
    return tensor;
  };
  std::vector<int32_t> rows, ends{0};
  size_t longest = 0;
  for (size_t i = 0; i < count; ++i) {
    const auto prompt = static_cast<int32_t>(prompt_tokens_);
    const bool all_prompt = offsets[i] + prompt >= offsets[i + 1];
    const int32_t begin = all_prompt ? offsets[i] : offsets[i] + prompt, end = all_prompt ? begin + 1 : offsets[i + 1];
    if (config_.pooling == Pooling::first) rows.push_back(begin);
    else if (config_.pooling == Pooling::last) rows.push_back(end - 1);
    else for (int32_t row = begin; row < end; ++row) rows.push_back(row);
    longest = std::max(longest, rows.size() - static_cast<size_t>(ends.back()));
    ends.push_back(static_cast<int32_t>(rows.size()));
  }
  const int64_t whole = model_->config().hidden_size;
  const auto gathered = [&] {
    const Tensor y = arena.make(DType::f32, {static_cast<int64_t>(rows.size()), whole});
    worker.ops.gather_rows({.x = hidden, .index = uploaded(rows), .y = y});
    return y;
  };
  if (config_.pooling == Pooling::first || config_.pooling == Pooling::last) return gathered();
  const Tensor pooled = arena.make(DType::f32, {static_cast<int64_t>(count), whole});
  const Tensor x = prompt_tokens_ == 0 ? hidden : gathered();
  worker.ops.segment_mean_forward(
      {.x = x, .segments = Segments::packed(uploaded(ends), static_cast<int64_t>(longest)), .y = pooled});
  return pooled;
}

}  // namespace engine
