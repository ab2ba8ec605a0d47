// Tells what one call of an operation computes and moves.
#pragma once

#include <string>

#include "kernels/observe/arguments.h"

namespace engine {

// One operation with one set of shapes, and how often it was run.
struct OperationCount {
  std::string name;        // the operation's
  std::string shapes;      // arguments, "x [1024, 768] bf16, ..."
  DType compute;           // dtype of its products
  int64_t calls = 0;
  // FLOPs and bytes of one call. A multiplication and an addition of a product are two FLOPs, and other arithmetic is
  // not counted. Bytes count every argument once, read or written, which is the least that a device without a cache for
  // them has to move.
  double flops = 0, bytes = 0;

  bool is_like(const OperationCount& other) const {
    return name == other.name && shapes == other.shapes && compute == other.compute && flops == other.flops &&
           bytes == other.bytes;
  }
};

// Describes one call. Indices among the arguments have to be in the host's memory.
template <class Args>
OperationCount described(const char* name, CopiedArgs<Args>& copied) {
  OperationCount count{name, "", product_dtype(copied.args), 1, flops_of(copied.args)};
  int named = 0;
  copied.each_tensor([&](const char* argument, const Tensor& tensor, Role role, double share = 1) {
    if (!tensor || tensor.count() == 0) return;
    count.bytes += bytes_moved(tensor, role, share);
    if (named++ < 3) count.shapes += (count.shapes.empty() ? "" : ", ") + std::string(argument) + " " +
                                     tensor.shape.text() + " " + name_of(tensor.dtype);
  });
  return count;
}

}  // namespace engine
