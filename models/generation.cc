#include "models/generation.h"

#include <algorithm>
#include <limits>
#include <optional>

#include "core/activity.h"
#include "core/random.h"
#include "models/beam_search.h"

namespace engine {

namespace {

using Texts = std::span<const std::vector<int32_t>>;
using Sequence = CachedDecoder::Sequence;

// Prompts enter a pass until it has this many tokens, which is enough for the matrix units and little enough to stay
// small.
constexpr int64_t tokens_per_pass = 4096;

// Returns a uniform number in [0, 1) from a seed, a prompt and a position alone, so neighbours and their order do not
// matter.
float draw_of(uint64_t seed, size_t index, int64_t position) {
  const auto bits = philox({static_cast<uint32_t>(position), 0, static_cast<uint32_t>(index),
                            static_cast<uint32_t>(static_cast<uint64_t>(index) >> 32)}, seed);
  return static_cast<float>(bits[0] >> 8) * 0x1p-24f;
}

}  // namespace

int64_t tokens_to_gain(const ModelConfig& config, std::span<const int32_t> prompt, const GenerationOptions& options) {
  const int64_t each = options.uncounted.token < 0 ? 1 : 1 + int64_t{options.uncounted.most_in_a_row};
  return std::clamp<int64_t>(config.max_positions - static_cast<int64_t>(prompt.size()), 0,
                             each * options.max_new_tokens);
}

struct Generator::State {
  CachedDecoder decoder;
  size_t max_sequences;
  std::vector<Sequence> active;
  std::vector<int64_t> free_slots;
  std::vector<int32_t> sampled;
  std::vector<float> draws;
  // These are of each prompt's result so far, where a token is uncounted.
  struct Counts {
    int text = 0, uncounted_in_a_row = 0;
    void add(bool is_uncounted) {
      text += !is_uncounted;
      uncounted_in_a_row = is_uncounted ? uncounted_in_a_row + 1 : 0;
    }
  };
  std::vector<Counts> counts;

  State(Ops& ops, Model& model, DType compute, int max_sequences_)
      : decoder(ops, model, compute), max_sequences(static_cast<size_t>(max_sequences_)) {}

  int64_t gain(std::span<const int32_t> prompt, const GenerationOptions& options) const {
    return tokens_to_gain(decoder.config(), prompt, options);
  }

  // Logits that become -infinity: those of the uncounted token where no more may follow.
  struct Bans {
    Tensor values, places;  // f32 [n, 1], i32 [n] among all logits; absent where nothing is banned
  };
  Bans make_bans(const GenerationOptions& options) {
    const UncountedToken& rule = options.uncounted;
    if (rule.token < 0) return {};
    std::vector<int32_t> places;
    for (size_t i = 0; i < active.size(); ++i)
      if (counts[active[i].index].uncounted_in_a_row >= rule.most_in_a_row)
        places.push_back(static_cast<int32_t>(static_cast<int64_t>(i) * decoder.config().vocab_size + rule.token));
    if (places.empty()) return {};
    const std::vector<float> values(places.size(), -std::numeric_limits<float>::infinity());
    Arena& arena = decoder.arena();
    const auto count = static_cast<int64_t>(places.size());
    const Bans bans{arena.make(DType::f32, {count, 1}), arena.make(DType::i32, {count})};
    arena.memory().copy_in(bans.values.data, values.data(), bans.values.bytes());
    arena.memory().copy_in(bans.places.data, places.data(), bans.places.bytes());
    return bans;
  }

  // Runs one pass over every active sequence's pending tokens. `sampled` receives the next token of each.
  void step(const GenerationOptions& options) {
    Arena& arena = decoder.arena();
    const ArenaScope scope(arena);
    const auto count = static_cast<int64_t>(active.size());
    Tensor uniform;
    if (options.temperature > 0) {
      for (size_t i = 0; i < active.size(); ++i) {
        const Sequence& s = active[i];
        const int64_t position = s.cached + static_cast<int64_t>(s.pending.size());
        draws[i] = draw_of(options.seed, options.first_index + s.index, position);
      }
      uniform = arena.make(DType::f32, {count});
      arena.memory().copy_in(uniform.data, draws.data(), uniform.bytes());
    }
    const Tensor next = arena.make(DType::i32, {count});
    const Bans bans = make_bans(options);
    decoder.run(active, [&](const Tensor& logits) {
      if (bans.places)
        decoder.ops().scatter_rows(
            {.x = bans.values, .index = bans.places, .y = Tensor{logits.data, DType::f32, {logits.count(), 1}}});
      decoder.ops().sample({.logits = logits,
                            .draws = uniform,
                            .temperature = options.temperature,
                            .top_k = options.top_k,
                            .top_p = options.top_p,
                            .tokens = next});
    });
    arena.memory().copy_out(sampled.data(), next.data, next.bytes());
  }

