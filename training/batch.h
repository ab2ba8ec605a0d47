// A batch holds sequences on the host, and a step divides it into micro-batches.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "models/parameters.h"

namespace engine {

// Targets say what a batch's tokens should predict, by kind.
struct Targets {
  std::vector<int32_t> labels;  // [N] token to predict, at a sequence's first the class, or -100 for none
  std::vector<float> weights;   // [N] weight of each token's loss; empty: all are 1
  // [N] weight of a penalty on a thought as the next token, where a token has a label; empty: all are 0.
  std::vector<float> penalties;
  // [N][2] weight of each token as the first and as the last one of an answer; empty: there are no answers. Where there
  // are some, every sequence has one label, which counts it.
  std::vector<float> spans;
  std::vector<float> covered;  // [N] 1 for the tokens of an answer, else 0; empty: nothing reads them
};

// These sequences lie back to back on the host.
struct SequenceBatch {
  std::vector<int32_t> tokens;
  std::vector<int32_t> types;       // [N] first or second text; empty: all first
  std::vector<int32_t> positions;   // [N] position in the sequence; empty: counted from 0
  std::vector<int32_t> offsets{0};  // [S + 1]
  Targets targets;
  // An encoder reads one source for each sequence. Models without an encoder have none.
  std::vector<int32_t> sources, source_offsets{0};

  int64_t sequences() const { return static_cast<int64_t>(offsets.size()) - 1; }
  // Counts the tokens of the sequences first ... last-1, their sources included.
  int64_t tokens_of(int64_t first, int64_t last) const;
  // Counts the tokens that have a label, in all and in the sequences first ... last-1.
  int64_t scored() const;
  int64_t scored(int64_t first, int64_t last) const;
  // Returns the sum of the weights of the tokens that have a label.
  double weight() const;
  void clear();
  void end_sequence();  // ends a sequence (and its source) after the tokens pushed last
};

// Returns how many tokens are run at once where training.micro_batch_size is 0. As many activations fit into 4 GiB.
// They are estimated from the widths of the model's matrices alone, so that every machine makes the same micro-batches.
int64_t tokens_at_once(const Parameters& parameters);

// Returns the end of the micro-batch that begins with sequence `first`. It comes after micro_batch_size sequences, or
// (0) before the sequence with which it would hold more than `most_tokens`. A micro-batch has at least one sequence,
// and none from `end` on.
int64_t micro_batch_end(const SequenceBatch& batch, int64_t first, int64_t end, int64_t micro_batch_size,
                        int64_t most_tokens);

// Returns the last of the micro-batches into which the sequences first ... end-1 are divided, first and end.
std::pair<int64_t, int64_t> last_micro_batch(const SequenceBatch& batch, int64_t first, int64_t end,
                                             int64_t micro_batch_size, int64_t most_tokens);

// Returns the sequences of a part of a batch that is cut into so many, first and end. Every part has about as many
// tokens.
std::pair<int64_t, int64_t> sequences_of_part(const SequenceBatch& batch, int64_t part, int64_t parts);

}  // namespace engine
