// cuDNN's fused attention is a second implementation of the attention operation. The option attention = "cudnn" uses it
// where it can, and our own kernels do the rest.
//
// cuDNN gets bf16 matrices, heads 32 to 128 wide in steps of 8, queries and keys of the same segments, no dropout, and
// rows that begin at multiples of 16 bytes. With other segments a query might see no key, and cuDNN does not promise
// zeros for it. Its random numbers are not ours. It may refuse more: a deterministic backward pass before sm_90, or a
// graph that is newer than the library.
//
// The choice follows from the shape, the device and the library alone, and both implementations give the same bits
// every time.
#pragma once

#include <cuda_runtime.h>

#include <map>
#include <memory>
#include <set>
#include <string>

#include "core/arena.h"
#include "core/cuda/device.h"
#include "kernels/attention/cuda/cudnn_graph.h"

namespace engine::cuda {

struct AttentionForward;   // attention/cuda/arguments.h
struct AttentionBackward;  // attention/cuda/arguments.h

// Lives once in each backend. It builds a graph when it first sees a shape, and keeps it.
class CudnnAttention {
 public:
  // Throws a UsageError where there is no cuDNN.
  CudnnAttention(const Device& device, Arena& workspace);
  ~CudnnAttention();
  CudnnAttention(const CudnnAttention&) = delete;
  CudnnAttention& operator=(const CudnnAttention&) = delete;

  // Take arguments that have been checked and have no relative tables. Return false, and do nothing, where cuDNN cannot
  // do them. A refusal by cuDNN itself is told once for each kind of attention.
  bool forward(const AttentionForward& arguments);
  bool backward(const AttentionBackward& arguments);

 private:
  template <class Arguments>
  bool run(const Arguments& arguments);
  const CudnnAttentionGraph* graph_of(const CudnnAttentionShape& shape);  // null where cuDNN refuses

  const Device& device_;
  Arena& workspace_;
  void* handle_ = nullptr;
  std::map<CudnnAttentionShape, std::unique_ptr<CudnnAttentionGraph>> graphs_;
  std::set<std::string> told_;  // kinds of attention already refused
};

}  // namespace engine::cuda
