// One table holds a model's parameters. It drives allocation, initialisation, the optimizer, checkpoints and test
// names.
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

// The initial values of a parameter are a constant or a ramp, normal numbers of mean 0, uniform numbers, or sinusoids.
struct Initial {
  enum class Kind { constant, normal, xavier, sinusoids } kind = Kind::constant;
  float value = 0;  // constant, a ramp's first value, standard deviation, or number of stacked matrices
  float step = 0;   // of a ramp, from one value to the next

  static Initial zeros() { return {Kind::constant, 0}; }
  static Initial ones() { return {Kind::constant, 1}; }
  static Initial ramp(float first, float step) { return {Kind::constant, first, step}; }
  static Initial normal(float deviation) { return {Kind::normal, deviation}; }
  // Draws uniformly within +- sqrt(6 / (inputs + outputs)) (Glorot, Bengio 2010).
  static Initial xavier() { return {Kind::xavier, 1}; }
  // Writes sines and cosines of positions (write_sinusoids).
  static Initial sinusoids() { return {Kind::sinusoids, 0}; }
  // Serves `count` such matrices that are stacked in one parameter.
  Initial stacked(int count) const { return {kind, kind == Kind::xavier ? value * static_cast<float>(count) : value}; }
};

struct Parameter {
  std::string name;  // the engine's own, unique: "layers.3.attention.qkv.weight"
  Shape shape;       // a weight is [outputs, inputs]
  Initial initial;
  size_t index = 0;  // its place in the table

  Tensor value;                // f32, or bf16 by allocate(); changed by Parameters and the optimizer's update alone
  bool is_factor = false;      // read by products, as a Linear's weight or an output table
  bool is_linear = false;      // a Linear's weight, whose whole gradient is one product
  bool is_lookup = false;      // gradient added to by embedding_backward alone, at named rows
  bool is_tied = false;        // the head's projection, whose other gradients are lookups (Gradients::lookup)
  bool is_read_apart = false;  // a Linear's weight that is also read in parts or by another operation

  // Returns the matrix that a product in this precision reads, the bf16 copy where there is a current one, else the
  // value. Throws an Error where Parameters::pack has given back the value.
  const Tensor& factor(DType compute) const {
    if (!value) fail(name, " is packed, and nothing else is left of it");
    return compute == DType::bf16 && rounded_.tensor && rounded_.version == *version_ ? rounded_.tensor : value;
  }
  // Returns the value's transpose in matmul's own layout for this precision. It is absent unless Parameters::pack wrote
  // it since the last change.
  Tensor packed(DType compute) const { return packed_.current(compute, *version_); }
  // Returns the value itself in that layout, for the gradient of what a product reads. Only a Linear's weight has it.
  Tensor packed_for_backward(DType compute) const { return packed_for_backward_.current(compute, *version_); }
  // Returns the bf16 copy, which whoever changes the value also writes. It is absent unless Parameters::keep_rounded
  // made it.
  const Tensor& rounded() const { return rounded_.tensor; }
  // Weight decay acts on matrices, not on gains and biases.
  bool decays() const { return shape.rank >= 2; }

 private:
  friend class Parameters;
  struct Copy {
    Tensor tensor;
    uint64_t version = 0;  // version of its values
  };
  struct Packed : Copy {
    DType compute = DType::f32;
    Tensor current(DType wanted, uint64_t of) const { return wanted == compute && version == of ? tensor : Tensor{}; }
  };
  Copy rounded_;
  Packed packed_, packed_for_backward_;
  const uint64_t* version_ = nullptr;
};

// A dropout of the model has a rate, and a number made of its name that keeps its mask apart from every other's. So a
// new dropout leaves the masks of all others as they are.
struct DropoutSite {
  float rate = 0;
  uint32_t site = 0;
};

class Parameters {
 public:
  Parameter& add(std::string name, Shape shape, Initial initial);
  // Adds an f32 table that is neither trained nor saved. `fill` writes its values. The tensor has memory after
  // allocate().
  const Tensor& add_constant(Shape shape, std::function<void(float*)> fill);
  DropoutSite add_dropout(const std::string& name, float rate);

  // Makes memory for all values, in the order of the table, and for zeroed gradients where the model is trained. Values
  // are f32. In a model that is only read, `matrices` may be bf16: so are then those that products read and those from
  // which tokens are looked up.
  void allocate(Memory& memory, bool with_gradients, DType matrices = DType::f32);
  // Every value is a function of (seed, its name), so adding a parameter does not change how the others begin.
  void initialise(uint64_t seed);
  void initialise(Parameter& parameter, uint64_t seed);
  // Writes elements first ... first+count-1 of a value from f32 on the host (at any address), or those from `first` on
  // from the device.
  void write(Parameter& parameter, int64_t first, int64_t count, const void* numbers);
  void write(Ops& ops, Parameter& parameter, const Tensor& numbers, int64_t first = 0);

  // Counts the changes of any value. A packed or rounded copy of an older version is not read.
  uint64_t version() const { return *version_; }
  // Must be called after values were changed on the device. With copies_too, their bf16 copies were written with them.
  void values_changed(bool copies_too);

  // Serves training in bf16. From now on every factor has a bf16 copy, so that no product need round it. It does
  // nothing on the host's memory, since the CPU rounds as it packs.
  void keep_rounded(Ops& ops);

  // Serves many forward passes without an update between them. Lays every factor out as matmul reads it fastest, unless
  // that was done since the last change. In a model that is only read (its matrices are in bf16) it gives back the
  // host's memory of the weights that nothing else reads: their values are then absent.
  void pack(Ops& ops, DType compute);
  // Does so with the weights of every Linear for many forward and backward passes. It does nothing where the values are
  // not in the host's memory, since products there read the bf16 copies.
  void pack_for_training(Ops& ops, DType compute);
  size_t packed_bytes() const;  // of the memory that packing took

  // Returns the gradients. Throws an Error in a model that is not trained.
  Gradients& gradients();
  bool has_gradients() const { return gradients_ != nullptr; }

  std::deque<Parameter>& all() { return all_; }
  const std::deque<Parameter>& all() const { return all_; }
  size_t size() const { return all_.size(); }
  Parameter& at(const std::string& name);
  Parameter* find(const std::string& name);             // or nullptr
  int64_t count() const;                                // scalars
  int64_t layers() const;                               // of the tallest stack of blocks
  Memory& memory() const { return values_->memory(); }  // memory of the values

 private:
  struct Constant {
    Tensor value;
    std::function<void(float*)> fill;
  };
  std::deque<Parameter> all_;  // a deque, since layers hold pointers into it
  std::deque<Constant> constants_;
  std::set<uint32_t> sites_;
  std::unique_ptr<uint64_t> version_ = std::make_unique<uint64_t>(1);  // every parameter points to it
  // Packs the parameters that `is_wanted` into `arena`.
  void pack_into(Ops& ops, DType compute, bool transposed, std::unique_ptr<Arena>& arena, bool Parameter::*is_wanted,
                 Parameter::Packed Parameter::*copy);

  std::unique_ptr<Arena> values_, packed_, packed_for_backward_, rounded_;
  std::unique_ptr<Gradients> gradients_;
};

// Returns 3 for "encoder.layers.3.norm1.gain", and -1 for a parameter of no layer.
int64_t layer_of(const std::string& name);

}  // namespace engine