  // Gives waiting prompts free slots, in their order. `next` is the first that has not begun.
  void admit(Texts prompts, Texts sources, const GenerationOptions& options, size_t& next) {
    int64_t tokens = static_cast<int64_t>(active.size());
    for (; next < prompts.size() && !free_slots.empty(); ++next) {
      const auto& prompt = prompts[next];
      if (gain(prompt, options) < 1) continue;
      const std::span<const int32_t> source = sources.empty() ? std::span<const int32_t>{} : sources[next];
      const auto length = static_cast<int64_t>(prompt.size() + source.size());
      if (!active.empty() && tokens + length > tokens_per_pass) return;
      tokens += length;
      const int64_t slot = free_slots.back();
      active.push_back({.index = next, .slot = slot, .pending = prompt, .source_slot = slot, .source = source});
      free_slots.pop_back();
    }
  }

  // Makes caches for the longest possible sequences, within the caller's scope. Nothing is active yet.
  void begin(Texts prompts, Texts sources, const GenerationOptions& options) {
    const size_t slots = std::min(prompts.size(), max_sequences);
    DecodeSizes sizes{.slots = static_cast<int64_t>(slots)};
    for (const auto& prompt : prompts)
      sizes.rows = std::max(sizes.rows, static_cast<int64_t>(prompt.size()) + gain(prompt, options));
    for (const auto& source : sources)
      sizes.source_rows = std::max(sizes.source_rows, static_cast<int64_t>(source.size()));
    sizes.source_slots = sources.empty() ? 0 : sizes.slots;
    decoder.begin(sizes);
    free_slots.clear();
    for (size_t slot = slots; slot-- > 0;) free_slots.push_back(static_cast<int64_t>(slot));
    active.clear();
    active.reserve(slots);
    sampled.resize(slots);
    draws.resize(slots);
  }
};

Generator::Generator(Ops& ops, Model& model, DType compute, int max_sequences)
    : state_(std::make_unique<State>(ops, model, compute, max_sequences)) {
  require(max_sequences >= 1, "generation of at most ", max_sequences, " sequences at once: at least 1");
}

Generator::~Generator() = default;

std::vector<std::vector<int32_t>> Generator::generate(Texts prompts, const GenerationOptions& options,
                                                      const std::function<void(size_t, int32_t)>& on_token) {
  return generate(prompts, {}, options, on_token);
}

std::vector<std::vector<int32_t>> Generator::generate(Texts prompts, Texts sources, const GenerationOptions& options,
                                                      const std::function<void(size_t, int32_t)>& on_token) {
  State& state = *state_;
  state.decoder.check(prompts, sources);
  std::vector<std::vector<int32_t>> results(prompts.size());
  if (options.beams > 1) {
    std::vector<BeamResult> found = beam_search(state.decoder, prompts, sources, options, state.max_sequences);
    for (size_t i = 0; i < found.size(); ++i) {
      results[i] = std::move(found[i].tokens);
      if (on_token)
        for (int32_t token : results[i]) on_token(i, token);
    }
    return results;
  }
  for (size_t i = 0; i < prompts.size(); ++i)
    results[i].reserve(static_cast<size_t>(state.gain(prompts[i], options)));
  const ArenaScope scope(state.decoder.arena());
  state.begin(prompts, sources, options);
  state.counts.assign(prompts.size(), {});

  // A caller that takes tokens as they come sees by these how far it is.
  std::optional<Activity> activity;
  if (!on_token) activity.emplace("generating", "texts", static_cast<int64_t>(prompts.size()));
  size_t next = 0;
  while (true) {
    state.admit(prompts, sources, options, next);
    if (state.active.empty()) break;
    state.step(options);
    size_t kept = 0;
    for (size_t i = 0; i < state.active.size(); ++i) {
      Sequence sequence = state.active[i];
      std::vector<int32_t>& result = results[sequence.index];
      const std::vector<int32_t>& prompt = prompts[sequence.index];
      bool is_last = static_cast<int64_t>(result.size()) + 1 >= state.gain(prompt, options);
      int32_t token = state.sampled[i];
      if (options.uncounted.token >= 0) {
        State::Counts& counts = state.counts[sequence.index];
        counts.add(token == options.uncounted.token);
        is_last = is_last || counts.text >= options.max_new_tokens;
      }
      if (is_last && options.last_token >= 0) token = options.last_token;
      if (result.empty() && prompt.size() == 1 && options.first_token >= 0) token = options.first_token;
      result.push_back(token);
      if (on_token) on_token(sequence.index, token);
      if (is_last || options.ends(token)) {
        state.free_slots.push_back(sequence.slot);
        continue;
      }
      sequence.cached += static_cast<int64_t>(sequence.pending.size());
      sequence.pending = std::span(result).last(1);  // stays in place, since the results were reserved
      sequence.source = {};
      state.active[kept++] = sequence;
    }
    if (activity) activity->add(static_cast<int64_t>(state.active.size() - kept));
    state.active.resize(kept);
  }
  return results;
}

}  // namespace engine
