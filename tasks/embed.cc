#include "tasks/embed.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "core/error.h"
#include "core/json.h"
#include "models/huggingface.h"
#include "tasks/language_model.h"

namespace engine {

using nlohmann::json;
namespace fs = std::filesystem;

namespace {

// Enough for the matrix units, little enough that a pass's activations stay in the cache.
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

}  // namespace

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
  if (fs::exists(limits))
    result.max_length = json_integer(parse_json_file(limits), "max_seq_length", limits.string(), 1, most_rows, 0);
  return result;
}

SentenceEncoder::SentenceEncoder(const fs::path& folder, Machine& machine)
    : machine_(machine), config_(read_sentence_config(folder)) {
  tokenizer_ = load_tokenizer(config_.encoder);
  model_ = load_encoder_model(config_.encoder, machine.ops.memory(), false, {.head = Head::none});
  require_vocabulary(folder, *tokenizer_, *model_);
  const int64_t positions = model_->config().max_positions;
  config_.max_length = config_.max_length ? std::min(config_.max_length, positions) : positions;
  model_->parameters().pack(machine.ops, machine.compute);
  saved_ = model_->make_saved();
}

std::vector<int32_t> SentenceEncoder::encode(std::string_view text) const {
  return encode_framed(*tokenizer_, text, {.max_length = static_cast<size_t>(config_.max_length)}).ids;
}

std::vector<float> SentenceEncoder::embed(std::span<const std::vector<int32_t>> sentences) {
  // Sentences of like length go together, the longest first.
  std::vector<size_t> order(sentences.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return sentences[a].size() > sentences[b].size(); });
  std::vector<float> vectors(sentences.size() * static_cast<size_t>(width()));
  for (size_t first = 0, last; first < order.size(); first = last) {
    size_t tokens = 0;
    const auto fits = [&](size_t i) { return i == first || tokens + sentences[order[i]].size() <= tokens_per_pass; };
    for (last = first; last < order.size() && fits(last); ++last) tokens += sentences[order[last]].size();
    embed_pass(sentences, std::span(order).subspan(first, last - first), vectors.data());
  }
  return vectors;
}

void SentenceEncoder::embed_pass(std::span<const std::vector<int32_t>> sentences, std::span<const size_t> chosen,
                                 float* vectors) {
  const ArenaScope scope(machine_.arena);
  std::vector<int32_t> ids, positions, offsets{0};
  size_t longest = 0;
  for (size_t i : chosen) {
    const std::vector<int32_t>& sentence = sentences[i];
    require(!sentence.empty(), "sentence ", i, " has no tokens");
    ids.insert(ids.end(), sentence.begin(), sentence.end());
    for (size_t t = 0; t < sentence.size(); ++t) positions.push_back(static_cast<int32_t>(t));
    offsets.push_back(static_cast<int32_t>(ids.size()));
    longest = std::max(longest, sentence.size());
  }
  const auto uploaded = [&](const std::vector<int32_t>& values, size_t count) {
    const Tensor tensor = machine_.arena.make(DType::i32, {static_cast<int64_t>(count)});
    machine_.arena.memory().copy_in(tensor.data, values.data(), tensor.bytes());
    return tensor;
  };
  Pass pass{.ops = machine_.ops,
            .arena = machine_.arena,
            .compute = machine_.compute,
            .segments = Segments::packed(uploaded(offsets, offsets.size()), static_cast<int64_t>(longest)),
            .keep = false};
  const Tensor pooled = machine_.arena.make(DType::f32, {static_cast<int64_t>(chosen.size()), width()});
  const Tensor hidden =
      model_->forward(pass, {uploaded(ids, ids.size()), uploaded(positions, positions.size()), {}}, *saved_);
  if (config_.pooling == SentenceConfig::Pooling::mean)
    machine_.ops.segment_mean_forward({.x = hidden, .segments = pass.segments, .y = pooled});
  else
    machine_.ops.gather_rows({.x = hidden, .index = uploaded(offsets, chosen.size()), .y = pooled});
  std::vector<float> rows(static_cast<size_t>(pooled.count()));
  machine_.arena.memory().copy_out(rows.data(), pooled.data, pooled.bytes());
  const auto size = static_cast<size_t>(width());
  for (size_t i = 0; i < chosen.size(); ++i) {
    float* const row = rows.data() + i * size;
    if (config_.normalises) normalise(row, width());
    std::copy_n(row, size, vectors + chosen[i] * size);
  }
}

}  // namespace engine
