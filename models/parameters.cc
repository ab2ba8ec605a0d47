#include "models/parameters.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <vector>

#include "core/arena_room.h"
#include "core/hash.h"
#include "core/parallel.h"
#include "models/positions.h"

namespace engine {

Parameter& Parameters::add(std::string name, Shape shape, Initial initial) {
  for (const Parameter& other : all_) require(other.name != name, "two parameters are named ", name);
  Parameter& parameter = all_.emplace_back();
  parameter.name = std::move(name);
  parameter.shape = shape;
  parameter.initial = initial;
  parameter.index = all_.size() - 1;
  parameter.version_ = version_.get();
  return parameter;
}

const Tensor& Parameters::add_constant(Shape shape, std::function<void(float*)> fill) {
  return constants_.emplace_back(Constant{{nullptr, DType::f32, shape}, std::move(fill)}).value;
}

DropoutSite Parameters::add_dropout(const std::string& name, float rate) {
  const uint64_t hash = hash_of(name);
  const auto site = static_cast<uint32_t>(hash ^ hash >> 32);
  require(sites_.insert(site).second, "two dropouts are named ", name, ", or their names have the same hash");
  return {rate, site};
}

void Parameters::allocate(Memory& memory, bool with_gradients, DType matrices) {
  require(!with_gradients || matrices == DType::f32, "a model that is trained needs its values in f32");
  const auto dtype_of = [&](const Parameter& p) { return p.is_factor || p.is_lookup ? matrices : DType::f32; };
  size_t bytes = 0;
  for (const Parameter& p : all_) bytes += arena_room(static_cast<size_t>(p.shape.count()) * size_of(dtype_of(p)));
  for (const Constant& c : constants_) bytes += arena_room(c.value.bytes());
  values_ = std::make_unique<Arena>(memory, bytes);
  for (Parameter& p : all_) p.value = values_->make(dtype_of(p), p.shape);
  if (with_gradients) gradients_ = std::make_unique<Gradients>(memory, all_);
  std::vector<float> host;
  for (Constant& constant : constants_) {
    constant.value = values_->make(DType::f32, constant.value.shape);
    host.resize(static_cast<size_t>(constant.value.count()));
    constant.fill(host.data());
    memory.copy_in(constant.value.data, host.data(), constant.value.bytes());
  }
}

Gradients& Parameters::gradients() {
  require(has_gradients(), "the model has no gradients: it was not made to be trained");
  return *gradients_;
}

void Parameters::initialise(uint64_t seed) {
  for (Parameter& p : all_) initialise(p, seed);
}

void Parameters::initialise(Parameter& p, uint64_t seed) {
  std::vector<float> host(static_cast<size_t>(p.shape.count()));
  for (size_t i = 0; i < host.size(); ++i) host[i] = p.initial.value + p.initial.step * static_cast<float>(i);
  // Draws are cut into pieces by shape. `each` numbers of the sequence make one value.
  const auto drawn = [&](uint64_t each, const auto& draw) {
    parallel_chunks(p.shape.count(), 1 << 14, [&](int64_t begin, int64_t end) {
      Random random(seed, hash_of(p.name));
      random.seek(static_cast<uint64_t>(begin) * each);
      for (int64_t i = begin; i < end; ++i) host[static_cast<size_t>(i)] = draw(random);
    });
  };
  if (p.initial.kind == Initial::Kind::normal)
    drawn(2, [&](Random& random) { return p.initial.value * random.normal(); });
  if (p.initial.kind == Initial::Kind::xavier) {
    const float outputs = static_cast<float>(p.shape[0]) / p.initial.value, inputs = static_cast<float>(p.shape[1]);
    const float bound = std::sqrt(6 / (outputs + inputs));
    drawn(1, [&](Random& random) { return bound * (2 * random.uniform() - 1); });
  }
  if (p.initial.kind == Initial::Kind::sinusoids) write_sinusoids(host.data(), p.shape[0], p.shape[1]);
  write(p, 0, p.shape.count(), host.data());
}

void Parameters::write(Parameter& p, int64_t first, int64_t count, const void* numbers) {
  const auto size = static_cast<size_t>(count);
  const bool is_rounded = p.value.dtype == DType::bf16;
  if (!is_rounded) memory().copy_in(p.value.as<float>() + first, numbers, size * sizeof(float));
  if (is_rounded || p.rounded()) {
    std::vector<bf16> rounded(size);
    for (size_t i = 0; i < size; ++i) {
      float number;
      std::memcpy(&number, static_cast<const char*>(numbers) + i * sizeof number, sizeof number);
      rounded[i] = bf16(number);
    }
    const Tensor& to = is_rounded ? p.value : p.rounded();
    memory().copy_in(to.as<bf16>() + first, rounded.data(), size * sizeof(bf16));
  }
  values_changed(/*copies_too=*/true);
}

void Parameters::write(Ops& ops, Parameter& p, const Tensor& numbers, int64_t first) {
  const auto part = [&](const Tensor& whole) {
    return whole.reshaped({whole.count(), 1}).row_range(first, first + numbers.count()).reshaped(numbers.shape);
  };
  ops.copy({.x = numbers, .y = part(p.value)});
  if (p.rounded()) ops.copy({.x = part(p.value), .y = part(p.rounded())});
  values_changed(/*copies_too=*/true);
}

void Parameters::values_changed(bool copies_too) {
  const uint64_t before = (*version_)++;
  if (!copies_too) return;
  for (Parameter& p : all_)
    if (p.rounded_.version == before) p.rounded_.version = version();
}

void Parameters::keep_rounded(Ops& ops) {
  if (&memory() == &host_memory()) return;
  if (!rounded_) {
    size_t bytes = 0;
    for (const Parameter& p : all_)
      if (p.is_factor) bytes += arena_room(static_cast<size_t>(p.shape.count()) * sizeof(bf16));
    rounded_ = std::make_unique<Arena>(memory(), bytes);
  }
  for (Parameter& p : all_) {
    if (!p.is_factor || (p.rounded() && p.rounded_.version == version())) continue;
    if (!p.rounded()) p.rounded_.tensor = rounded_->make(DType::bf16, p.shape);
    ops.copy({.x = p.value, .y = p.rounded()});
    p.rounded_.version = version();
  }
}

void Parameters::pack_into(Ops& ops, DType compute, bool transposed, std::unique_ptr<Arena>& arena,
                           bool Parameter::*is_wanted, Parameter::Packed Parameter::*copy) {
  // Copies that are current stay as they are: memory that an arena gives out again has no contents to rely on.
  const auto is_current = [&](const Parameter& p) { return !(p.*is_wanted) || (p.*copy).current(compute, version()); };
  if (std::all_of(all_.begin(), all_.end(), is_current)) return;
  const auto bytes_of = [&](const Parameter& p) {
    const auto [k, n] = transposed ? std::pair{p.shape[1], p.shape[0]} : std::pair{p.shape[0], p.shape[1]};
    return ops.packed_bytes(k, n, compute);
  };
  if (!arena) {
    size_t bytes = 0;
    for (const Parameter& p : all_)
      if (p.is_factor) bytes += arena_room(bytes_of(p));
    arena = std::make_unique<Arena>(ops.memory(), bytes);
  }
  const ArenaScope from_the_start(*arena);
  for (Parameter& p : all_) {
    if (!(p.*is_wanted)) continue;
    const Tensor packed = arena->make(DType::u8, {static_cast<int64_t>(bytes_of(p))});
    ops.pack_matrix({.b = p.factor(compute), .transpose_b = transposed, .compute = compute, .packed = packed});
    p.*copy = {{packed, version()}, compute};
    const bool is_needed = p.value.dtype == DType::f32 || !p.is_linear || p.is_read_apart || ops.reads_unpacked();
    if (!is_needed && memory().give_back(p.value.data, p.value.bytes())) p.value.data = nullptr;
  }
}

void Parameters::pack(Ops& ops, DType compute) {
  pack_into(ops, compute, /*transposed=*/true, packed_, &Parameter::is_factor, &Parameter::packed_);
}

void Parameters::pack_for_training(Ops& ops, DType compute) {
  if (&memory() != &host_memory()) return;
  pack_into(ops, compute, /*transposed=*/true, packed_, &Parameter::is_linear, &Parameter::packed_);
  pack_into(ops, compute, /*transposed=*/false, packed_for_backward_, &Parameter::is_linear,
            &Parameter::packed_for_backward_);
}

size_t Parameters::packed_bytes() const {
  return (packed_ ? packed_->peak() : 0) + (packed_for_backward_ ? packed_for_backward_->peak() : 0);
}

Parameter* Parameters::find(const std::string& name) {
  for (Parameter& p : all_)
    if (p.name == name) return &p;
  return nullptr;
}

Parameter& Parameters::at(const std::string& name) {
  Parameter* const found = find(name);
  if (!found) fail("the model has no parameter ", name);
  return *found;
}

int64_t Parameters::layers() const {
  int64_t layers = 0;
  for (const Parameter& p : all_) layers = std::max(layers, layer_of(p.name) + 1);
  return layers;
}

int64_t layer_of(const std::string& name) {
  const std::string_view part = "layers.";
  const size_t at = name.find(part);
  if (at == std::string::npos || (at > 0 && name[at - 1] != '.')) return -1;
  int64_t layer = -1;
  std::from_chars(name.data() + at + part.size(), name.data() + name.size(), layer);
  return layer;
}

int64_t Parameters::count() const {
  int64_t count = 0;
  for (const Parameter& p : all_) count += p.shape.count();
  return count;
}

}  // namespace engine
