// LookupSums adds up over the ranks what lookups give to the gradients of tables of tokens. A step names few rows of a
// large table. Each rank knows the whole batch, so all list the same rows, and these alone travel.
//
// A tied table also projects to the logits. The head's part of its gradient has numbers in every row, and is complete
// before the backward pass of the blocks begins. So what the lookups of the last micro-batch add is kept apart, the
// rest travels behind the blocks, and these rows are added to it when both have arrived.
//
// Rows travel where a step names at most half of the table's. Then the bytes of an untied table are at most half as
// many, and those of a tied one, which come on top, at most half as many again, while those that travel behind the
// backward pass are at most half. Otherwise a gradient travels as a whole.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/arena.h"
#include "models/upload.h"
#include "training/optimizer.h"
#include "training/task.h"

namespace engine {

// NamedRows lists the tokens of some sequences, each once.
class NamedRows {
 public:
  void begin(int64_t table_rows);
  // Adds the tokens of the sequences first ... last-1, and of their sources, unless the rows are many by now.
  void add(const SequenceBatch& batch, int64_t first, int64_t last);
  // Returns whether they are at most half of the table's.
  bool are_few() const { return 2 * count_ <= std::ssize(is_named_); }
  int64_t count() const { return count_; }
  void write(std::span<int32_t> rows) const;  // count() of them, ascending

 private:
  void add(const std::vector<int32_t>& tokens, int32_t begin, int32_t end);

  std::vector<uint8_t> is_named_;  // [V]
  int64_t count_ = 0;
};

class LookupSums {
 public:
  // The optimizer says which parameters are frozen. One rank has nothing to exchange. With virtual shards, whose sums
  // are those of a fixed tree, tied tables travel as a whole.
  LookupSums(Machine& machine, const Optimizer& optimizer, const TrainingConfig& config);
  ~LookupSums();
  LookupSums(const LookupSums&) = delete;
  LookupSums& operator=(const LookupSums&) = delete;

  // Decides for a step which gradients travel by rows, before its passes.
  void begin(const SequenceBatch& batch);
  // Returns whether this step's sum of a complete gradient is of rows, and start() begins it.
  bool takes(const Parameter& parameter) const;
  // Starts the sums, once all gradients are complete. The tensors are on the machine's arena.
  void start();
  // Puts the sums, for which the ranks have been waited, into the gradients.
  void finish();
  // Makes what start() makes of such a batch, and nothing else.
  void reserve(const SequenceBatch& batch);
  size_t bytes() const;  // of lookups that are kept apart

 private:
  struct Table {
    const Parameter* parameter;
    Tensor apart;  // [V, C] zeros between steps; absent for an untied table
    Tensor index;  // i32 [U], on the arena
    Tensor rows;   // f32 [U, C], on the arena
  };
  const NamedRows& named_of(const Table& table) const { return table.apart ? last_ : all_; }
  void list_rows(const SequenceBatch& batch);
  // Makes the index and the rows of the tables whose lookups travel by rows.
  void make_rows();

  Machine& machine_;
  const Optimizer& optimizer_;
  const TrainingConfig& config_;
  const int64_t most_tokens_;
  Arena arena_;
  std::vector<Table> tables_;  // none where there is one rank
  bool has_tied_ = false, has_untied_ = false;
  NamedRows all_, last_;  // of the batch, and of the last micro-batches
  Upload upload_;
};

}  // namespace engine
