#include "kernels/observe/check_ops.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "core/arena.h"
#include "kernels/observe/arguments.h"
#include "kernels/observe/wrapped_ops.h"

namespace engine {

namespace {

constexpr double allowed_f32 = 0x1p-24 * 4096, allowed_bf16 = 0x1p-8 * 8;

// A tensor of the first backend and its copy on the second.
struct Pair {
  const char* name;
  Tensor first, second;
  bool written;
};

double value_of(const void* data, DType dtype, int64_t i) {
  switch (dtype) {
    case DType::bf16: return static_cast<double>(static_cast<float>(static_cast<const bf16*>(data)[i]));
    case DType::i32: return static_cast<const int32_t*>(data)[i];
    case DType::u8: return static_cast<const uint8_t*>(data)[i];
    default: return static_cast<double>(static_cast<const float*>(data)[i]);
  }
}

class CheckOps final : public WrappedOps<CheckOps> {
 public:
  CheckOps(std::unique_ptr<Ops> first, std::unique_ptr<Ops> second)
      : first_(std::move(first)), second_(std::move(second)), copies_(second_->memory()) {}
  Memory& memory() override { return first_->memory(); }
  // Each backend packs in its own way: the second multiplies by the matrix itself.
  size_t packed_bytes(int64_t k, int64_t n, DType compute) override { return first_->packed_bytes(k, n, compute); }
  void pack_matrix(const PackArgs& args) override { first_->pack_matrix(args); }

  void run(const char* name, const AdamWArgs& args, void (Ops::*)(const AdamWArgs&)) {
    const ArenaScope scope(copies_);
    begin(name, DType::f32);
    std::vector<AdamWTensor> tensors(args.tensors.begin(), args.tensors.end());
    for (AdamWTensor& tensor : tensors) each_tensor(tensor, Mirror{*this});
    AdamWArgs own = args;
    own.tensors = tensors;
    mirror("norm_squared", own.norm_squared, Role::input);
    mirror("loss", own.loss, Role::input);
    first_->adamw(args);
    second_->adamw(own);
    compare();
  }
  void run(const char* name, const SumOfSquaresArgs& args, void (Ops::*)(const SumOfSquaresArgs&)) {
    const ArenaScope scope(copies_);
    begin(name, DType::f32);
    std::vector<Tensor> tensors(args.tensors.begin(), args.tensors.end());
    for (Tensor& tensor : tensors) mirror("tensors", tensor, Role::input);
    SumOfSquaresArgs own = args;
    own.tensors = tensors;
    mirror("result", own.result, Role::output);
    first_->sum_of_squares(args);
    second_->sum_of_squares(own);
    compare();
  }

  template <class Args>
  void run(const char* name, const Args& args, void (Ops::*method)(const Args&)) {
    const ArenaScope scope(copies_);
    DType compute = DType::f32;
    Args own = args;
    if constexpr (requires { own.compute; }) compute = args.compute;
    if constexpr (requires { own.packed_b; }) own.packed_b = {};
    begin(name, compute);
    each_tensor(own, Mirror{*this});
    (first_.get()->*method)(args);
    (second_.get()->*method)(own);
    compare();
  }

 private:
  struct Mirror {
    CheckOps& check;
    void operator()(const char* name, Tensor& tensor, Role role) const { check.mirror(name, tensor, role); }
  };

  void begin(const char* operation, DType compute) {
    operation_ = operation;
    rounds_to_bf16_ = compute == DType::bf16;
    pairs_.clear();
  }

  // Replaces a tensor of the first backend by its copy on the second; one that is there already keeps its copy, so what
  // works in place does so on both.
  void mirror(const char* name, Tensor& tensor, Role role) {
    if (!tensor || tensor.count() == 0) return;
    rounds_to_bf16_ = rounds_to_bf16_ || tensor.dtype == DType::bf16;
    for (Pair& pair : pairs_) {
      if (pair.first.data != tensor.data || pair.first.bytes() != tensor.bytes()) continue;
      pair.written = pair.written || role != Role::input;
      tensor.data = pair.second.data;
      return;
    }
    const Tensor copy = copies_.make(tensor.dtype, tensor.shape);
    if (role != Role::output) second_->memory().copy_in(copy.data, tensor.data, tensor.bytes());
    pairs_.push_back({name, tensor, copy, role != Role::input});
    tensor.data = copy.data;
  }

  void compare() {
    for (const Pair& pair : pairs_)
      if (pair.written) compare(pair);
  }

  void compare(const Pair& pair) {
    mine_.resize(pair.first.bytes());
    theirs_.resize(pair.first.bytes());
    first_->memory().copy_out(mine_.data(), pair.first.data, mine_.size());
    second_->memory().copy_out(theirs_.data(), pair.second.data, theirs_.size());
    if (std::memcmp(mine_.data(), theirs_.data(), mine_.size()) == 0) return;
    const DType dtype = pair.first.dtype;
    const bool whole = dtype == DType::i32 || dtype == DType::u8;
    const double allowed = whole ? 0 : rounds_to_bf16_ ? allowed_bf16 : allowed_f32;
    double largest = 0, worst = 0;
    int64_t at = 0;
    for (int64_t i = 0; i < pair.first.count(); ++i) {
      const double a = value_of(mine_.data(), dtype, i), b = value_of(theirs_.data(), dtype, i);
      if (std::isfinite(a)) largest = std::max(largest, std::abs(a));
      const bool both_nan = std::isnan(a) && std::isnan(b);
      const double difference = a == b || both_nan ? 0 : std::isfinite(a - b) ? std::abs(a - b) : INFINITY;
      if (difference <= worst) continue;
      worst = difference;
      at = i;
    }
    if (worst <= allowed * largest) return;
    fail("device check: ", operation_, ": ", pair.name, " ", pair.first.shape.text(), " of ", name_of(dtype),
         " differs at element ", at, ": ", value_of(mine_.data(), dtype, at), " and ",
         value_of(theirs_.data(), dtype, at), ", by ", worst / largest, " of the largest value, allowed ", allowed);
  }

  std::unique_ptr<Ops> first_, second_;
  Arena copies_;
  const char* operation_ = "";
  bool rounds_to_bf16_ = false;
  std::vector<Pair> pairs_;
  std::vector<char> mine_, theirs_;
};

}  // namespace

std::unique_ptr<Ops> make_check_ops(std::unique_ptr<Ops> first, std::unique_ptr<Ops> second) {
  return std::make_unique<CheckOps>(std::move(first), std::move(second));
}

}  // namespace engine
