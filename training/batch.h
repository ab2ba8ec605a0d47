// Batches of sequences on the host, and how a step's batch is cut into micro-batches.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "core/communicator.h"
#include "models/parameters.h"

namespace engine {

// What a batch's tokens should predict, by kind.
struct Targets {
  std::vector<int32_t> labels;  // of each token: the token, or at a sequence's first the class, or -100 for none
  std::vector<float> weights;   // of each token's loss; empty: all are 1
};

// Sequences on the host, back to back.
struct SequenceBatch {
  std::vector<int32_t> tokens;
  std::vector<int32_t> types;       // of each token, which of two texts it is of; empty: all are of the first
  std::vector<int32_t> positions;   // of each token in its sequence; empty: they count from 0
  std::vector<int32_t> offsets{0};  // S + 1
  Targets targets;
  // What an encoder reads of each sequence, for models of an encoder and a decoder; empty for all others.
  std::vector<int32_t> sources, source_offsets{0};

  int64_t sequences() const { return static_cast<int64_t>(offsets.size()) - 1; }
  // The tokens of the sequences first ... last-1, their sources included.
  int64_t tokens_of(int64_t first, int64_t last) const;
  // How many tokens have a label, in all and in the sequences first ... last-1.
  int64_t scored() const;
  int64_t scored(int64_t first, int64_t last) const;
  // The sum of the weights of the tokens that have a label.
  double weight() const;
  void clear();
  void end_sequence();  // what was pushed since the last call is one sequence (and its source)
};

// How many tokens are run at once where training.micro_batch_size is 0: what 4 GiB of activations hold, by the widths
// of the model's matrices alone, so that the same model and batch are cut the same way on every machine.
int64_t tokens_at_once(const Parameters& parameters);

// Where the micro-batch that begins with sequence `first` ends: after micro_batch_size sequences, or (0) before the
// sequence with which it would hold more than `most_tokens`; at least one sequence, and none from `end` on.
int64_t micro_batch_end(const SequenceBatch& batch, int64_t first, int64_t end, int64_t micro_batch_size,
                        int64_t most_tokens);

// The sequences of the batch that are this rank's, first and end: about as many tokens as every other's.
std::pair<int64_t, int64_t> sequences_of_rank(const SequenceBatch& batch, const Communicator& ranks);

}  // namespace engine
