// A decoder must pass these checks where it goes on from a decoding state.
#pragma once

#include <span>

#include "models/cached_decoder.h"
#include "tests/model_checks.h"

namespace engine::test {

using Texts = std::vector<std::vector<int32_t>>;

inline Texts texts_of(const std::vector<int>& tokens, const std::vector<int>& offsets) {
  Texts texts;
  for (size_t i = 0; i + 1 < offsets.size(); ++i)
    texts.emplace_back(tokens.begin() + offsets[i], tokens.begin() + offsets[i + 1]);
  return texts;
}

// Checks the golden batch of four sequences with a cache, each begun in another pass and read in pieces. The logits
// must be those of an uncached pass.
inline void check_cached(const ModelRun& run, const Golden& golden) {
  auto& model = dynamic_cast<Model&>(run.model);
  const Batch batch = golden.batch();
  const Texts tokens = texts_of(batch.tokens, batch.offsets), sources = texts_of(batch.sources, batch.source_offsets);
  Batch unlabelled = batch;
  unlabelled.labels.clear();
  const std::vector<double> expected = run.logits(unlabelled);
  const int64_t with_sources = !sources.empty(), outputs = model.head().outputs();
  CachedDecoder decoder(run.bench.ops, model, run.bench.compute);
  const ArenaScope scope(decoder.arena());
  decoder.begin({.slots = 4, .rows = 13, .source_slots = 4 * with_sources, .source_rows = 19 * with_sources});
  std::vector<CachedDecoder::Sequence> sequences;
  std::vector<size_t> done(4, 0);
  for (int pass = 0; pass < 13; ++pass) {
    sequences.clear();
    for (size_t i = 0; i < 4; ++i) {
      // Sequence i begins in pass i, with another place for its target than for its source.
      if (pass < static_cast<int>(i) || done[i] == tokens[i].size()) continue;
      const size_t left = tokens[i].size() - done[i], count = std::min(left, done[i] ? size_t{1} : i + 1);
      CachedDecoder::Sequence& s = sequences.emplace_back();
      s.index = i;
      s.slot = static_cast<int64_t>((i + 1) % 4);
      s.source_slot = static_cast<int64_t>(i);
      s.cached = static_cast<int64_t>(done[i]);
      s.pending = std::span(tokens[i]).subspan(done[i], count);
      if (!done[i] && !sources.empty()) s.source = sources[i];
    }
    if (sequences.empty()) continue;
    const ArenaScope of_pass(decoder.arena());
    const std::vector<double> logits = run.bench.values(decoder.logits(sequences));
    for (size_t i = 0; i < sequences.size(); ++i) {
      const CachedDecoder::Sequence& s = sequences[i];
      done[s.index] += s.pending.size();
      const auto last = static_cast<int64_t>(batch.offsets[s.index]) + static_cast<int64_t>(done[s.index]) - 1;
      const std::vector<double> wanted(expected.begin() + last * outputs, expected.begin() + (last + 1) * outputs);
      const std::vector<double> got(logits.begin() + static_cast<int64_t>(i) * outputs,
                                    logits.begin() + static_cast<int64_t>(i + 1) * outputs);
      CHECK_CLOSE(got, wanted, golden.tolerance(run.bench.compute, "logits"));
    }
  }
  for (size_t i = 0; i < 4; ++i) CHECK(done[i] == tokens[i].size());
}

}  // namespace engine::test
