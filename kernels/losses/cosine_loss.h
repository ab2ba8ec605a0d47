// The loss 1 - the cosine of the angle between rows. It turns a student's hidden states into the direction of its
// teacher's (DistilBERT, Sanh et al. 2019), and is PyTorch's CosineEmbeddingLoss for target 1.
//
// For a row, with a = x.x + e, b = y.y + e, e = 1e-12 (PyTorch's, so that a row of zeros has cosine 0):
//   cos = x.y / sqrt(a b),   loss = 1 - cos
// Backward (y stands still): d(x.y)/dx = y and da/dx = 2 x, so with the gradient_scale g
//   dx = -g (y / sqrt(a b) - cos x / a)
// which is orthogonal to x but for e: the length of x does not matter.
//
// Nothing is saved. Written: dx (or added to), row_losses. Added to: totals (loss sum, rows). Numerics: products are
// summed in f32, e added in f32, the results are taken from the three sums in double: equal rows have loss 0. A row of
// length above 1e19 overflows and gives NaN.
#pragma once

#include <cmath>

#include "kernels/host_device.h"
#include "kernels/losses/row_losses.h"

namespace engine {

struct CosineLossArgs {
  Tensor x, y;               // [R, C]; x learns
  Tensor totals;             // f32 [2], += loss sum, R
  Tensor row_losses;         // optional f32 [R], =
  float gradient_scale = 1;  // of the loss sum
  bool accumulate = false;
  Tensor dx;                 // optional [R, C], =, or += with accumulate

  template <class Each>
  void each_tensor(const Each& each) {
    each("x", x, Role::input);
    each("y", y, Role::input);
    each("totals", totals, Role::both);
    each("row_losses", row_losses, Role::output);
    each("dx", dx, accumulate ? Role::both : Role::output);
  }
};

inline constexpr float cosine_epsilon = 1e-12f;

// The loss of a row, and its gradient: dx = of_x x + of_y y.
struct CosineOfRow {
  float loss, of_x, of_y;

  ENGINE_HOST_DEVICE CosineOfRow(float xx, float yy, float xy, float gradient_scale) {
    const double a = static_cast<double>(xx + cosine_epsilon), b = static_cast<double>(yy + cosine_epsilon);
    const double product = std::sqrt(a * b), cosine = static_cast<double>(xy) / product;
    const double scale = static_cast<double>(gradient_scale);
    loss = static_cast<float>(1 - cosine);
    of_x = static_cast<float>(scale * cosine / a);
    of_y = static_cast<float>(-scale / product);
  }
};

inline void check_cosine_loss(const CosineLossArgs& args) {
  const char* name = "cosine_loss";
  const int64_t rows = args.x.rows(), cols = args.x.cols();
  check_activation(name, "x", args.x, rows, cols);
  check_activation(name, "y", args.y, rows, cols);
  check_row_losses(name, rows, args.totals, args.row_losses);
  if (args.dx) check_activation(name, "dx", args.dx, rows, cols);
}

}  // namespace engine
