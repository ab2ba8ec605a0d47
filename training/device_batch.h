// A BatchUpload turns a slice of a SequenceBatch into the tensors that a pass reads. Everything goes to the device
// through one Upload, so that the key of a captured step covers every tensor there is.
#pragma once

#include "models/objective.h"
#include "models/upload.h"
#include "training/batch.h"

namespace engine {

// Writes the numbers that dropout counts with (Dropout::counters), in rows with so many before them, to a list of 3.
void write_counters(Upload& upload, const Upload::List& list, const DropoutStream& stream, int64_t rows_before);

class BatchUpload {
 public:
  // Puts the sequences first ... last-1 on the arena. Throws an Error for a sequence that is longer than the model's
  // positions, for a source that the model does not read, and for a missing source. It does not allocate once it has
  // seen slices of this size. What dropout counts with goes along where the stream is active.
  DeviceBatch send(Arena& arena, const Model& model, const SequenceBatch& batch, int64_t first, int64_t last,
                   const DropoutStream& stream = {});

  // Returns how many rows of the last slice are scored.
  int64_t scored() const { return static_cast<int64_t>(scored_.size()); }
  // Differs where the tensors of two slices differ in shape or place (Upload::key).
  uint64_t key() const { return upload_.key(); }

 private:
  struct Row;  // sequences back to back
  struct Counters;

  Upload upload_;
  std::vector<int32_t> scored_;  // rows of the slice
};

}  // namespace engine
