#include "kernels/elementwise/activation.h"

#include "kernels/checks.h"

namespace engine {

void check_activation_operation(const ActivationForwardArgs& args) {
  const char* name = "activation_forward";
  check_activation(name, "x", args.x, args.x.rows(), args.x.cols());
  check_activation(name, "y", args.y, args.x.rows(), args.x.cols());
}

void check_activation_operation(const ActivationBackwardArgs& args) {
  const char* name = "activation_backward";
  check_activation(name, "x", args.x, args.x.rows(), args.x.cols());
  check_activation(name, "dy", args.dy, args.x.rows(), args.x.cols());
  check_activation(name, "dx", args.dx, args.x.rows(), args.x.cols());
}

}  // namespace engine
