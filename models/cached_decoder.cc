#include "models/cached_decoder.h"

#include "models/cached_rows.h"

namespace engine {

namespace {

// Passes of a device count the longest sequence in so many rows, so that a captured pass serves for as many tokens.
constexpr int64_t rows_of_captured = 128;

}  // namespace

CachedDecoder::CachedDecoder(Ops& ops, Model& model, DType compute)
    : ops_(ops), model_(model), compute_(compute), arena_(ops.memory()), saved_(model.make_saved()) {}

void CachedDecoder::begin(const DecodeSizes& sizes) {
  state_ = model_.make_decode_state(arena_, compute_, sizes);
  thoughts_.emplace(model_, arena_, sizes.slots);
  source_lengths_.assign(static_cast<size_t>(sizes.source_slots), 0);
}

Tensor CachedDecoder::logits(std::span<const Sequence> sequences) {
  Tensor result;
  run(sequences, [&](const Tensor& logits) { result = logits; });
  return result;
}

void CachedDecoder::copy_slots(std::span<const Copy> copies) {
  state_->copy_slots(ops_, arena_, copies);
  thoughts_->copy_slots(ops_, arena_, copies);
}

void CachedDecoder::run(std::span<const Sequence> sequences, const std::function<void(const Tensor& logits)>& use) {
  if (!model_.thought_states()) return run_pass(sequences, &use);
  // The parts before the last one of each sequence run first, a part of every sequence at a time.
  std::vector<Sequence> last(sequences.begin(), sequences.end());
  for (bool is_cut = true; is_cut;) {
    std::vector<Sequence> now;
    for (Sequence& s : last) {
      const auto parts = parts_at_thoughts(s.pending, model_.config().thought_token);
      if (parts.size() < 2) continue;
      now.push_back(s);
      now.back().pending = parts[0];
      s.cached += std::ssize(parts[0]);
      s.pending = s.pending.subspan(parts[0].size());
    }
    is_cut = !now.empty();
    const ArenaScope scope(arena_);
    if (is_cut) run_pass(now, nullptr);
  }
  run_pass(last, &use);
}

void CachedDecoder::run_pass(std::span<const Sequence> sequences,
                             const std::function<void(const Tensor& logits)>* use) {
  const auto count = static_cast<int64_t>(sequences.size());
  int64_t tokens = 0, source_tokens = 0, new_sources = 0;
  for (const Sequence& s : sequences) {
    tokens += static_cast<int64_t>(s.pending.size());
    source_tokens += static_cast<int64_t>(s.source.size());
    new_sources += !s.source.empty();
  }
  DecodeState& state = *state_;
  const bool has_sources = reads_source(model_);
  upload_.clear();
  CachedRow row(upload_, tokens, count);
  CachedRow source_row(upload_, source_tokens, new_sources);
  CachedSegments keys(upload_, count), source_keys(upload_, has_sources ? count : 0);
  const Upload::List last_rows = upload_.list(count);
  thoughts_->list(upload_, sequences, [](const Sequence& s) {
    return CachedThoughts::Part{s.slot, s.cached, s.pending};
  });
  std::vector<DecodeState::Part> parts;
  for (const Sequence& s : sequences) parts.push_back({s.slot, s.cached, std::ssize(s.pending)});
  state.list(upload_, parts);
  for (size_t i = 0; i < sequences.size(); ++i) {
    const Sequence& s = sequences[i];
    const auto pending = static_cast<int64_t>(s.pending.size()), source = static_cast<int64_t>(s.source.size());
    const int64_t first = s.slot * state.sizes.rows, first_of_source = s.source_slot * state.sizes.source_rows;
    row.add(s.pending, s.cached, first);
    keys.set(i, first, s.cached + pending);
    upload_[last_rows][i] = static_cast<int32_t>(row.token) - 1;
    if (!has_sources) continue;
    if (source) {
      source_row.add(s.source, 0, first_of_source);
      source_lengths_[static_cast<size_t>(s.source_slot)] = source;
    }
    source_keys.set(i, first_of_source, source_lengths_[static_cast<size_t>(s.source_slot)]);
  }
  upload_.send(arena_);
  // Elsewhere another kernel may multiply packed weights, and the bits must not depend on how many passes came before.
  const bool may_wait = compute_ == DType::f32 && &ops_.memory() == &host_memory();
  if (!may_wait || ++passes_ > passes_without_packing) model_.parameters().pack(ops_, compute_);

  const bool is_captured = tokens == count && source_tokens == 0;
  const int64_t unit = is_captured && ops_.memory().is_asynchronous() ? rows_of_captured : 1;
  state.take(upload_);
  state.rows = upload_.tensor(row.rows);
  state.keys = keys.segments(unit);
  // Recomputation holds a long prompt's activations one layer at a time.
  Pass pass({.ops = ops_, .arena = arena_, .compute = compute_, .recompute = tokens > count, .keep = false},
            row.layout());
  pass.state = state_.get();
  Tokens inputs{.ids = upload_.tensor(row.ids)};
  if (source_tokens) {
    state.source_rows = upload_.tensor(source_row.rows);
    inputs.source_ids = upload_.tensor(source_row.ids);
    pass.source = source_row.layout();
  }
  if (has_sources) state.source_keys = source_keys.segments(unit);
  const auto work = [&] {
    thoughts_->begin(pass, upload_);
    if (use) {
      const Tensor rows = tokens > count ? upload_.tensor(last_rows) : Tensor{};
      const Tensor logits = model_logits(pass, model_, inputs, rows, *saved_);
      thoughts_->end(pass, upload_);
      (*use)(logits);
    } else {
      model_.hidden_states(pass, inputs, *saved_);
      thoughts_->end(pass, upload_);
    }
  };
  if (is_captured) ops_.run_captured(upload_.key(), std::ref(work));
  else work();
}

void CachedDecoder::check(std::span<const std::vector<int32_t>> prompts,
                          std::span<const std::vector<int32_t>> sources) const {
  const auto check_all = [&](std::span<const std::vector<int32_t>> texts, const char* what) {
    for (size_t i = 0; i < texts.size(); ++i) {
      require(!texts[i].empty(), what, " ", i, " is empty: a ", what, " has at least one token");
      require(static_cast<int64_t>(texts[i].size()) <= config().max_positions, what, " ", i, " has ", texts[i].size(),
              " tokens: the model has positions for ", config().max_positions);
      for (int32_t token : texts[i])
        require(0 <= token && token < config().vocab_size, what, " ", i, " has token ", token, ": the model has ",
                config().vocab_size, " tokens");
    }
  };
  check_all(prompts, "prompt");
  check_all(sources, "source");
  const size_t wanted = reads_source(model_) ? prompts.size() : 0;
  require(sources.size() == wanted, prompts.size(), " prompts come with ", sources.size(), " sources, the model reads ",
          wanted);
}

}  // namespace engine
