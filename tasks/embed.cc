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

// Writes the maximum of some tokens' rows, or their mean by weights that count up from `first_weight`.
void pool_tokens(const float* tokens, size_t count, size_t width, bool takes_maximum, size_t first_weight, float* row) {
  double weights = 0;
  for (size_t t = 0; t < count; ++t) weights += static_cast<double>(first_weight + t);
  for (size_t c = 0; c < width; ++c) {
    float most = tokens[c];
    double sum = 0;
    for (size_t t = 0; t < count; ++t) {
      most = std::max(most, tokens[t * width + c]);
      sum += static_cast<double>(first_weight + t) * static_cast<double>(tokens[t * width + c]);
    }
    row[c] = takes_maximum ? most : static_cast<float>(sum / weights);
  }
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
  model_ = load_model(config_.encoder, machine.ops.memory(), false,
                      {.kinds = encoder_kinds, .head = HeadKind::none, .matrices = machine.compute});
  require_vocabulary(folder, *tokenizer_, *model_);
  const int64_t positions = model_->config().max_positions;
  if (!config_.max_length) config_.max_length = tokenizer_->max_length();
  config_.max_length = config_.max_length ? std::min(config_.max_length, positions) : positions;
  prompt_tokens_ = count_prompt_tokens();
  const auto parts = static_cast<int64_t>(config_.poolings.size());
  modules_ = std::make_unique<SentenceModules>(config_.modules, parts * model_->config().hidden_size, machine.arena);
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
  const int64_t whole = modules_->width();
  return config_.truncated_width ? std::min(config_.truncated_width, whole) : whole;
}

std::vector<int32_t> SentenceEncoder::encode(std::string_view text, bool* cut) const {
  std::string prompted;
  if (!config_.prompt.empty()) text = prompted = config_.prompt + std::string(text);
  const auto most = static_cast<size_t>(config_.max_length);
  std::vector<int32_t> ids = encode_framed(*tokenizer_, text).ids;
  if (cut) *cut = ids.size() > most;
  if (ids.size() > most) ids = encode_framed(*tokenizer_, text, {.max_length = most}).ids;
  const auto& poolings = config_.poolings;
  const bool takes_maximum =
      std::find(poolings.begin(), poolings.end(), SentenceConfig::Pooling::max) != poolings.end();
  require(!takes_maximum || prompt_tokens_ == 0 || ids.size() > prompt_tokens_,
          "the line has no token behind the prompt, so there is no maximum");
  return ids;
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
  const size_t part = static_cast<size_t>(model_->config().hidden_size), modes = config_.poolings.size();
  const auto kept = static_cast<size_t>(width()), whole = static_cast<size_t>(modules_->width());
  std::vector<float> rows(chosen.size() * modes * part);
  for (size_t mode = 0; mode < modes; ++mode) {
    const std::vector<float> pooled = pool(worker, hidden, ends, config_.poolings[mode]);
    for (size_t i = 0; i < chosen.size(); ++i)
      std::copy_n(pooled.data() + i * part, part, rows.data() + (i * modes + mode) * part);
  }
  modules_->apply(worker.ops, arena, static_cast<int64_t>(chosen.size()), rows);
  for (size_t i = 0; i < chosen.size(); ++i) std::copy_n(rows.data() + i * whole, kept, vectors + chosen[i] * kept);
}

// The rows are means or maxima of the tokens behind the prompt, or the first or last of them. If a sequence is all
// prompt, no token is read, and the sum is zero, but the first token's row stays.
std::vector<float> SentenceEncoder::pool(Worker& worker, const Tensor& hidden, const std::vector<int32_t>& offsets,
                                         SentenceConfig::Pooling mode) const {
  using Pooling = SentenceConfig::Pooling;
  Arena& arena = worker.arena;
  const ArenaScope scope(arena);
  const size_t count = offsets.size() - 1;
  const auto width = static_cast<size_t>(model_->config().hidden_size);
  const auto uploaded = [&](const std::vector<int32_t>& values) {
    const Tensor tensor = arena.make(DType::i32, {static_cast<int64_t>(values.size())});
    arena.memory().copy_in(tensor.data, values.data(), tensor.bytes());
    return tensor;
  };
  std::vector<int32_t> rows, ends{0};
  std::vector<bool> is_empty;  // all prompt
  size_t longest = 0;
  for (size_t i = 0; i < count; ++i) {
    const auto prompt = static_cast<int32_t>(prompt_tokens_);
    is_empty.push_back(offsets[i] + prompt >= offsets[i + 1]);
    const int32_t begin = is_empty[i] ? offsets[i] : offsets[i] + prompt;
    const int32_t end = is_empty[i] ? begin + 1 : offsets[i + 1];
    if (mode == Pooling::first) rows.push_back(begin);
    else if (mode == Pooling::last) rows.push_back(end - 1);
    else for (int32_t row = begin; row < end; ++row) rows.push_back(row);
    longest = std::max(longest, rows.size() - static_cast<size_t>(ends.back()));
    ends.push_back(static_cast<int32_t>(rows.size()));
  }
  const bool is_mean = mode == Pooling::mean || mode == Pooling::mean_sqrt;
  Tensor x = hidden;
  if (!is_mean || prompt_tokens_ > 0) {
    x = arena.make(DType::f32, {static_cast<int64_t>(rows.size()), hidden.cols()});
    worker.ops.gather_rows({.x = hidden, .index = uploaded(rows), .y = x});
  }
  if (is_mean) {
    const Tensor pooled = arena.make(DType::f32, {static_cast<int64_t>(count), hidden.cols()});
    worker.ops.segment_mean_forward(
        {.x = x, .segments = Segments::packed(uploaded(ends), static_cast<int64_t>(longest)), .y = pooled});
    x = pooled;
  }
  std::vector<float> values(static_cast<size_t>(x.count()));
  arena.memory().copy_out(values.data(), x.data, x.bytes());
  std::vector<float> result(count * width);
  for (size_t i = 0; i < count; ++i) {
    if (is_empty[i] && mode != Pooling::first) continue;
    const auto begin = static_cast<size_t>(ends[i]), end = static_cast<size_t>(ends[i + 1]);
    float* const row = result.data() + i * width;
    if (mode == Pooling::max || mode == Pooling::weighted_mean) {
      pool_tokens(values.data() + begin * width, end - begin, width, mode == Pooling::max, prompt_tokens_ + 1, row);
      continue;
    }
    std::copy_n(values.data() + i * width, width, row);
    const float factor = mode == Pooling::mean_sqrt ? std::sqrt(static_cast<float>(end - begin)) : 1.0f;
    for (size_t c = 0; c < width; ++c) row[c] *= factor;
  }
  return result;
}

}  // namespace engine
