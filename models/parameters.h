// One table of a model's parameters: it drives allocation, initialisation, the optimizer, checkpoints and test names.
#pragma once

#include <deque>
#include <functional>
#include <string>
#include <utility>

#include "core/arena.h"
#include "kernels/ops.h"

namespace engine {

// How a parameter begins: a constant, normal numbers of mean 0, or uniform ones.
struct Initial {
  enum class Kind { constant, normal, xavier } kind = Kind::constant;
  float value = 0;  // the constant, the standard deviation, or how many matrices lie one below the other

  static Initial zeros() { return {Kind::constant, 0}; }
  static Initial ones() { return {Kind::constant, 1}; }
  static Initial normal(float deviation) { return {Kind::normal, deviation}; }
  // Uniform within +- sqrt(6 / (inputs + outputs)) (Glorot, Bengio 2010).
  static Initial xavier() { return {Kind::xavier, 1}; }
  // Of `count` such matrices one below the other.
  Initial stacked(int count) const { return {kind, kind == Kind::xavier ? value * static_cast<float>(count) : value}; }
};

struct Parameter {
  std::string name;  // unique in the model, the engine's own: "layers.3.attention.qkv.weight"
  Shape shape;       // a weight is [outputs, inputs]
  Initial initial;

  Tensor value;     // f32, on the device; changed by Parameters and the optimizer's update alone
  Tensor rounded;   // bf16: a factor's value, changed with it; absent unless asked for (Parameters::keep_rounded)
  Tensor gradient;  // f32; absent in a model that is not trained
  bool is_factor = false;  // a matrix that products read: a Linear's weight, or a table that gives logits
  bool is_linear = false;  // a Linear's weight: one product gives all of its gradient
  bool is_spent = false;   // what the gradient holds was used by an update and counts as 0; on the host alone
  bool is_lookup = false;  // its gradient comes from embedding_backward alone: rows that no token names have none
  Tensor touched_blocks;   // TouchedBlocks of such a parameter, beside its gradient
  Tensor packed;           // u8: a factor's value^T as matmul reads it fastest; absent while it changes (pack)
  DType packed_compute = DType::f32;

  // What a product in this precision reads.
  const Tensor& factor(DType compute) const { return rounded && compute == DType::bf16 ? rounded : value; }
  // The gradient, for an operation that adds to it.
  const Tensor& gradient_to_add_to();
  // Whether an operation that gives all of the gradient is to write it, for it is the first since an update: so updates
  // need not write zeros that products read again. Else it adds.
  bool begins_gradient() { return std::exchange(is_spent, false); }
  // Weight decay acts on matrices, not on gains and biases.
  bool decays() const { return shape.rank >= 2; }
};

// A dropout of the model: its rate, and the number that keeps its mask apart from every other's.
struct DropoutLayer {
  float rate = 0;
  uint32_t site = 0;
};

class Parameters {
 public:
  Parameter& add(std::string name, Shape shape, Initial initial);
  // A table that is neither trained nor saved, f32, which fill writes: there once memory is allocated.
  const Tensor& add_constant(Shape shape, std::function<void(float*)> fill);
  DropoutLayer add_dropout(float rate) { return {rate, next_site_++}; }

  // Memory for all values (and gradients, zeroed, where the model is trained), in the order of the table.
  void allocate(Memory& memory, bool with_gradients);
  // Every value from (seed, its name): adding a parameter does not change how the others begin.
  void initialise(uint64_t seed);
  void initialise(Parameter& parameter, uint64_t seed);
  // Elements first ... first+count-1 of a value, from f32 on the host (at any address), or all of it from the device.
  void write(Parameter& parameter, int64_t first, int64_t count, const void* numbers);
  void write(Ops& ops, Parameter& parameter, const Tensor& numbers);

  // For training in bf16: from now on every factor has a bf16 copy, which is written whenever its value is, so that no
  // product need round it. Not on the host's memory: the CPU rounds as it packs.
  void keep_rounded(Ops& ops);

  // For many forward passes without an update between: keeps every factor in matmul's own layout.
  void pack(Ops& ops, DType compute);
  void drop_packed();

  std::deque<Parameter>& all() { return all_; }
  const std::deque<Parameter>& all() const { return all_; }
  Parameter& at(const std::string& name);
  Parameter* find(const std::string& name);             // or nullptr
  int64_t count() const;                                // scalars
  Memory& memory() const { return values_->memory(); }  // where the values are

 private:
  struct Constant {
    Tensor value;
    std::function<void(float*)> fill;
  };
  std::deque<Parameter> all_;  // a deque: layers hold pointers into it
  std::deque<Constant> constants_;
  uint32_t next_site_ = 1;
  std::unique_ptr<Arena> values_, gradients_, packed_, rounded_;
};

}  // namespace engine
