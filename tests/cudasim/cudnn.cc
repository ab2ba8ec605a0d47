// cuDNN's attention on the simulated device, in the order of the stream. It replaces
// kernels/attention/cuda/cudnn_graph.cc, whose graphs only the real library can build. It reads sequences through the
// offsets and counts that the graph is given, leaves rows beyond a sequence's count alone, and uses its scratch.
//
// The variable CUDASIM_CUDNN of the environment makes it a library that is not there (none), that refuses every graph
// (refuses), or whose graphs want a gigabyte of scratch (large). CUDASIM_CUDNN_VERSION is its version, else 91900, so
// that the option auto means our own kernels.
#include <cuda_runtime.h>

#include <cstdlib>
#include <cstring>
#include <vector>

#include "core/bf16.h"
#include "core/cuda/device.h"
#include "core/error.h"
#include "kernels/attention/attention_ref.h"
#include "kernels/attention/cuda/cudnn_graph.h"
#include "tests/cudasim/cudnn.h"
#include "tests/cudasim/memory.h"
#include "tests/cudasim/stream.h"

namespace cudasim {

namespace {
CudnnCounts counts;
}  // namespace

const CudnnCounts& cudnn_counts() { return counts; }

}  // namespace cudasim

namespace engine::cuda {

namespace {

constexpr size_t scratch_bytes = 1024;

bool says(const char* what) {
  const char* const has = std::getenv("CUDASIM_CUDNN");
  return has && std::string(has) == what;
}

using Numbers = std::vector<double>;

// Reads and writes one sequence of an attention: its rows of each tensor as [rows, heads width], or lse [rows, heads].
class Sequence {
 public:
  Sequence(const CudnnAttentionShape& shape, const std::array<void*, cudnn_numbers>& memory, int64_t index)
      : shape_(shape), memory_(memory), index_(index) {}
  int64_t count(int64_t which) const { return static_cast<const int32_t*>(memory_[which])[index_]; }
  int64_t rows_of(CudnnTensor which) const {
    return count(is_of_keys(which) ? cudnn_key_counts : cudnn_query_counts);
  }
  int64_t columns_of(CudnnTensor which) const { return shape_.heads * (which == cudnn_lse ? 1 : shape_.width); }
  Numbers zeros(CudnnTensor which) const { return Numbers(static_cast<size_t>(rows_of(which) * columns_of(which))); }
  Numbers read(CudnnTensor which) const {
    Numbers all;
    for (int64_t row = 0; row < rows_of(which); ++row)
      for (int64_t c = 0; c < columns_of(which); ++c)
        all.push_back(static_cast<double>(
            static_cast<float>(static_cast<const bf16*>(memory_[which])[at(which, row, c)])));
    return all;
  }
  void write(CudnnTensor which, const Numbers& all) const {
    for (int64_t row = 0; row < rows_of(which); ++row)
      for (int64_t c = 0; c < columns_of(which); ++c) {
        const auto value = static_cast<float>(all[static_cast<size_t>(row * columns_of(which) + c)]);
        if (which == cudnn_lse) static_cast<float*>(memory_[which])[at(which, row, c)] = value;
        else static_cast<bf16*>(memory_[which])[at(which, row, c)] = bf16(value);
      }
  }

 private:
  int64_t at(CudnnTensor which, int64_t row, int64_t column) const {
    const auto* const offsets = static_cast<const int32_t*>(memory_[which + cudnn_offsets_of]);
    return offsets[index_] + row * shape_.row_strides[static_cast<size_t>(which)] + column;
  }
  const CudnnAttentionShape& shape_;
  const std::array<void*, cudnn_numbers>& memory_;
  int64_t index_;
};

void attend(const CudnnAttentionShape& shape, const Sequence& s) {
  const AttentionReference reference{shape.heads, shape.width,
                                     {{0, s.count(cudnn_query_counts), 0, s.count(cudnn_key_counts)}}, shape.causal,
                                     static_cast<double>(shape.scale)};
  const Numbers q = s.read(cudnn_q), k = s.read(cudnn_k), v = s.read(cudnn_v);
  if (!shape.is_backward) {
    Numbers y = s.zeros(cudnn_y), lse = s.zeros(cudnn_lse);
    reference.forward(q.data(), k.data(), v.data(), y.data(), lse.data());
    s.write(cudnn_y, y);
    if (shape.keeps_lse) s.write(cudnn_lse, lse);
    return;
  }
  const Numbers dy = s.read(cudnn_dy);
  Numbers dq = s.zeros(cudnn_dq), dk = s.zeros(cudnn_dk), dv = s.zeros(cudnn_dv);
  reference.backward(q.data(), k.data(), v.data(), dy.data(), dq.data(), dk.data(), dv.data());
  s.write(cudnn_dq, dq), s.write(cudnn_dk, dk), s.write(cudnn_dv, dv);
}

}  // namespace

std::string why_no_cudnn() { return says("none") ? "libcudnn.so.9 cannot be loaded" : ""; }
size_t cudnn_version() {
  const char* const version = std::getenv("CUDASIM_CUDNN_VERSION");
  return says("none") ? 0 : version ? std::strtoull(version, nullptr, 10) : 91900;
}
void* make_cudnn_handle(void* stream) { return stream; }
void destroy_cudnn_handle(void*) {}

struct CudnnAttentionGraph::State {
  CudnnAttentionShape shape;
};

CudnnAttentionGraph::CudnnAttentionGraph(const CudnnAttentionShape& shape, void*, const std::string&, int)
    : state_(std::make_unique<State>(shape)) {
  if (says("refuses")) fail("attention: cuDNN: not supported: the simulated one was told to refuse");
  ++cudasim::counts.built;
}
CudnnAttentionGraph::~CudnnAttentionGraph() = default;

size_t CudnnAttentionGraph::workspace_bytes() const { return says("large") ? size_t{1} << 30 : scratch_bytes; }

void CudnnAttentionGraph::run(void* handle, const std::array<void*, cudnn_numbers>& memory, void* workspace) const {
  ++cudasim::counts.run;
  static const char graphs = 0;
  const auto work = [shape = state_->shape, memory, workspace] {
    const cudasim::OpenMemory open;
    std::memset(workspace, 0x7f, scratch_bytes);
    for (int64_t s = 0; s < shape.sequences; ++s) {
      const Sequence sequence(shape, memory, s);
      if (sequence.count(cudnn_query_counts) > shape.queries || sequence.count(cudnn_key_counts) > shape.keys)
        return std::string("cuDNN: a sequence is longer than the graph's");
      attend(shape, sequence);
    }
    return std::string();
  };
  check(cudasim::push(static_cast<cudaStream_t>(handle), {work, &graphs}), "cuDNN");
}

}  // namespace engine::cuda
