#include "kernels/observe/count_ops.h"

#include "kernels/observe/arguments.h"
#include "kernels/observe/wrapped_ops.h"

namespace engine {

namespace {

struct Described {
  std::string shapes;
  double bytes = 0;
  int named = 0;

  void add(const char* name, const Tensor& tensor, Role role, double share) {
    if (!tensor || tensor.count() == 0) return;
    bytes += bytes_moved(tensor, role, share);
    if (named++ < 3) shapes += (shapes.empty() ? "" : ", ") + std::string(name) + " " + tensor.shape.text() + " " +
                               name_of(tensor.dtype);
  }
};

class CountOps final : public WrappedOps<CountOps> {
 public:
  explicit CountOps(std::vector<OperationCount>& counts) : counts_(counts) {}
  Memory& memory() override { return host_memory(); }
  size_t packed_bytes(int64_t k, int64_t n, DType compute) override {
    return static_cast<size_t>(k * n) * size_of(compute);
  }

  template <class Args>
  void run(const char* name, const Args& args, void (Ops::*)(const Args&)) {
    Described described;
    CopiedArgs(args).each_tensor([&](const char* argument, const Tensor& tensor, Role role, double share = 1) {
      described.add(argument, tensor, role, share);
    });
    count(name, described, product_dtype(args), flops_of(args));
  }

 private:
  void count(const char* name, const Described& described, DType compute, double flops) {
    for (OperationCount& known : counts_)
      if (known.name == name && known.shapes == described.shapes && known.compute == compute &&
          known.flops == flops && known.bytes == described.bytes) {
        ++known.calls;
        return;
      }
    counts_.push_back({name, described.shapes, compute, 1, flops, described.bytes});
  }

  std::vector<OperationCount>& counts_;
};

}  // namespace

std::unique_ptr<Ops> make_count_ops(std::vector<OperationCount>& counts) {
  return std::make_unique<CountOps>(counts);
}

}  // namespace engine
