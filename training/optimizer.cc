#include "training/optimizer.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "core/arena_room.h"
#include "core/hash.h"
#include "training/rate_scales.h"

namespace engine {

size_t Optimizer::bytes() const {
  size_t bytes = arena_room(sizeof(float)) + arena_room(sizeof(int32_t)) + 2 * arena_room(sizeof(AdamWFactors));
  for (const Parameter& p : parameters_.all())
    bytes += 2 * arena_room(static_cast<size_t>(shards_.count(p)) * sizeof(float));
  return bytes;
}

Optimizer::Optimizer(Ops& ops, Parameters& parameters, const TrainingConfig& config, DType compute,
                     Communicator* ranks)
    : ops_(ops),
      parameters_(parameters),
      config_(config),
      ranks_(ranks),
      shards_(parameters, config, ranks),
      norm_(ops, parameters, shards_, ranks, config.max_tensor_norm),
      arena_(ops.memory(), bytes()) {
  const std::vector<float> scales = rate_scales(parameters, config);
  if (compute == DType::bf16) parameters.keep_rounded(ops);
  const bool on_host = &ops.memory() == &host_memory();
  Gradients& gradients = parameters.gradients();
  for (const Parameter& p : parameters.all()) {
    const float scale = scales[p.index];
    const Tensor& gradient = gradients.read(p);
    const Tensor value = shards_.own(p, p.value);
    // A sum over the ranks leaves anything beside a shard, which then counts as 0 like a linear layer's gradient.
    const bool becomes_stale = on_host && (p.is_linear || (shards_.is_divided() && !p.is_lookup));
    tensors_.push_back({.value = value,
                        .gradient = shards_.own(p, gradient),
                        .m = arena_.make_zeros(DType::f32, value.shape),
                        .v = arena_.make_zeros(DType::f32, value.shape),
                        .learning_rate_scale = scale,
                        .decays = p.decays(),
                        .keeps_gradient = becomes_stale,
                        .touched_blocks = shards_.own_blocks(p, gradients.touched_blocks(p)),
                        .rounded = shards_.own(p, p.rounded())});
    if (becomes_stale) kept_.push_back(&p);
    if (scale > 0) norm_.add(p, gradient);
    else if (!becomes_stale) frozen_.push_back(gradient);
  }
  norm_squared_ = arena_.make_zeros(DType::f32, {1});
  failed_ = arena_.make_zeros(DType::i32, {1});
  for (Group& group : groups_) group.factors = arena_.make(DType::u8, {sizeof(AdamWFactors)});
  group_tensors(0, {});
}

std::vector<StateTensor> Optimizer::state() const {
  std::vector<StateTensor> state;
  for (const Parameter& p : parameters_.all()) {
    state.push_back({"m", &p, tensors_[p.index].m, shards_.is_divided(), shards_.begin(p)});
    state.push_back({"v", &p, tensors_[p.index].v, shards_.is_divided(), shards_.begin(p)});
  }
  return state;
}

void Optimizer::mark_moments(const AdamWTensor& tensor) {
  if (!tensor.touched_blocks) return;
  std::vector<uint8_t> touched(tensor.touched_blocks.bytes());
  std::vector<float> moments(static_cast<size_t>(tensor.m.count()));
  for (const Tensor& of : {tensor.m, tensor.v}) {
    arena_.memory().copy_out(moments.data(), of.data, of.bytes());
    for (size_t i = 0; i < moments.size(); ++i)
      if (moments[i] != 0) touched[i / TouchedBlocks::block] = TouchedBlocks::moments;
  }
  arena_.memory().copy_in(tensor.touched_blocks.data, touched.data(), touched.size());
}

void Optimizer::set_steps_before(int64_t steps, const std::vector<std::string>& fresh) {
  group_tensors(steps, fresh);
  for (const AdamWTensor& tensor : tensors_) mark_moments(tensor);
}

void Optimizer::group_tensors(int64_t steps, const std::vector<std::string>& fresh) {
  for (Group& group : groups_) group.tensors.clear();
  groups_[1].steps_before = steps;
  for (const Parameter& p : parameters_.all()) {
    const AdamWTensor& tensor = tensors_[p.index];
    const bool is_old = steps > 0 && std::find(fresh.begin(), fresh.end(), p.name) == fresh.end();
    if (tensor.learning_rate_scale > 0 && tensor.value.count() > 0) groups_[is_old ? 1 : 0].tensors.push_back(tensor);
  }
}

void Optimizer::zero_stale() {
  for (const Parameter* p : kept_) parameters_.gradients().read(*p);
}

void Optimizer::start_sum(const Parameter& parameter) const {
  if (!ranks_ || is_frozen(parameter)) return;
  Gradients& gradients = parameters_.gradients();
  const Tensor& gradient = gradients.read(parameter);
  const std::span<float> numbers(gradient.as<float>(), static_cast<size_t>(gradient.count()));
  if (!shards_.is_divided()) ranks_->start_sum(numbers, sum_order(config_));
  else ranks_->start_reduce_scatter(numbers, shards_.begins_of_ranks(parameter, 1), sum_order(config_));
  start_sum_of_blocks(parameter);
}

void Optimizer::start_sum_of_blocks(const Parameter& parameter) const {
  if (!ranks_ || is_frozen(parameter)) return;
  if (const Tensor& touched = parameters_.gradients().touched_blocks(parameter))
    ranks_->start_or(std::span(touched.as<uint8_t>(), touched.bytes()));
}

void Optimizer::clip_and_measure_norm() {
  zero_stale();
  norm_.clip_and_measure(norm_squared_);
}

float Optimizer::gradient_norm() const {
  float squared = 0;
  arena_.memory().copy_out(&squared, norm_squared_.data, sizeof squared);
  return std::sqrt(squared);
}

AdamWArgs Optimizer::arguments(const Group& group, float learning_rate, int64_t step) const {
  return {.tensors = group.tensors,
          .learning_rate = learning_rate,
          .beta1 = config_.adam_beta1,
          .beta2 = config_.adam_beta2,
          .epsilon = config_.adam_epsilon,
          .weight_decay = config_.weight_decay,
          .step = step + group.steps_before};
}

void Optimizer::update(float learning_rate, int64_t step, const Tensor& loss, bool has_norm) {
  update_groups(learning_rate, step, loss, has_norm, /*is_captured=*/false);
}

void Optimizer::update_groups(float learning_rate, int64_t step, const Tensor& loss, bool has_norm, bool is_captured) {
  zero_stale();
  for (const Group& group : groups_) {
    if (group.tensors.empty()) continue;
    AdamWArgs args = arguments(group, learning_rate, step);
    args.norm_squared = has_norm ? norm_squared_ : Tensor{};
    args.max_norm = has_norm ? config_.max_grad_norm : 0;
    args.loss = loss;
    args.failed = failed_;
    if (is_captured) args.factors = group.factors;
    ops_.adamw(args);
  }
  for (const Tensor& gradient : frozen_) arena_.memory().zero(gradient.data, gradient.bytes());
  for (const Parameter* p : kept_) parameters_.gradients().set_stale(*p);
  if (shards_.is_divided()) {
    for (const Parameter& p : parameters_.all()) {
      if (is_frozen(p)) continue;
      shards_.start_gather(p);
      if (!tensors_[p.index].keeps_gradient) zero_outside_shard(p);
    }
    ranks_->wait();
  }
  parameters_.values_changed(/*copies_too=*/true);
}

void Optimizer::zero_outside_shard(const Parameter& parameter) {
  Memory& memory = arena_.memory();
  Gradients& gradients = parameters_.gradients();
  const Tensor &gradient = gradients.read(parameter), &touched = gradients.touched_blocks(parameter);
  constexpr int64_t block = TouchedBlocks::block;
  const bool knows_blocks = touched && &memory == &host_memory();
  const auto zero = [&](int64_t begin, int64_t end) {
    const int64_t at_once = knows_blocks ? block : gradient.count();
    for (int64_t at = begin, next; at < end; at = next) {
      next = std::min(at + at_once, end);
      if (knows_blocks && touched.as<uint8_t>()[at / block] == 0) continue;
      memory.zero(gradient.as<float>() + at, static_cast<size_t>(next - at) * sizeof(float));
      const auto blocks = static_cast<size_t>(TouchedBlocks::count(next - at));
      if (touched) memory.zero(touched.as<uint8_t>() + at / block, blocks);
    }
  };
  zero(0, shards_.begin(parameter));
  zero(shards_.end(parameter), gradient.count());
}

void Optimizer::measure_and_update(float learning_rate, int64_t step, const Tensor& loss) {
  if (!norm_.can_be_captured()) {
    clip_and_measure_norm();
    return update(learning_rate, step, loss);
  }
  for (const Group& group : groups_) {
    if (group.tensors.empty()) continue;
    const AdamWFactors factors = adamw_factors(arguments(group, learning_rate, step));
    arena_.memory().copy_in(group.factors.data, &factors, sizeof factors);
  }
  // The kernels and their addresses follow from these.
  const std::array<const void*, 2> addresses{norm_squared_.data, loss.data};
  const std::array<size_t, 2> sizes{groups_[0].tensors.size(), groups_[1].tensors.size()};
  const uint64_t of_addresses = hash_of({reinterpret_cast<const char*>(addresses.data()), sizeof addresses});
  const auto work = [&] {
    clip_and_measure_norm();
    update_groups(learning_rate, step, loss, /*has_norm=*/true, /*is_captured=*/true);
  };
  ops_.run_captured(hash_of({reinterpret_cast<const char*>(sizes.data()), sizeof sizes}, of_addresses), std::ref(work));
}

}  // namespace engine
