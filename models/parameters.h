// One table of a model's parameters: it drives allocation, initialisation, the optimizer, checkpoints and test names.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <string>

#include "core/arena.h"
#include "kernels/ops.h"
#include "models/gradients.h"

namespace engine {

// The initial values of a parameter: a constant, normal numbers of mean 0, or uniform numbers.
struct Initial {
  enum class Kind { constant, normal, xavier } kind = Kind::constant;
  float value = 0;  // the constant, the standard deviation, or the number of stacked matrices

  static Initial zeros() { return {Kind::constant, 0}; }
  static Initial ones() { return {Kind::constant, 1}; }
  static Initial normal(float deviation) { return {Kind::normal, deviation}; }
  // Uniform within +- sqrt(6 / (inputs + outputs)) (Glorot, Bengio 2010).
  static Initial xavier() { return {Kind::xavier, 1}; }
  // The same for `count` such matrices stacked in one parameter.
  Initial stacked(int count) const { return {kind, kind == Kind::xavier ? value * static_cast<float>(count) : value}; }
};

struct Parameter {
  std::string name;  // unique in the model, the engine's own: "layers.3.attention.qkv.weight"
  Shape shape;       // a weight is [outputs, inputs]
  Initial initial;
  size_t index = 0;  // its place in the table

  Tensor value;            // f32; only Parameters and the optimizer's update change it
  bool is_factor = false;  // products read it: a Linear's weight, or a table that gives logits
  bool is_linear = false;  // a Linear's weight: one product gives all of its gradient
  bool is_lookup = false;  // only embedding_backward adds to its gradient, at the rows that tokens name

  // The matrix that a product in this precision reads: the bf16 copy where there is a current one, else the value.
  const Tensor& factor(DType compute) const {
    return compute == DType::bf16 && rounded_.tensor && rounded_.version == *version_ ? rounded_.tensor : value;
  }
  // The value's transpose in matmul's own layout for this precision; absent unless Parameters::pack wrote it since the
  // last change.
  Tensor packed(DType compute) const {
    return compute == packed_compute_ && packed_.version == *version_ ? packed_.tensor : Tensor{};
  }
  // The bf16 copy, which whoever changes the value writes, too; absent unless Parameters::keep_rounded made it.
  const Tensor& rounded() const { return rounded_.tensor; }
  // Weight decay acts on matrices, not on gains and biases.
  bool decays() const { return shape.rank >= 2; }

 private:
  friend class Parameters;
  struct Copy {
    Tensor tensor;
    uint64_t version = 0;  // the version of the values that it holds
  };
  Copy rounded_, packed_;
  DType packed_compute_ = DType::f32;
  const uint64_t* version_ = nullptr;
};

// A dropout of the model: its rate, and a number made of its name that keeps its mask apart from every other's. So a new
// dropout leaves the masks of all others as they are.
struct DropoutSite {
  float rate = 0;
  uint32_t site = 0;
};

class Parameters {
 public:
  Parameter& add(std::string name, Shape shape, Initial initial);
  // A table that is neither trained nor saved, f32. `fill` writes its values; the tensor has memory after allocate().
  const Tensor& add_constant(Shape shape, std::function<void(float*)> fill);
  DropoutSite add_dropout(const std::string& name, float rate);

  // Memory for all values, in the order of the table, and for gradients, zeroed, where the model is trained.
  void allocate(Memory& memory, bool with_gradients);
  // Every value is a function of (seed, its name): adding a parameter does not change how the others begin.
  void initialise(uint64_t seed);
  void initialise(Parameter& parameter, uint64_t seed);
  // Elements first ... first+count-1 of a value, from f32 on the host (at any address), or all of it from the device.
  void write(Parameter& parameter, int64_t first, int64_t count, const void* numbers);
  void write(Ops& ops, Parameter& parameter, const Tensor& numbers);

  // Counts the changes of any value. A packed or rounded copy of an older version is not read.
  uint64_t version() const { return *version_; }
  // To be called after values were changed on the device. copies_too: their bf16 copies were written with them.
  void values_changed(bool copies_too);

  // For training in bf16: from now on every factor has a bf16 copy, so that no product need round it. Does nothing on
  // the host's memory: the CPU rounds as it packs.
  void keep_rounded(Ops& ops);

  // For many forward passes without an update between them: lays every factor out as matmul reads it fastest, unless
  // that was done since the last change.
  void pack(Ops& ops, DType compute);

  // The gradients; an error in a model that is not trained.
  Gradients& gradients();
  bool has_gradients() const { return gradients_ != nullptr; }

  std::deque<Parameter>& all() { return all_; }
  const std::deque<Parameter>& all() const { return all_; }
  size_t size() const { return all_.size(); }
  Parameter& at(const std::string& name);
  Parameter* find(const std::string& name);             // or nullptr
  int64_t count() const;                                // scalars
  int64_t layers() const;                               // of the stack of blocks that has most
  Memory& memory() const { return values_->memory(); }  // of the values

 private:
  struct Constant {
    Tensor value;
    std::function<void(float*)> fill;
  };
  std::deque<Parameter> all_;  // a deque: layers hold pointers into it
  std::deque<Constant> constants_;
  std::set<uint32_t> sites_;
  std::unique_ptr<uint64_t> version_ = std::make_unique<uint64_t>(1);  // every parameter points to it
  std::unique_ptr<Arena> values_, packed_, rounded_;
  std::unique_ptr<Gradients> gradients_;
};

// The layer of "encoder.layers.3.norm1.gain" is 3; -1 for a parameter of no layer.
int64_t layer_of(const std::string& name);

}  // namespace engine
