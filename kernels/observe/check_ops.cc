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
  size_t packed_bytes(int64_t k, int64_t n, DType compute) override { return first_->packed_bytes(k, n, compute); }

  // Each backend packs in its own way, so only the first packs, and the second multiplies by the matrix itself.
  bool reads_unpacked() const override { return true; }
  void run(const char*, const PackArgs& args, void (Ops::*)(const PackArgs&)) { first_->pack_matrix(args); }

  template <class Args>
  void run(const char* name, const Args& args, void (Ops::*method)(const Args&)) {
    const ArenaScope scope(copies_);
    begin(name, product_dtype(args));
    CopiedArgs copied(args);
    if constexpr (requires { copied.args.packed_b; }) copied.args.packed_b = {};
    if constexpr (requires { copied.args.packed_weight; }) copied.args.packed_weight = {};
    copied.each_tensor([this](const char* argument, Tensor& tensor, Role role, double = 1) {
      mirror(argument, tensor, role);
    });
    (first_.get()->*method)(args);
    (second_.get()->*method)(copied.args);
    compare();
  }

 private:
  void begin(const char* operation, DType compute) {
    operation_ = operation;
    rounds_to_bf16_ = compute == DType::bf16;
    pairs_.clear();
  }

  // Replaces a tensor of the first backend by its copy on the second. A tensor that has a copy already keeps it, so an
  // operation that works in place does so on both.
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
