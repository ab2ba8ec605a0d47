// Helpers for backends that look at an operation's arguments without knowing the operation: its tensors one after the
// other, the dtype of its products, its FLOPs and its bytes.
#pragma once

#include <vector>

#include "kernels/ops.h"

namespace engine {

// A copy of an operation's arguments whose tensors an observer may replace. It also copies a list of tensors
// (`tensors`).
template <class Args>
struct CopiedArgs {
  Args args;

  explicit CopiedArgs(const Args& original) : args(original), list_(list_of(original)) {
    if constexpr (requires { args.tensors; }) args.tensors = list_;
  }
  CopiedArgs(const CopiedArgs&) = delete;
  CopiedArgs& operator=(const CopiedArgs&) = delete;

  // Calls each(name, tensor, role, share = 1) for every tensor (kernels/arguments.h), those of the list first.
  template <class Each>
  void each_tensor(const Each& each) {
    for (auto& element : list_) {
      if constexpr (requires { element.each_tensor(each); })
        element.each_tensor(each);
      else
        each("tensors", element, Role::input);
    }
    args.each_tensor(each);
  }

 private:
  static auto list_of(const Args& original) {
    if constexpr (requires { original.tensors; })
      return std::vector(original.tensors.begin(), original.tensors.end());
    else
      return std::vector<Tensor>();
  }

  decltype(list_of(std::declval<const Args&>())) list_;
};

// Puts copies on the host in the place of a device's indices, for FLOPs that follow from them. They live as long as it.
class HostIndices {
 public:
  template <class Args>
  HostIndices(Memory& memory, CopiedArgs<Args>& copied) {
    copied.each_tensor([&](const char*, Tensor& tensor, Role, double = 1) {
      if (!tensor || tensor.dtype != DType::i32 || tensor.count() == 0) return;
      std::vector<char>& host = copies_.emplace_back(tensor.bytes());
      memory.copy_out(host.data(), tensor.data, host.size());
      tensor.data = host.data();
    });
  }

 private:
  std::vector<std::vector<char>> copies_;
};

// Returns the dtype in which an operation multiplies, f32 where it multiplies no matrices.
template <class Args>
DType product_dtype(const Args& args) {
  if constexpr (requires { args.compute; }) return args.compute;
  else if constexpr (requires { args.product_dtype(); }) return args.product_dtype();
  else return DType::f32;
}

// Returns the FLOPs of an operation's products. A multiplication and an addition are two, and other arithmetic does not
// count.
template <class Args>
double flops_of(const Args& args) {
  if constexpr (requires { args.flops(); }) return args.flops();
  else return 0;
}

// Returns the bytes of a tensor that an operation reads and writes.
inline double bytes_moved(const Tensor& tensor, Role role, double share) {
  return static_cast<double>(tensor.bytes()) * share * (role == Role::both ? 2 : 1);
}

}  // namespace engine
