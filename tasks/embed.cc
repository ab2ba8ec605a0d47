#include "tasks/embed.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "core/error.h"
#include "core/json.h"
#include "core/parallel.h"
#include "models/huggingface.h"
#include "models/upload.h"
#include "tasks/language_model.h"
#include "text/normalizer.h"
#include "text/unicode.h"

namespace engine {

using nlohmann::json;
namespace fs = std::filesystem;

namespace {

// Enough for the matrix units, little enough that a pass's activations stay in the cache. The same at any number of
// threads: the bits of a vector depend on what else is in its pass.
constexpr size_t tokens_per_pass = 2048;

SentenceConfig::Pooling read_pooling(const fs::path& file) {
  const std::string where = file.string();
  const json config = parse_json_file(file);
  std::string modes;
  for (const auto& [key, value] : config.items())
    if (key.starts_with("pooling_mode_") && value == true) modes.append(modes.empty() ? "" : "+").append(key, 13);
  if (config.contains("pooling_mode")) modes = json_string(config, "pooling_mode", where);
  if (modes == "mean_tokens" || modes == "mean") return SentenceConfig::Pooling::mean;
  if (modes == "cls_token" || modes == "cls") return SentenceConfig::Pooling::first;
  fail(where, ": the pooling mode is \"", modes, "\", it should be pooling_mode_mean_tokens or pooling_mode_cls_token");
}

void normalise(float* vector, int64_t width) {
  double squares = 0;
  for (int64_t i = 0; i < width; ++i) squares += static_cast<double>(vector[i]) * static_cast<double>(vector[i]);
  const float factor = static_cast<float>(1 / std::max(std::sqrt(squares), 1e-12));
  for (int64_t i = 0; i < width; ++i) vector[i] *= factor;
}

// Parts of `order`, each of at most tokens_per_pass tokens or one sentence.
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

// What one pass at a time needs for itself.
struct SentenceEncoder::Worker {
  Worker(Machine& machine, const Model& model) : ops(machine.ops), arena(machine.arena), saved(model.make_saved()) {}
  // With a backend and one of `parts` parts of the memory of its own.
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

SentenceConfig read_sentence_config(const fs::path& folder) {
  const fs::path modules = folder / "modules.json";
  const bool has_modules = fs::exists(modules);
  SentenceConfig result{.encoder = has_modules ? folder : open_run(folder).model};
  if (has_modules) {
    const std::string where = modules.string();
    const json list = parse_json_file(modules);
    if (!list.is_array()) fail(where, ": should be a list of modules");
    for (const json& module : list) {
      const std::string type = json_string(module, "type", where), name = type.substr(type.rfind('.') + 1);
      const fs::path path = folder / json_string(module, "path", where, "");
      if (name == "Transformer") result.encoder = path;
      else if (name == "Pooling") result.pooling = read_pooling(path / "config.json");
      else if (name == "Normalize") result.normalises = true;
      else fail(where, ": a module is \"", type.substr(0, 80), "\", it should be Transformer, Pooling or Normalize");
    }
  }
  const fs::path limits = result.encoder / "sentence_bert_config.json";
  if (fs::exists(limits)) {
    const json settings = parse_json_file(limits);
    result.max_length = json_integer(settings, "max_seq_length", limits.string(), 1, most_rows, 0);
    result.lowers = json_bool(settings, "do_lower_case", limits.string(), false);
  }
  return result;
}

SentenceEncoder::SentenceEncoder(const fs::path& folder, Machine& machine)
    : machine_(machine), config_(read_sentence_config(folder)) {
  tokenizer_ = load_tokenizer(config_.encoder);
  model_ = load_model(config_.encoder, machine.ops.memory(), false, {.kinds = encoder_kinds, .head = HeadKind::none});
  require_vocabulary(folder, *tokenizer_, *model_);
  const int64_t positions = model_->config().max_positions;
  if (!config_.max_length) config_.max_length = tokenizer_->max_length();
  config_.max_length = config_.max_length ? std::min(config_.max_length, positions) : positions;
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

std::vector<int32_t> SentenceEncoder::encode(std::string_view text, bool* cut) const {
  std::string lowered;
  if (config_.lowers) {
    require_utf8(text);
    text = lowered = Normalizer({Normalizer::Step::lowercase}).apply(text);
  }
  const auto most = static_cast<size_t>(config_.max_length);
  std::vector<int32_t> ids = encode_framed(*tokenizer_, text).ids;
  if (cut) *cut = ids.size() > most;
  return ids.size() > most ? encode_framed(*tokenizer_, text, {.max_length = most}).ids : ids;
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
  const auto count = static_cast<int64_t>(chosen.size());
  const Upload::List ids = upload.list(tokens), positions = upload.list(tokens), offsets = upload.list(count + 1),
                     firsts = upload.list(count);
  size_t token = 0;
  for (size_t s = 0; s < chosen.size(); ++s) {
    const std::vector<int32_t>& sentence = sentences[chosen[s]];
    upload[offsets][s] = upload[firsts][s] = static_cast<int32_t>(token);
    for (size_t t = 0; t < sentence.size(); ++t, ++token) {
      upload[ids][token] = sentence[t];
      upload[positions][token] = static_cast<int32_t>(t);
    }
  }
  upload[offsets][chosen.size()] = static_cast<int32_t>(token);
  upload.send(arena);
  Pass pass(Run{.ops = worker.ops, .arena = arena, .compute = machine_.compute, .keep = false},
            {upload.segments(offsets, longest), upload.tensor(positions)});
  const Tensor pooled = arena.make(DType::f32, {count, width()});
  const Tensor hidden = model_->hidden_states(pass, {.ids = upload.tensor(ids)}, *worker.saved);
  if (config_.pooling == SentenceConfig::Pooling::mean)
    worker.ops.segment_mean_forward({.x = hidden, .segments = pass.layout.segments, .y = pooled});
  else
    worker.ops.gather_rows({.x = hidden, .index = upload.tensor(firsts), .y = pooled});
  std::vector<float> rows(static_cast<size_t>(pooled.count()));
  arena.memory().copy_out(rows.data(), pooled.data, pooled.bytes());
  const auto size = static_cast<size_t>(width());
  for (size_t i = 0; i < chosen.size(); ++i) {
    float* const row = rows.data() + i * size;
    if (config_.normalises) normalise(row, width());
    std::copy_n(row, size, vectors + chosen[i] * size);
  }
}

}  // namespace engine
