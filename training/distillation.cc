#include "training/distillation.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <sstream>

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

void check(const DistillationConfig& config, Model& student, Model& teacher) {
  const int64_t outputs = student.head().outputs(), theirs = teacher.head().outputs();
  if (outputs != theirs)
    fail_usage("distillation.teacher predicts one of ", theirs,
               student.config().head == HeadKind::masked ? " tokens" : " classes", ", the model one of ", outputs);
  const int64_t width = student.config().hidden_size, their_width = teacher.config().hidden_size;
  if (config.cosine_weight > 0 && width != their_width)
    fail_usage("distillation.teacher has hidden states ", their_width, " wide, the model ", width, " wide, which the ",
               "cosine loss cannot compare: set distillation.cosine_weight = 0, or model.hidden_size = ", their_width);
  if (config.hard_weight + config.soft_weight + config.cosine_weight == 0)
    fail_usage("all weights of [distillation] are 0: there is nothing to learn");
}

}  // namespace

Distillation::Distillation(const DistillationConfig& config, Model& student, std::unique_ptr<Model> teacher,
                           std::unique_ptr<ScoreObjective> own)
    : config_(config),
      teacher_(std::move(teacher)),
      own_(std::move(own)),
      student_head_(student.head()),
      saved_(teacher_->make_saved()),
      arena_(student.parameters().memory(), 4096),
      totals_(arena_.make_zeros(DType::f32, {sums, 1})) {
  check(config, student, *teacher_);
}

void Distillation::prepare(const Run& run) { teacher_->parameters().pack(run.ops, run.compute); }

Tensor Distillation::run(Pass& pass, const Tensor& hidden, const DeviceBatch& batch, const LossRequest& request) {
  if (!request.gradients) return own_->run(pass, hidden, batch, request);
  const Taught taught = ask_teacher(pass, batch);
  const OutputRows scored = own_->rows_of(batch);
  HeadPass rows(pass, student_head_, hidden, scored, /*gradients=*/true);
  LossRequest hard = request;
  hard.gradient_scale *= config_.hard_weight;
  if (taught.logits)  // the mean of both columns
    hard.soft = {.logits = taught.logits,
                 .temperature = config_.temperature,
                 .totals = totals_.row_range(0, 2),
                 .gradient_scale = request.gradient_scale * config_.soft_weight / 2};
  own_->score(rows, batch, hard);
  if (taught.features) add_soft_loss(rows, taught.features, request.gradient_scale * config_.soft_weight);
  const Tensor dhidden = rows.backward();
  if (taught.hidden)
    pass.ops.cosine_loss({.x = hidden,
                          .y = taught.hidden,
                          .totals = totals_.row_range(2, 4),
                          .gradient_scale = request.token_scale * config_.cosine_weight,
                          .accumulate = true,
                          .dx = dhidden});
  return dhidden;
}

Distillation::Taught Distillation::ask_teacher(Pass& pass, const DeviceBatch& batch) {
  const Head& head = teacher_->head();
  const bool soft = config_.soft_weight > 0, cosine = config_.cosine_weight > 0;
  const OutputRows scored = own_->rows_of(batch);
  const bool all_rows = own_->reads_all_rows();
  Taught taught;
  if (soft && all_rows) taught.logits = pass.arena.make(DType::f32, {batch.tokens.ids.count(), head.outputs()});
  else if (soft) taught.features = pass.arena.make(pass.compute, {batch.labels.count(), head.projection->shape[1]});
  if (cosine)
    taught.hidden = pass.arena.make(DType::f32, {batch.tokens.ids.count(), teacher_->config().hidden_size});
  if (!soft && !cosine) return taught;
  const ArenaScope scope(pass.arena);
  Pass own(Run{.ops = pass.ops, .arena = pass.arena, .compute = pass.compute, .keep = false}, batch.layout);
  if (!cosine) own.outputs = scored;
  const Tensor hidden = teacher_->hidden_states(own, batch.tokens, *saved_);
  if (cosine) pass.ops.copy({.x = hidden, .y = taught.hidden});
  if (!soft) return taught;
  const Tensor features = HeadPass(own, head, hidden, scored, /*gradients=*/false).features;
  if (all_rows) head.project(own, features, taught.logits);
  else pass.ops.copy({.x = features, .y = taught.features});
  return taught;
}

