#include "kernels/observe/record_ops.h"

#include <optional>
#include <string_view>

#include "kernels/observe/wrapped_ops.h"

namespace engine {

namespace {

// Names of gradients are d and the name of the argument that they belong to.
bool is_gradient(std::string_view argument) {
  return argument.starts_with('d') && argument != "draws" && !argument.starts_with("dropout");
}

class RecordOps final : public WrappedOps<RecordOps> {
 public:
  RecordOps(Ops& inner, CallObserver& observer)
      : inner_(inner), observer_(observer), is_on_host_(&inner.memory() == &host_memory()) {}
  Memory& memory() override { return inner_.memory(); }
  size_t packed_bytes(int64_t k, int64_t n, DType compute) override { return inner_.packed_bytes(k, n, compute); }
  bool reads_unpacked() const override { return inner_.reads_unpacked(); }
  void run_captured(uint64_t shapes, const std::function<void()>& work) override {
    if (observer_.is_on()) work();
    else inner_.run_captured(shapes, work);
  }

  template <class Args>
  void run(const char* name, const Args& args, void (Ops::*method)(const Args&)) {
    if (!observer_.is_on()) return (inner_.*method)(args);
    observer_.before(recorded(name, args));
    (inner_.*method)(args);
    observer_.after();
  }

 private:
  template <class Args>
  RecordedCall recorded(const char* name, const Args& args) {
    CopiedArgs copied(args);
    RecordedCall call{.name = name, .compute = product_dtype(args)};
    copied.each_tensor([&](const char* argument, const Tensor& tensor, Role role, double share = 1) {
      if (!tensor || tensor.count() == 0) return;
      call.bytes += bytes_moved(tensor, role, share);
      call.has_gradient = call.has_gradient || is_gradient(argument);
      if (call.place == RecordedCall::nowhere) call.place = observer_.place_of(tensor);
      if (call.arguments_count < call.arguments.size())
        call.arguments[call.arguments_count++] = {argument, tensor.shape, tensor.dtype};
    });
    if constexpr (requires { args.flops(); }) {
      std::optional<HostIndices> indices;
      if (!is_on_host_) indices.emplace(inner_.memory(), copied);
      call.flops = copied.args.flops();
    }
    return call;
  }

  Ops& inner_;
  CallObserver& observer_;
  const bool is_on_host_;
};

}  // namespace

std::unique_ptr<Ops> make_record_ops(Ops& inner, CallObserver& observer) {
  return std::make_unique<RecordOps>(inner, observer);
}

}  // namespace engine
