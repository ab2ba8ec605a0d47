// A backend that counts what every operation of a piece of work has to compute and to move.
#pragma once

#include <string>
#include <vector>

#include "kernels/ops.h"

namespace engine {

// One operation with one set of shapes, however often it was run.
struct OperationCount {
  std::string name;        // of the operation
  std::string shapes;      // of its arguments: "x [1024, 768] bf16, ..."
  DType compute;           // of its products
  int64_t calls = 0;
  // Of one call. Products: a multiplication and an addition are two; other arithmetic is not counted. Bytes: every
  // argument read or written once, which is the least that a device without a cache for them has to move.
  double flops = 0, bytes = 0;
};

// A backend on host memory that runs nothing: an operation is added to `counts` and leaves its results as they were. So
// what a model of any size does can be counted in no time.
// FLOPs: matmul 2 M N K; attention forward 4 D and backward 10 D for every head and every pair of a query and a key
// that it sees; cross entropy 2 R C V forward and twice that for its two gradients. A causal pass over a sequence of T
// queries and as many keys sees T (T + 1) / 2 pairs.
std::unique_ptr<Ops> make_count_ops(std::vector<OperationCount>& counts);

}  // namespace engine
