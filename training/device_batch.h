// BatchUpload: a slice of a SequenceBatch as the tensors that a pass reads. Everything goes to the device through one
// Upload, so that the key by which a step is captured covers every tensor there is.
#pragma once

#include "models/objective.h"
#include "models/upload.h"
#include "training/batch.h"

namespace engine {

class BatchUpload {
 public:
  // The sequences first ... last-1 on the arena. A sequence that the model has no positions for, and a source that it
  // does not read, or reads and is not given, are errors. Does not allocate once it has seen slices of this size.
  DeviceBatch send(Arena& arena, const Model& model, const SequenceBatch& batch, int64_t first, int64_t last);

  // How many rows of the last slice are scored.
  int64_t scored() const { return static_cast<int64_t>(scored_.size()); }
  // Differs where the tensors of two slices differ in shape or place (Upload::key).
  uint64_t key() const { return upload_.key(); }

 private:
  struct Row;  // sequences back to back

  Upload upload_;
  std::vector<int32_t> scored_;  // rows of the slice
};

}  // namespace engine
