#include "core/cuda/operation.h"

#include <nvtx3/nvToolsExt.h>

#include <algorithm>

namespace engine::cuda {

// Holds the last operations, each at its number modulo their count.
struct Operation::Started {
  std::array<Description, 8> last;
  size_t count = 0, forgotten = 0;
};

thread_local const Operation* Operation::running = nullptr;
thread_local Operation::Started Operation::started;

std::string Operation::Description::text() const {
  std::string text = name;
  for (size_t i = 0; i < count; ++i)
    if (tensors[i]) text += (i ? ", " : " of ") + tensors[i].shape.text() + " " + name_of(tensors[i].dtype);
  return text;
}

Operation::Operation(const char* name, std::initializer_list<Tensor> tensors) : outer_(running) {
  description_.name = name;
  for (const Tensor& tensor : tensors)
    if (description_.count < description_.tensors.size()) description_.tensors[description_.count++] = tensor;
  started.last[started.count++ % started.last.size()] = description_;
  running = this;
  nvtxRangePushA(name);
}

Operation::~Operation() {
  nvtxRangePop();
  running = outer_;
}

std::string running_operation() { return Operation::running ? Operation::running->description_.text() : ""; }

const char* running_operation_name() {
  return Operation::running ? Operation::running->description_.name : "a kernel";
}

std::string started_operations() {
  const auto& [last, count, forgotten] = Operation::started;
  const size_t running = count - forgotten, told = std::min(running, last.size());
  std::string text;
  for (size_t i = count - told; i < count; ++i) text += (text.empty() ? "" : "; ") + last[i % last.size()].text();
  if (running > told) text += "; and " + std::to_string(running - told) + " before these";
  return text;
}

size_t started_operation_count() { return Operation::started.count; }

void forget_started_operations(size_t count) {
  Operation::started.forgotten = std::max(Operation::started.forgotten, count);
}

}  // namespace engine::cuda
