#include "kernels/observe/count_ops.h"

#include "kernels/observe/wrapped_ops.h"

namespace engine {

namespace {

class CountOps final : public WrappedOps<CountOps> {
 public:
  explicit CountOps(std::vector<OperationCount>& counts) : counts_(counts) {}
  Memory& memory() override { return host_memory(); }
  size_t packed_bytes(int64_t k, int64_t n, DType compute) override {
    return static_cast<size_t>(k * n) * size_of(compute);
  }

  template <class Args>
  void run(const char* name, const Args& args, void (Ops::*)(const Args&)) {
    CopiedArgs copied(args);
    const OperationCount count = described(name, copied);
    for (OperationCount& known : counts_)
      if (known.is_like(count)) {
        ++known.calls;
        return;
      }
    counts_.push_back(count);
  }

 private:
  std::vector<OperationCount>& counts_;
};

}  // namespace

std::unique_ptr<Ops> make_count_ops(std::vector<OperationCount>& counts) {
  return std::make_unique<CountOps>(counts);
}

}  // namespace engine
