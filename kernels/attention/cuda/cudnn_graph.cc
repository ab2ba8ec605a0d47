#include "kernels/attention/cuda/cudnn_graph.h"

#ifdef ENGINE_CUDNN
#include <cudnn_frontend.h>

#include "core/cuda/library.h"
#include "core/error.h"

namespace cudnn_frontend {
void* cudnn_dlhandle = nullptr;  // the frontend finds cuDNN's functions here
}

namespace engine::cuda {

namespace fe = cudnn_frontend;

namespace {

bool load() {
  static const bool loaded = [] {
    setenv("CUDNN_FRONTEND_CUDART_LIB_NAME", "libcudart.so.13", 0);  // the version of our headers
    fe::cudnn_dlhandle = open_library("libcudnn.so.9", "cudnn");
    return fe::cudnn_dlhandle != nullptr;
  }();
  return loaded;
}

void require_good(fe::error_t result, const char* what) {
  if (!result.is_good()) fail("attention: cuDNN: ", what, ": ", result.get_message());
}

using Attributes = std::shared_ptr<fe::graph::Tensor_attributes>;

// Makes the tensors of one graph.
class Builder {
 public:
  Builder(fe::graph::Graph& graph, const CudnnAttentionShape& shape) : graph_(graph), shape_(shape) {
    query_counts_ = counts("query counts", cudnn_query_counts);
    key_counts_ = counts("key counts", cudnn_key_counts);
  }
  Attributes input(CudnnTensor which) { return describe(graph_.tensor(fe::graph::Tensor_attributes()), which); }
  void output(const Attributes& made, CudnnTensor which) { describe(made, which)->set_output(true); }

  // Returns the options that forward and backward share.
  template <class Options>
  Options options(const char* name) const {
    Options options;
    options.set_name(name).set_attn_scale(shape_.scale).set_padding_mask(true);
    options.set_seq_len_q(query_counts_).set_seq_len_kv(key_counts_);
    if (shape_.causal) options.set_causal_mask_bottom_right(true);
    return options;
  }

 private:
  Attributes counts(const char* name, int64_t number) {
    return graph_.tensor(fe::graph::Tensor_attributes()
                             .set_name(name)
                             .set_uid(number)
                             .set_data_type(fe::DataType_t::INT32)
                             .set_dim({shape_.sequences, 1, 1, 1})
                             .set_stride({1, 1, 1, 1}));
  }
  Attributes describe(const Attributes& tensor, CudnnTensor which) {
    static constexpr const char* names[] = {"q", "k", "v", "y", "dy", "dq", "dk", "dv", "lse"};
    const bool is_lse = which == cudnn_lse;
    const int64_t rows = is_of_keys(which) ? shape_.keys : shape_.queries, width = is_lse ? 1 : shape_.width;
    const int64_t row_stride = shape_.row_strides[static_cast<size_t>(which)];
    const Attributes offsets = graph_.tensor(fe::graph::Tensor_attributes()
                                                 .set_name(std::string("offsets of ") + names[which])
                                                 .set_uid(which + cudnn_offsets_of)
                                                 .set_data_type(fe::DataType_t::INT32)
                                                 .set_dim({shape_.sequences + 1, 1, 1, 1})
                                                 .set_stride({1, 1, 1, 1}));
    tensor->set_name(names[which])
        .set_uid(which)
        .set_data_type(is_lse ? fe::DataType_t::FLOAT : fe::DataType_t::BFLOAT16)
        .set_dim({shape_.sequences, shape_.heads, rows, width})
        .set_stride({rows * row_stride, width, row_stride, 1})
        .set_ragged_offset(offsets);
    return tensor;
  }

