// cuDNN's fused attention is a second implementation of the attention operation. The option attention = "cudnn" uses it
// where it can, and "auto" where a table of architectures and versions expects it to be faster. Our own kernels do the
// rest.
//
// cuDNN gets bf16 matrices, heads 32 to 128 wide in steps of 8, queries and keys of the same segments, no dropout, and
// rows that begin at multiples of 16 bytes. With other segments a query might see no key, and cuDNN does not promise
// zeros for it. Its random numbers are not ours. It may refuse more: a deterministic backward pass before sm_90, or a
// graph that is newer than the library. We refuse a graph whose workspace is over a limit: the deterministic backward
// pass may keep a number for every pair of a query and a key. Before 9.25 cuDNN does not take sequences without rows:
// graphs then have the exact number of sequences, and an empty one is an error that names it.
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

// Returns whether cuDNN of this version (91900 for 9.19.0) is expected to be faster than our own kernels on a device of
// this compute capability (90 for sm_90). Nothing is measured.
bool cudnn_is_expected_faster(int capability, size_t version, bool is_backward);

// Lives once in each backend. It builds a graph when it first sees a shape, and keeps it.
class CudnnAttention {
 public:
  // Takes the option `attention` as `choice`. Returns null where our own kernels do everything. Throws a UsageError if
  // it says cudnn and there is none. Under auto a notice tells of a missing cuDNN that would be faster.
  static std::unique_ptr<CudnnAttention> make(const Device& device, Arena& workspace, const std::string& choice);
  ~CudnnAttention();
  CudnnAttention(const CudnnAttention&) = delete;
  CudnnAttention& operator=(const CudnnAttention&) = delete;

  // Take arguments that have been checked and have no relative tables. Return false, and do nothing, where cuDNN cannot
  // do them. A refusal by cuDNN itself is told once for each kind of attention.
  bool forward(const AttentionForward& arguments);
  bool backward(const AttentionBackward& arguments);

 private:
  CudnnAttention(const Device& device, Arena& workspace, bool is_chosen_by_name);
  template <class Arguments>
  bool run(const Arguments& arguments);
  const CudnnAttentionGraph* graph_of(const CudnnAttentionShape& shape);  // null where cuDNN refuses

  const Device& device_;
  Arena& workspace_;
  const bool is_chosen_by_name_;
  const size_t version_;
  void* handle_ = nullptr;
  std::map<CudnnAttentionShape, std::unique_ptr<CudnnAttentionGraph>> graphs_;
  std::set<std::string> told_;  // kinds of attention already refused
};

}  // namespace engine::cuda
