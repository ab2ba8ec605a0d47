// A backend that runs every operation on two others, with the same inputs, and stops at the first whose results differ.
// `--device check` makes it.
#pragma once

#include <memory>

#include "kernels/ops.h"

namespace engine {

// Callers work with the tensors of `first`, which must work on host memory, and go on with its results. `second` gets
// copies of them. An Error names the operation, the argument, the element and both values.
//
// The allowed difference is relative to the largest value of a result. Sums are added in other orders, which moves a
// sum of n terms by about sqrt(n) roundings of its terms, and terms may be larger than the sum: 2^12 roundings of f32.
// With bf16 operands or results, fused operations round intermediate values at other places: 8 roundings of bf16. A
// wrong index, sign, mask or scale differs by far more than either.
std::unique_ptr<Ops> make_check_ops(std::unique_ptr<Ops> first, std::unique_ptr<Ops> second);

}  // namespace engine
