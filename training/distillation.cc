#include "training/distillation.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <sstream>

#include "core/ranks.h"
#include "kernels/losses/cross_entropy.h"

namespace engine {

void DistillationConfig::declare(Options& options) {
  const auto learns = [this] { return !teacher.empty(); };
  const std::string model = "a model in distillation.teacher";
  options.add("distillation.teacher", teacher, any_value(),
              "a model folder or a run's, of the same task and vocabulary, which the model learns from; empty: none");
  options.add("distillation.layers", layers,
              "layers of the teacher, from 0, that a new model's begin with, such as \"0,2,4\"; its embeddings, too")
      .needs(learns, model);
  options.add("distillation.temperature", temperature, above(0), "temperature of both models' logits in the soft loss")
      .needs(learns, model);
  options.add("distillation.hard_weight", hard_weight, at_least(0),
              "weight of the task's own loss")
      .needs(learns, model);
  options.add("distillation.soft_weight", soft_weight, at_least(0), "weight of the loss against the teacher's logits")
      .needs(learns, model);
  options.add("distillation.cosine_weight", cosine_weight, at_least(0),
              "weight of the loss against the teacher's hidden states, which needs models of one width")
      .needs(learns, model);
}

namespace {

void check(const DistillationConfig& config, EncoderModel& student, EncoderModel& teacher, int64_t longest) {
  const int64_t outputs = student.output_projection().shape[0], theirs = teacher.output_projection().shape[0];
  if (outputs != theirs)
    fail_usage("distillation.teacher predicts one of ", theirs,
               student.config().head == Head::masked ? " tokens" : " classes", ", the model one of ", outputs);
  const int64_t width = student.config().hidden_size, their_width = teacher.config().hidden_size;
  if (config.cosine_weight > 0 && width != their_width)
    fail_usage("distillation.teacher has hidden states ", their_width, " wide, the model ", width, " wide, which the ",
               "cosine loss cannot compare: set distillation.cosine_weight = 0, or model.hidden_size = ", their_width);
  if (teacher.config().max_positions < longest)
    fail_usage("distillation.teacher has only ", teacher.config().max_positions, " positions, a sequence up to ",
               longest, " tokens: set data.block_size to ", teacher.config().max_positions, " or less");
  if (config.hard_weight + config.soft_weight + config.cosine_weight == 0)
    fail_usage("all weights of [distillation] are 0: there is nothing to learn");
}

}  // namespace

Distillation::Distillation(const DistillationConfig& config, EncoderModel& student,
                           std::unique_ptr<EncoderModel> teacher, int64_t longest)
    : config_(config),
      student_(student),
      teacher_(std::move(teacher)),
      saved_(teacher_->make_saved()),
      arena_(student.parameters().memory(), 4096),
      totals_(arena_.make_zeros(DType::f32, {sums, 1})) {
  check(config, student, *teacher_, longest);
}

void Distillation::run(LossStep& step, Pass& pass, const SequenceBatch& batch, int64_t first, int64_t last,
                       float gradient_scale, const Tensor& totals) {
  if (packed_for_ != pass.compute) teacher_->parameters().pack(pass.ops, pass.compute);
  packed_for_ = pass.compute;
  soft_scale_ = gradient_scale * config_.soft_weight;
  // gradient_scale is that of a sum over scored rows.
  const auto scored = static_cast<float>(batch.scored()), tokens = static_cast<float>(batch.tokens.size());
  cosine_scale_ = gradient_scale * config_.cosine_weight * scored / tokens;
  step.learn_from(*this);
  step.run(pass, batch, first, last, gradient_scale * config_.hard_weight, totals);
}

void Distillation::begin(Pass& pass, const Tokens& tokens, const Tensor& scored_rows) {
  Parameter& projection = teacher_->output_projection();
  const bool soft = config_.soft_weight > 0, cosine = config_.cosine_weight > 0;
  teacher_features_ =
      soft ? pass.arena.make(pass.compute, {scored_rows.count(), projection.shape[1]}) : Tensor{};
  teacher_hidden_ =
      cosine ? pass.arena.make(DType::f32, {tokens.ids.count(), teacher_->config().hidden_size}) : Tensor{};
  if (!soft && !cosine) return;
  const ArenaScope scope(pass.arena);
  Pass own{.ops = pass.ops, .arena = pass.arena, .compute = pass.compute, .segments = pass.segments, .keep = false};
  const Tensor hidden = teacher_->forward(own, tokens, *saved_);
  if (cosine) pass.ops.copy({.x = hidden, .y = teacher_hidden_});
  if (soft)
    pass.ops.copy({.x = teacher_->head_forward(own, rows_of(own, hidden, scored_rows), *saved_),
                   .y = teacher_features_});
}

void Distillation::add_at_features(Pass& pass, const Tensor& features, const Tensor& dfeatures) {
  if (!teacher_features_) return;
  Parameter& projection = student_.output_projection();
  Parameter* const bias = student_.output_bias();
  const int64_t rows = features.rows(), outputs = projection.shape[0];
  // Two matrices of logits, some rows at a time.
  const int64_t chunk = rows_within(int64_t{48} << 20, rows, 2 * outputs * 4, 2048);
  for (int64_t begin = 0; begin < rows; begin += chunk) {
    const ArenaScope scope(pass.arena);
    const int64_t end = std::min(rows, begin + chunk);
    const Tensor logits = pass.arena.make(DType::f32, {end - begin, outputs});
    const Tensor targets = pass.arena.make(DType::f32, {end - begin, outputs});
    const Tensor x = features.row_range(begin, end);
    project(pass, student_, x, logits);
    project(pass, *teacher_, teacher_features_.row_range(begin, end), targets);
    pass.ops.soft_cross_entropy({.logits = logits,
                                 .targets = targets,
                                 .temperature = config_.temperature,
                                 .totals = totals_.row_range(0, 2),
                                 .gradient_scale = soft_scale_,
                                 .dlogits = logits});
    pass.ops.matmul({.a = logits,
                     .b = projection.factor(pass.compute),
                     .c = dfeatures.row_range(begin, end),
                     .accumulate = true,
                     .compute = pass.compute});
    pass.ops.matmul({.a = logits,
                     .b = x,
                     .c = projection.gradient_to_add_to(),
                     .transpose_a = true,
                     .accumulate = true,
                     .compute = pass.compute,
                     .a_row_sums = bias ? bias->gradient : Tensor{}});
  }
}

void Distillation::add_at_hidden(Pass& pass, const Tensor& hidden, const Tensor& dhidden) {
  if (!teacher_hidden_) return;
  pass.ops.cosine_loss({.x = hidden,
                        .y = teacher_hidden_,
                        .totals = totals_.row_range(2, 4),
                        .gradient_scale = cosine_scale_,
                        .accumulate = true,
                        .dx = dhidden});
}

std::array<float, Distillation::sums> Distillation::read() const {
  std::array<float, sums> values{};
  arena_.memory().copy_out(values.data(), totals_.data, sizeof values);
  sum_over_ranks(values);
  return values;
}

Metrics Distillation::log() {
  const std::array<float, sums> values = read();
  Metrics metrics;
  const auto mean = [&](size_t at) { return static_cast<double>(values[at]) / static_cast<double>(values[at + 1]); };
  if (values[1] > 0) metrics.emplace_back("soft_loss", mean(0));
  if (values[3] > 0) metrics.emplace_back("cosine_loss", mean(2));
  arena_.memory().zero(totals_.data, totals_.bytes());
  return metrics;
}

std::string Distillation::state() const {
  std::ostringstream text;
  text.precision(9);  // as many digits as tell two floats apart
  for (const float value : read()) text << value << ' ';
  return text.str();
}

void Distillation::set_state(const std::string& text) {
  std::istringstream stream(text);
  std::array<float, sums> values{};
  if (is_first_rank())  // they are sums over all ranks
    for (float& value : values) stream >> value;
  arena_.memory().copy_in(totals_.data, values.data(), sizeof values);
}

void begin_with_layers(const std::vector<std::string>& layers, Ops& ops, EncoderModel& student, EncoderModel& teacher) {
  const int64_t count = student.config().num_layers, theirs = teacher.config().num_layers;
  if (static_cast<int64_t>(layers.size()) != count)
    fail_usage("distillation.layers names ", layers.size(), " layers of the teacher, the model has ", count);
  for (const std::string& layer : layers) {
    int64_t number = -1;
    std::from_chars(layer.data(), layer.data() + layer.size(), number);
    if (std::to_string(number) != layer || number < 0 || number >= theirs)
      fail_usage("distillation.layers names \"", layer, "\": the teacher has the layers 0 to ", theirs - 1);
  }
  for (Parameter& parameter : student.parameters().all()) {
    std::string name = parameter.name;
    const std::string prefix = "layers.";
    if (name.starts_with(prefix)) {
      const size_t end = name.find('.', prefix.size());
      const auto layer = static_cast<size_t>(std::stoul(name.substr(prefix.size(), end - prefix.size())));
      name = prefix + layers[layer] + name.substr(end);
    } else if (!name.starts_with("embedding.") && !name.starts_with("masked_head.")) {
      continue;
    }
    const Parameter* const from = teacher.parameters().find(name);
    if (from && name == "embedding.positions" && from->shape[1] == parameter.shape[1]) {
      const int64_t rows = std::min(from->shape[0], parameter.shape[0]);
      const Tensor shared = from->value.row_range(0, rows);
      std::vector<float> numbers(static_cast<size_t>(shared.count()));
      teacher.parameters().memory().copy_out(numbers.data(), shared.data, shared.bytes());
      student.parameters().write(parameter, 0, shared.count(), numbers.data());
      continue;
    }
    if (!from || !(from->shape == parameter.shape))
      fail_usage("distillation.layers: the teacher's ", name, from ? " is " + from->shape.text() : " is not there",
                 ", the model's ", parameter.name, " is ", parameter.shape.text());
    student.parameters().write(ops, parameter, from->value);
  }
}

}  // namespace engine
