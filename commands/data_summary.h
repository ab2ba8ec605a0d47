// DataSummary counts what a task's batches hold, as `inspect` prints it.
#pragma once

#include <iosfwd>
#include <map>
#include <vector>

#include "training/task.h"

namespace engine {

class DataSummary {
 public:
  // Counts a batch. Of the first ones it keeps as many examples as are asked for.
  void add(const SequenceBatch& batch);
  // Prints counts, a histogram of the lengths and the labels.
  void print(const Reading& reading, std::ostream& out) const;

  int64_t sequences() const { return static_cast<int64_t>(lengths_.size()); }

 private:
  void print_lengths(std::ostream& out) const;
  void print_labels(const Reading& reading, std::ostream& out) const;

  std::vector<int64_t> lengths_;
  std::map<int32_t, int64_t> labels_;
  int64_t tokens_ = 0, sources_ = 0, scored_ = 0;
  bool has_spans_ = false;
};

// Prints a sequence as the model sees it: a line a token with its id, text, type, position and target. Behind
// `most_tokens` the rest is counted.
void print_sequence(const SequenceBatch& batch, int64_t sequence, const Reading& reading, int64_t most_tokens,
                    std::ostream& out);

}  // namespace engine