  fe::graph::Graph& graph_;
  const CudnnAttentionShape& shape_;
  Attributes query_counts_, key_counts_;
};

void add_forward(fe::graph::Graph& graph, const CudnnAttentionShape& shape) {
  Builder builder(graph, shape);
  auto options = builder.options<fe::graph::SDPA_attributes>("attention_forward");
  options.set_generate_stats(shape.keeps_lse);
  const auto [y, lse] = graph.sdpa(builder.input(cudnn_q), builder.input(cudnn_k), builder.input(cudnn_v), options);
  builder.output(y, cudnn_y);
  if (shape.keeps_lse) builder.output(lse, cudnn_lse);
}

void add_backward(fe::graph::Graph& graph, const CudnnAttentionShape& shape) {
  Builder builder(graph, shape);
  auto options = builder.options<fe::graph::SDPA_backward_attributes>("attention_backward");
  options.set_deterministic_algorithm(true);
  const auto [dq, dk, dv] =
      graph.sdpa_backward(builder.input(cudnn_q), builder.input(cudnn_k), builder.input(cudnn_v),
                          builder.input(cudnn_y), builder.input(cudnn_dy), builder.input(cudnn_lse), options);
  builder.output(dq, cudnn_dq);
  builder.output(dk, cudnn_dk);
  builder.output(dv, cudnn_dv);
}

std::shared_ptr<const fe::DeviceProperties> described(const std::string& json) {
  auto properties = std::make_shared<fe::DeviceProperties>();
  require_good(properties->deserialize({json.begin(), json.end()}), "the device's description");
  return properties;
}

}  // namespace

std::string why_no_cudnn() { return load() ? "" : "libcudnn.so.9 cannot be loaded"; }
size_t cudnn_version() { return load() ? fe::detail::get_backend_version() : 0; }

void* make_cudnn_handle(void* stream) {
  if (const std::string problem = why_no_cudnn(); !problem.empty()) fail("attention: ", problem);
  cudnnHandle_t handle = nullptr;
  const auto good = [](cudnnStatus_t status, const char* what) {
    require(status == CUDNN_STATUS_SUCCESS, "attention: cuDNN: ", what, ": ", fe::detail::get_error_string(status));
  };
  good(fe::detail::create_handle(&handle), "no handle");
  good(fe::detail::set_stream(handle, static_cast<cudaStream_t>(stream)), "the stream");
  return handle;
}

void destroy_cudnn_handle(void* handle) { fe::detail::destroy_handle(static_cast<cudnnHandle_t>(handle)); }

struct CudnnAttentionGraph::State {
  fe::graph::Graph graph;
  int64_t workspace_bytes = 0;
};

CudnnAttentionGraph::CudnnAttentionGraph(const CudnnAttentionShape& shape, void* handle,
                                         const std::string& described_device, int compute_capability)
    : state_(std::make_unique<State>()) {
  if (const std::string problem = why_no_cudnn(); !problem.empty()) fail("attention: ", problem);
  fe::graph::Graph& graph = state_->graph;
  graph.set_io_data_type(fe::DataType_t::BFLOAT16)
      .set_intermediate_data_type(fe::DataType_t::FLOAT)
      .set_compute_data_type(fe::DataType_t::FLOAT);
  if (compute_capability) graph.set_sm_version(compute_capability);
  if (!described_device.empty()) graph.set_device_properties(described(described_device));
  shape.is_backward ? add_backward(graph, shape) : add_forward(graph, shape);
  const auto device = static_cast<cudnnHandle_t>(handle);
  require_good(graph.validate(), "the shape");
  require_good(device ? graph.build_operation_graph(device) : graph.build_operation_graph(), "the operation graph");
  require_good(graph.create_execution_plans({fe::HeurMode_t::A}), "no plan");
  require_good(graph.check_support(), "not supported");
  if (!device) return;
  require_good(graph.build_plans(), "the plan");
  require_good(graph.get_workspace_size(state_->workspace_bytes), "workspace");
}

CudnnAttentionGraph::~CudnnAttentionGraph() = default;

size_t CudnnAttentionGraph::workspace_bytes() const { return static_cast<size_t>(state_->workspace_bytes); }

void CudnnAttentionGraph::run(void* handle, const std::array<void*, cudnn_numbers>& memory, void* workspace) const {
  std::unordered_map<int64_t, void*> by_number;
  for (size_t i = 0; i < memory.size(); ++i)
    if (memory[i]) by_number.emplace(static_cast<int64_t>(i), memory[i]);
  require_good(state_->graph.execute(static_cast<cudnnHandle_t>(handle), by_number, workspace), "cannot run");
}

}  // namespace engine::cuda
#else
#include "core/error.h"

namespace engine::cuda {

// Makes no graph, since this build has no cuDNN.
std::string why_no_cudnn() { return "this build has no cuDNN (make deps brings what it needs)"; }
size_t cudnn_version() { return 0; }
void* make_cudnn_handle(void*) { fail("attention: ", why_no_cudnn()); }
void destroy_cudnn_handle(void*) {}

struct CudnnAttentionGraph::State {};
CudnnAttentionGraph::CudnnAttentionGraph(const CudnnAttentionShape&, void*, const std::string&, int) {
  fail("attention: ", why_no_cudnn());
}
CudnnAttentionGraph::~CudnnAttentionGraph() = default;
size_t CudnnAttentionGraph::workspace_bytes() const { return 0; }
void CudnnAttentionGraph::run(void*, const std::array<void*, cudnn_numbers>&, void*) const {}

}  // namespace engine::cuda

#endif