void Distillation::add_soft_loss(HeadPass& student, const Tensor& teacher_features, float scale) {
  const Run& run = student.pass;
  Run of_teacher = run;
  of_teacher.keep = false;
  const int64_t rows = student.features.rows(), outputs = student.head.outputs();
  const Parameter& projection = *student.head.projection;
  // Computes two matrices of logits for some rows at a time.
  const int64_t chunk = rows_within(int64_t{48} << 20, rows, 2 * outputs * 4, 2048);
  for (int64_t begin = 0; begin < rows; begin += chunk) {
    const ArenaScope scope(run.arena);
    const int64_t end = std::min(rows, begin + chunk);
    const Tensor logits = run.arena.make(DType::f32, {end - begin, outputs});
    const Tensor targets = run.arena.make(DType::f32, {end - begin, outputs});
    const Tensor x = student.features.row_range(begin, end);
    student.head.project(run, x, logits);
    teacher_->head().project(of_teacher, teacher_features.row_range(begin, end), targets);
    run.ops.soft_cross_entropy({.logits = logits,
                                .targets = targets,
                                .temperature = config_.temperature,
                                .totals = totals_.row_range(0, 2),
                                .gradient_scale = scale,
                                .dlogits = logits});
    run.ops.matmul({.a = logits,
                    .b = projection.factor(run.compute),
                    .c = student.dfeatures.row_range(begin, end),
                    .accumulate = true,
                    .compute = run.compute});
    run.ops.matmul({.a = logits,
                    .b = x,
                    .c = run.gradients->sum(projection),
                    .transpose_a = true,
                    .accumulate = true,
                    .compute = run.compute,
                    .a_row_sums = student.head.bias ? run.gradients->sum(*student.head.bias) : Tensor{}});
  }
}

std::array<float, Distillation::sums> Distillation::read(Communicator& ranks) const {
  std::array<float, sums> values{};
  arena_.memory().copy_out(values.data(), totals_.data, sizeof values);
  ranks.sum(values);
  return values;
}

Metrics Distillation::log(Communicator& ranks) {
  const std::array<float, sums> values = read(ranks);
  Metrics metrics;
  const auto mean = [&](size_t at) { return static_cast<double>(values[at]) / static_cast<double>(values[at + 1]); };
  const double columns = own_->reads_all_rows() ? 2 : 1;
  if (values[1] > 0) metrics.emplace_back("soft_loss", mean(0) / columns);
  if (values[3] > 0) metrics.emplace_back("cosine_loss", mean(2));
  arena_.memory().zero(totals_.data, totals_.bytes());
  return metrics;
}

std::string Distillation::state(Communicator& ranks) const {
  std::ostringstream text;
  text.precision(9);  // enough digits to tell two floats apart
  for (const float value : read(ranks)) text << value << ' ';
  return text.str();
}

void Distillation::set_state(const std::string& text, const Communicator& ranks) {
  std::istringstream stream(text);
  std::array<float, sums> values{};
  if (ranks.is_first())  // the sums are those of all ranks
    for (float& value : values) stream >> value;
  arena_.memory().copy_in(totals_.data, values.data(), sizeof values);
}

namespace {

// Copies the positions that both tables have. A RoBERTa's table begins with rows that belong to none.
void copy_positions(Model& student, Parameter& to, Model& teacher, const Parameter& from) {
  const int64_t first = from.shape[0] - teacher.config().max_positions,
                ours = to.shape[0] - student.config().max_positions;
  const int64_t rows = std::min(from.shape[0] - first, to.shape[0] - ours);
  const Tensor shared = from.value.row_range(first, first + rows);
  std::vector<float> numbers(static_cast<size_t>(shared.count()));
  teacher.parameters().memory().copy_out(numbers.data(), shared.data, shared.bytes());
  student.parameters().write(to, ours * shared.cols(), shared.count(), numbers.data());
}

}  // namespace

void begin_with_layers(const std::vector<std::string>& layers, Ops& ops, Model& student, Model& teacher) {
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
      copy_positions(student, parameter, teacher, *from);
      continue;
    }
    if (!from || !(from->shape == parameter.shape))
      fail_usage("distillation.layers: the teacher's ", name, from ? " is " + from->shape.text() : " is not there",
                 ", the model's ", parameter.name, " is ", parameter.shape.text());
    student.parameters().write(ops, parameter, from->value);
  }
}

}  // namespace engine
