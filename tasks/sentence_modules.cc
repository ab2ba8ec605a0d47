#include "tasks/sentence_modules.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/safetensors.h"
#include "models/layers.h"

namespace engine {

namespace {

void normalise(float* vector, int64_t width) {
  double squares = 0;
  for (int64_t i = 0; i < width; ++i) squares += static_cast<double>(vector[i]) * static_cast<double>(vector[i]);
  const float factor = static_cast<float>(1 / std::max(std::sqrt(squares), 1e-12));
  for (int64_t i = 0; i < width; ++i) vector[i] *= factor;
}

Tensor load(const Safetensors& file, const std::string& path, const std::string& name, const Shape& shape,
            Arena& arena) {
  const Safetensors::Entry& entry = file.at(name);
  const std::vector<int64_t> wanted(shape.sizes.begin(), shape.sizes.begin() + shape.rank);
  if (entry.shape != wanted)
    fail(path, ": tensor ", name, " has other sizes than ", shape.text(), ", which config.json beside it gives");
  const std::vector<float> values = file.floats(name);
  const Tensor tensor = arena.make(DType::f32, shape);
  arena.memory().copy_in(tensor.data, values.data(), tensor.bytes());
  return tensor;
}

}  // namespace

SentenceModules::SentenceModules(const std::vector<SentenceConfig::Module>& modules, int64_t width, Arena& arena)
    : width_(width) {
  for (const SentenceConfig::Module& module : modules) {
    Step& step = steps_.emplace_back();
    if (module.dense.empty()) continue;
    const std::string path = module.dense.string();
    if (module.inputs != width_)
      fail((module.dense.parent_path() / "config.json").string(), ": \"in_features\" is ", module.inputs,
           ", but the vectors before it have ", width_, " numbers");
    const Safetensors file = Safetensors::open(module.dense);
    step.weight = load(file, path, "linear.weight", {module.outputs, module.inputs}, arena);
    if (module.has_bias) step.bias = load(file, path, "linear.bias", {module.outputs}, arena);
    step.adds_input = module.has_residual && module.inputs == module.outputs;
    if (module.has_residual && !step.adds_input)
      step.residual = load(file, path, "residual.weight", {module.outputs, module.inputs}, arena);
    if (!module.activation.empty()) step.activation = activation_named(module.activation);
    width_ = module.outputs;
  }
}

void SentenceModules::run_dense(const Step& step, Ops& ops, Arena& arena, int64_t count,
                                std::vector<float>& rows) const {
  const ArenaScope scope(arena);
  const Tensor x = arena.make(DType::f32, {count, step.weight.cols()});
  const Tensor y = arena.make(DType::f32, {count, step.weight.rows()});
  arena.memory().copy_in(x.data, rows.data(), x.bytes());
  ops.matmul({.a = x,
              .b = step.weight,
              .c = y,
              .transpose_b = true,
              .bias = step.bias,
              .activation = step.activation});
  if (step.residual) ops.matmul({.a = x, .b = step.residual, .c = y, .transpose_b = true, .accumulate = true});
  const std::vector<float> before = step.adds_input ? rows : std::vector<float>();
  rows.resize(static_cast<size_t>(y.count()));
  arena.memory().copy_out(rows.data(), y.data, y.bytes());
  for (size_t i = 0; i < before.size(); ++i) rows[i] += before[i];
}

void SentenceModules::apply(Ops& ops, Arena& arena, int64_t count, std::vector<float>& rows) const {
  for (const Step& step : steps_) {
    if (step.weight) {
      run_dense(step, ops, arena, count, rows);
      continue;
    }
    const auto width = static_cast<int64_t>(rows.size()) / std::max<int64_t>(count, 1);
    for (int64_t i = 0; i < count; ++i) normalise(rows.data() + i * width, width);
  }
}

}  // namespace engine
