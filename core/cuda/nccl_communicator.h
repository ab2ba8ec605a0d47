// The communicator of ranks that each compute on a GPU of their own. Sums that are started (start_sum, start_or) are of
// the device's memory and go by NCCL. All else is of the host's memory, and the host's communicator carries it.
//
// Tensors are gathered into buckets. When a bucket is full, its exchange is started on a stream of its own, behind all
// work of the compute stream so far, which has completed the bucket. The compute stream goes on meanwhile: with the
// backward pass of the blocks below. wait() makes it wait for the exchanges, and the host waits for nothing. Inside a
// step that is captured as graphs, an exchange comes between two of them.
#pragma once

#include <memory>

#include "core/communicator.h"
#include "core/memory.h"

namespace engine::cuda {

struct NcclSettings {
  double timeout = 60;                          // seconds that the ranks' meeting and an exchange may take
  size_t bucket_bytes = size_t{32} << 20;       // of the tensors that are exchanged together
  bool spans_machines = false;                  // whether some ranks are on another machine than others
};

// Connects the GPUs of all ranks. `memory` is that of this rank's device, and must outlive the communicator, as must
// `host`. An Error, the same on all ranks where it can be, says what is missing or in which rank.
std::unique_ptr<Communicator> make_nccl_communicator(Memory& memory, Communicator& host, const NcclSettings& settings);

}  // namespace engine::cuda
