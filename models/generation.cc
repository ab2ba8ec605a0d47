#include "models/generation.h"

#include <algorithm>

#include "core/random.h"

namespace engine {

namespace {

// Prompts enter a pass until it has this many tokens: enough for the matrix units, little enough to stay small.
constexpr int64_t tokens_per_pass = 4096;

// A sequence that is being generated. Its keys and values lie in its slot of the cache, of `cached` tokens so far;
// `pending` are the tokens that the next pass runs over: the prompt at first, then the token drawn last.
struct Sequence {
  size_t index = 0;  // of the prompt
  int64_t slot = 0, cached = 0;
  std::span<const int32_t> pending;
};

// What a pass needs on the device, gathered on the host and copied in one piece.
struct Upload {
  std::vector<int32_t> numbers;
  int64_t tokens = 0, sequences = 0;

  void reset(int64_t token_count, int64_t sequence_count) {
    tokens = token_count;
    sequences = sequence_count;
    numbers.resize(static_cast<size_t>(3 * tokens + 4 * sequences + 1));
  }
  int32_t* ids() { return numbers.data(); }
  int32_t* positions() { return ids() + tokens; }
  int32_t* rows() { return positions() + tokens; }
  int32_t* last_rows() { return rows() + tokens; }
  int32_t* key_begin() { return last_rows() + sequences; }
  int32_t* key_end() { return key_begin() + sequences; }
  int32_t* offsets() { return key_end() + sequences; }
};

// Uniform in [0, 1): of a seed, a prompt and a position alone, so neighbours and their order do not matter.
float draw_of(uint64_t seed, size_t index, int64_t position) {
  const auto bits = philox({static_cast<uint32_t>(position), 0, static_cast<uint32_t>(index),
                            static_cast<uint32_t>(static_cast<uint64_t>(index) >> 32)}, seed);
  return static_cast<float>(bits[0] >> 8) * 0x1p-24f;
}

}  // namespace

struct Generator::State {
  Ops& ops;
  CausalModel& model;
  DType compute;
  size_t max_sequences;
  Arena arena;
  std::unique_ptr<CausalModel::Saved> saved;
  KeyValueCache cache;
  int64_t slot_rows = 0;
  Upload upload;
  std::vector<Sequence> active;
  std::vector<int64_t> free_slots;
  std::vector<int32_t> sampled;
  std::vector<float> draws;

  State(Ops& ops_, CausalModel& model_, DType compute_, int max_sequences_)
      : ops(ops_), model(model_), compute(compute_), max_sequences(static_cast<size_t>(max_sequences_)),
        arena(ops_.memory()), saved(model_.make_saved()) {}

  void make_cache(int64_t slots) {
    const ModelConfig& config = model.config();
    cache.k.clear();
    cache.v.clear();
    for (int64_t layer = 0; layer < config.num_layers; ++layer) {
      cache.k.push_back(arena.make(compute, {slots * slot_rows, config.hidden_size}));
      cache.v.push_back(arena.make(compute, {slots * slot_rows, config.hidden_size}));
    }
  }

  // One pass over every active sequence's pending tokens; `sampled` receives the next token of each.
  void step(const GenerationOptions& options) {
    const ArenaScope scope(arena);
    const auto sequences = static_cast<int64_t>(active.size());
    int64_t tokens = 0, longest_query = 0, longest_key = 0;
    for (const Sequence& s : active) tokens += static_cast<int64_t>(s.pending.size());
    upload.reset(tokens, sequences);
    int64_t row = 0;
    for (int64_t i = 0; i < sequences; ++i) {
      const Sequence& s = active[static_cast<size_t>(i)];
      const auto count = static_cast<int64_t>(s.pending.size());
      const int64_t first = s.slot * slot_rows;
      upload.offsets()[i] = static_cast<int32_t>(row);
      upload.key_begin()[i] = static_cast<int32_t>(first);
      upload.key_end()[i] = static_cast<int32_t>(first + s.cached + count);
      longest_query = std::max(longest_query, count);
      longest_key = std::max(longest_key, s.cached + count);
      for (int64_t t = 0; t < count; ++t, ++row) {
        upload.ids()[row] = s.pending[static_cast<size_t>(t)];
        upload.positions()[row] = static_cast<int32_t>(s.cached + t);
        upload.rows()[row] = static_cast<int32_t>(first + s.cached + t);
      }
      upload.last_rows()[i] = static_cast<int32_t>(row - 1);
      draws[static_cast<size_t>(i)] = draw_of(options.seed, s.index, s.cached + count);
    }
    upload.offsets()[sequences] = static_cast<int32_t>(row);

    const Tensor numbers = arena.make(DType::i32, {static_cast<int64_t>(upload.numbers.size())});
    arena.memory().copy_in(numbers.data, upload.numbers.data(), numbers.bytes());
    const auto part = [&](const int32_t* begin, int64_t count) {
      return Tensor{numbers.as<int32_t>() + (begin - upload.numbers.data()), DType::i32, {count}};
    };
    cache.rows = part(upload.rows(), tokens);
    cache.keys = {part(upload.key_begin(), sequences), part(upload.key_end(), sequences), longest_key};
    Pass pass{.ops = ops,
              .arena = arena,
              .compute = compute,
              .segments = Segments::packed(part(upload.offsets(), sequences + 1), longest_query),
              .recompute = tokens > sequences,  // of a long prompt, one layer's activations at a time
              .keep = false,
              .cache = &cache};
    const Tensor last_rows = tokens > sequences ? part(upload.last_rows(), sequences) : Tensor{};
    const Tensor logits =
        model_logits(pass, model, {part(upload.ids(), tokens), part(upload.positions(), tokens)}, last_rows, *saved);
    sample(options, logits, sequences);
  }

