// A backend that counts the FLOPs and bytes of every operation of a piece of work.
#pragma once

#include <vector>

#include "kernels/observe/describe.h"
#include "kernels/ops.h"

namespace engine {

// Makes a backend on host memory that runs nothing. It adds an operation to `counts` and leaves the results as they
// were, so the work of a model of any size can be counted in no time. The FLOPs of matmul are 2 M N K, those of
// attention 4 D forward and 10 D backward for every head and every pair of a query and a key that it sees, and those of
// cross entropy 2 R C V forward and twice that for its two gradients. A causal pass over a sequence of T queries and as
// many keys sees T (T + 1) / 2 pairs.
std::unique_ptr<Ops> make_count_ops(std::vector<OperationCount>& counts);

}  // namespace engine
