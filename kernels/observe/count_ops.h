// A backend that counts the FLOPs and bytes of every operation of a piece of work.
#pragma once

#include <string>
#include <vector>

#include "kernels/ops.h"

namespace engine {

// One operation with one set of shapes, and how often it was run.
struct OperationCount {
  std::string name;        // the operation's
  std::string shapes;      // arguments, "x [1024, 768] bf16, ..."
  DType compute;           // dtype of its products
  int64_t calls = 0;
  // FLOPs and bytes of one call. A multiplication and an addition of a product are two FLOPs, and other arithmetic is
  // not counted. Bytes count every argument once, read or written, which is the least that a device without a cache for
  // them has to move.
  double flops = 0, bytes = 0;
};

// Makes a backend on host memory that runs nothing. It adds an operation to `counts` and leaves the results as they
// were, so the work of a model of any size can be counted in no time. The FLOPs of matmul are 2 M N K, those of
// attention 4 D forward and 10 D backward for every head and every pair of a query and a key that it sees, and those of
// cross entropy 2 R C V forward and twice that for its two gradients. A causal pass over a sequence of T queries and as
// many keys sees T (T + 1) / 2 pairs.
std::unique_ptr<Ops> make_count_ops(std::vector<OperationCount>& counts);

}  // namespace engine