  void sample(const GenerationOptions& options, const Tensor& logits, int64_t sequences) {
    Tensor uniform;
    if (options.temperature > 0) {
      uniform = arena.make(DType::f32, {sequences});
      arena.memory().copy_in(uniform.data, draws.data(), uniform.bytes());
    }
    const Tensor next = arena.make(DType::i32, {sequences});
    ops.sample({.logits = logits,
                .draws = uniform,
                .temperature = options.temperature,
                .top_k = options.top_k,
                .top_p = options.top_p,
                .tokens = next});
    arena.memory().copy_out(sampled.data(), next.data, next.bytes());
  }

  // How many tokens a prompt may gain.
  int64_t room(std::span<const int32_t> prompt, const GenerationOptions& options) const {
    return std::min<int64_t>(options.max_new_tokens,
                             model.config().max_positions - static_cast<int64_t>(prompt.size()));
  }

  void check(std::span<const std::vector<int32_t>> prompts) const {
    const ModelConfig& config = model.config();
    for (size_t i = 0; i < prompts.size(); ++i) {
      require(!prompts[i].empty(), "prompt ", i, " is empty: a prompt has at least one token");
      require(static_cast<int64_t>(prompts[i].size()) <= config.max_positions, "prompt ", i, " has ",
              prompts[i].size(), " tokens: the model has positions for ", config.max_positions);
      for (int32_t token : prompts[i])
        require(0 <= token && token < config.vocab_size, "prompt ", i, " has token ", token, ": the model has ",
                config.vocab_size, " tokens");
    }
  }

  // Waiting prompts take free slots, in their order; `next` is the first that has not begun.
  void admit(std::span<const std::vector<int32_t>> prompts, const GenerationOptions& options, size_t& next) {
    int64_t tokens = static_cast<int64_t>(active.size());
    for (; next < prompts.size() && !free_slots.empty(); ++next) {
      const auto& prompt = prompts[next];
      if (room(prompt, options) < 1) continue;
      const auto length = static_cast<int64_t>(prompt.size());
      if (!active.empty() && tokens + length > tokens_per_pass) return;
      tokens += length;
      active.push_back({.index = next, .slot = free_slots.back(), .pending = prompt});
      free_slots.pop_back();
    }
  }
};

Generator::Generator(Ops& ops, CausalModel& model, DType compute, int max_sequences)
    : state_(std::make_unique<State>(ops, model, compute, max_sequences)) {
  require(max_sequences >= 1, "generation of at most ", max_sequences, " sequences at once: at least 1");
  refresh();
}

Generator::~Generator() { state_->model.parameters().drop_packed(); }

void Generator::refresh() { state_->model.parameters().pack(state_->ops, state_->compute); }

std::vector<std::vector<int32_t>> Generator::generate(std::span<const std::vector<int32_t>> prompts,
                                                      const GenerationOptions& options,
                                                      const std::function<void(size_t, int32_t)>& on_token) {
  State& state = *state_;
  state.check(prompts);
  std::vector<std::vector<int32_t>> results(prompts.size());
  size_t longest = 0;
  for (size_t i = 0; i < prompts.size(); ++i) {
    const auto gain = static_cast<size_t>(std::max<int64_t>(0, state.room(prompts[i], options)));
    results[i].reserve(gain);
    longest = std::max(longest, prompts[i].size() + gain);
  }
  const ArenaScope scope(state.arena);
  const size_t slots = std::min(prompts.size(), state.max_sequences);
  state.slot_rows = static_cast<int64_t>(longest);
  state.make_cache(static_cast<int64_t>(slots));
  state.free_slots.clear();
  for (size_t slot = slots; slot-- > 0;) state.free_slots.push_back(static_cast<int64_t>(slot));
  state.active.clear();
  state.active.reserve(slots);
  state.sampled.resize(slots);
  state.draws.resize(slots);

  size_t next = 0;
  while (true) {
    state.admit(prompts, options, next);
    if (state.active.empty()) break;
    state.step(options);
    size_t kept = 0;
    for (size_t i = 0; i < state.active.size(); ++i) {
      Sequence sequence = state.active[i];
      std::vector<int32_t>& result = results[sequence.index];
      const int32_t token = state.sampled[i];
      result.push_back(token);
      if (on_token) on_token(sequence.index, token);
      if (token == options.end_token ||
          static_cast<int64_t>(result.size()) >= state.room(prompts[sequence.index], options)) {
        state.free_slots.push_back(sequence.slot);
        continue;
      }
      sequence.cached += static_cast<int64_t>(sequence.pending.size());
      sequence.pending = std::span(result).last(1);  // the results were reserved: they do not move
      state.active[kept++] = sequence;
    }
    state.active.resize(kept);
  }
  return results;
}

}  // namespace engine
