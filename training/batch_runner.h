// A BatchRunner takes a slice of a batch to the device, and runs a model and its objective over it. The plain one runs
// the model once over all rows.
#pragma once

#include <memory>
#include <span>

#include "training/device_batch.h"

namespace engine {

class BatchRunner {
 public:
  virtual ~BatchRunner() = default;
  // Puts the sequences first ... last-1 on the arena (BatchUpload::send).
  virtual DeviceBatch send(Arena& arena, const SequenceBatch& batch, int64_t first, int64_t last,
                           const DropoutStream& stream = {}) = 0;
  // These are of the slice that was sent last, as in BatchUpload.
  virtual int64_t scored() const = 0;
  virtual uint64_t key() const = 0;
  // Returns the place of each scored row, by the batch's order, among the scored rows of the DeviceBatch. Empty: the
  // two orders are one.
  virtual std::span<const int32_t> order() const { return {}; }
  // Runs over that slice, forward and, with gradients, backward.
  virtual void run(Pass& pass, Objective& objective, const DeviceBatch& batch, const LossRequest& request) = 0;
};

std::unique_ptr<BatchRunner> make_plain_runner(Model& model);
// Returns the plain one, or for a model with thought states the one that runs chunk by chunk (thought_runner.h).
std::unique_ptr<BatchRunner> make_runner(Model& model);

}  // namespace engine
