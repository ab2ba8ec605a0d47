// A backend that runs every operation on two others, with the same inputs, and stops at the first whose results differ:
// what `--device check` is.
#pragma once

#include <memory>

#include "kernels/ops.h"

namespace engine {

// Tensors are those of `first`, which must work on host memory; `second` is given copies of them. Results of `first`
// are what callers go on with. An Error names the operation, the argument, the element and both values.
//
// Allowed difference, relative to the largest value of a result: sums are added in other orders, which moves a sum of n
// terms by about sqrt(n) roundings of its terms, and terms may be larger than what is left of them: 2^12 roundings of
// f32; where operands or the result are bf16, intermediate values of fused operations are rounded at other places: 8
// roundings of bf16. A wrong index, sign, mask or scale differs by far more than either.
std::unique_ptr<Ops> make_check_ops(std::unique_ptr<Ops> first, std::unique_ptr<Ops> second);

}  // namespace engine
