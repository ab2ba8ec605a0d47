#include "training/batch.h"

#include <algorithm>

namespace engine {

int64_t SequenceBatch::scored() const { return scored(0, sequences()); }

int64_t SequenceBatch::scored(int64_t first, int64_t last) const {
  const auto begin = targets.labels.begin() + offsets[static_cast<size_t>(first)];
  const auto end = targets.labels.begin() + offsets[static_cast<size_t>(last)];
  return std::count_if(begin, end, [](int32_t label) { return label != -100; });
}

double SequenceBatch::weight() const {
  if (targets.weights.empty()) return static_cast<double>(scored());
  double sum = 0;
  for (size_t i = 0; i < targets.labels.size(); ++i)
    if (targets.labels[i] != -100) sum += static_cast<double>(targets.weights[i]);
  return sum;
}

int64_t SequenceBatch::tokens_of(int64_t first, int64_t last) const {
  const auto f = static_cast<size_t>(first), l = static_cast<size_t>(last);
  return offsets[l] - offsets[f] + (sources.empty() ? 0 : source_offsets[l] - source_offsets[f]);
}

void SequenceBatch::clear() {
  for (std::vector<int32_t>* all : {&tokens, &types, &positions, &targets.labels, &sources}) all->clear();
  targets.weights.clear();
  targets.penalties.clear();
  targets.spans.clear();
  targets.covered.clear();
  offsets.assign(1, 0);
  source_offsets.assign(1, 0);
}

void SequenceBatch::end_sequence() {
  const auto check = [&](const char* what, size_t count, bool may_be_empty) {
    require(count == tokens.size() || (may_be_empty && count == 0), "a sequence has ", tokens.size(), " tokens and ",
            count, " ", what);
  };
  check("labels", targets.labels.size(), false);
  check("weights", targets.weights.size(), true);
  check("penalties", targets.penalties.size(), true);
  check("pairs of span weights", targets.spans.size() / 2, true);
  check("marks of an answer", targets.covered.size(), true);
  check("types", types.size(), true);
  check("positions", positions.size(), true);
  require(tokens.size() + sources.size() <= INT32_MAX, "a batch of ", tokens.size() + sources.size(),
          " tokens: lower training.batch_size or training.batch_tokens");
  offsets.push_back(static_cast<int32_t>(tokens.size()));
  if (sources.empty()) return;
  source_offsets.push_back(static_cast<int32_t>(sources.size()));
  require(source_offsets.size() == offsets.size(), "a batch in which some sequences have a source and others none");
}

int64_t tokens_at_once(const Parameters& parameters) {
  // A token leaves about its outputs of every matrix, and their gradients, in memory. The rows of an embedding table
  // are no outputs of a token, so a table counts as the widest matrix of a block, 4 C.
  int64_t outputs = 1;
  for (const Parameter& p : parameters.all())
    if (p.shape.rank == 2) outputs += std::min(p.shape[0], 4 * p.shape[1]);
  constexpr int64_t bytes = int64_t{4} << 30, bytes_an_output = 8;
  return std::clamp<int64_t>(bytes / (bytes_an_output * outputs), 1024, 16384);
}

int64_t micro_batch_end(const SequenceBatch& batch, int64_t first, int64_t end, int64_t micro_batch_size,
                        int64_t most_tokens) {
  if (micro_batch_size > 0) return std::min(first + micro_batch_size, end);
  int64_t last = first + 1;
  while (last < end && batch.tokens_of(first, last + 1) <= most_tokens) ++last;
  return last;
}

std::pair<int64_t, int64_t> last_micro_batch(const SequenceBatch& batch, int64_t first, int64_t end,
                                             int64_t micro_batch_size, int64_t most_tokens) {
  int64_t begin = first;
  for (int64_t last = first; last < end;) {
    begin = last;
    last = micro_batch_end(batch, begin, end, micro_batch_size, most_tokens);
  }
  return {begin, end};
}

std::pair<int64_t, int64_t> sequences_of_part(const SequenceBatch& batch, int64_t part, int64_t parts) {
  const int64_t sequences = batch.sequences(), tokens = batch.tokens_of(0, sequences);
  int64_t sequence = 0;
  const auto begin_of = [&](int64_t one) {
    while (sequence < sequences && batch.tokens_of(0, sequence) * parts < tokens * one) ++sequence;
    return sequence;
  };
  const int64_t first = begin_of(part);
  return {first, part + 1 == parts ? sequences : begin_of(part + 1)};
}

}  // namespace engine
