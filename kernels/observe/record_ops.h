// A backend that tells an observer of every operation, before and after it.
#pragma once

#include <array>
#include <memory>

#include "kernels/observe/arguments.h"

namespace engine {

// One call of an operation. It holds no text, since a step makes thousands.
struct RecordedCall {
  static constexpr size_t nowhere = static_cast<size_t>(-1);
  struct Argument {
    const char* name = "";
    Shape shape;
    DType dtype = DType::f32;
  };
  const char* name = "";                // the operation's
  DType compute = DType::f32;           // dtype of its products
  double flops = 0, bytes = 0;          // as in OperationCount
  std::array<Argument, 3> arguments{};  // the first that are there
  size_t arguments_count = 0;
  bool has_gradient = false;  // an argument is a gradient of the loss
  size_t place = nowhere;     // CallObserver's number of the first argument that it knows
};

class CallObserver {
 public:
  virtual ~CallObserver() = default;
  // Returns whether operations are described at all.
  virtual bool is_on() const = 0;
  // Returns a number for memory that the observer knows, else RecordedCall::nowhere.
  virtual size_t place_of(const Tensor& tensor) const = 0;
  virtual void before(const RecordedCall& call) = 0;
  virtual void after() = 0;
};

// Passes operations on to `inner`. While the observer is on, nothing is captured, and indices of operations whose FLOPs
// follow from them are copied to the host.
std::unique_ptr<Ops> make_record_ops(Ops& inner, CallObserver& observer);

}  // namespace engine
