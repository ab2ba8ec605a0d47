#include "tasks/encoder_task.h"

#include <algorithm>
#include <numeric>

#include "core/activity.h"
#include "core/error.h"
#include "core/files.h"
#include "tasks/language_model.h"
#include "text/normalizer.h"
#include "training/machine.h"
#include "training/state.h"

namespace engine {

namespace {

const char* const distillation_file = "distillation.txt";  // in the task's part of a state

}  // namespace

std::string text_of_classes(const std::vector<std::string>& labels) {
  std::string text;
  for (const std::string& label : labels) text += (text.empty() ? "" : ", ") + label;
  return "(" + text + ")";
}

bool are_same_classes(const std::vector<std::string>& ours, const std::vector<std::string>& theirs) {
  if (ours.size() != theirs.size()) return false;
  for (size_t i = 0; i < ours.size(); ++i)
    if (theirs[i] != "LABEL_" + std::to_string(i) && in_lower_case(theirs[i]) != in_lower_case(ours[i])) return false;
  return true;
}

void add_teacher(Encoder& encoder, const DistillationConfig& distillation, const Config& config, Ops& ops,
                 std::optional<LongestSequence> longest) {
  if (distillation.teacher.empty()) return;
  const std::filesystem::path folder = open_run(distillation.teacher).model;
  const ModelConfig& student = encoder.model->config();
  const std::string& name = distillation.teacher;
  if (read_model_config(folder).head != student.head)
    fail_usage("distillation.teacher \"", name, "\" is a model for another task than ", config.task);
  if (first_difference(*load_tokenizer(folder), *encoder.tokenizer) >= 0)
    fail_usage("distillation.teacher \"", name, "\" has another vocabulary than the model: set data.tokenizer = \"",
               folder.string(), "\"");
  // Layers that a student begins with are taken as they are.
  const DType matrices = distillation.layers.empty() ? matrices_for(Use::prediction, config, ops) : DType::f32;
  auto teacher =
      load_model(folder, ops.memory(), /*with_gradients=*/false, {.kinds = encoder_kinds, .matrices = matrices});
  if (student.head == HeadKind::classification && !are_same_classes(student.labels, teacher->config().labels))
    fail_usage("distillation.teacher \"", name, "\" has ", teacher->config().labels.size(),
               " classes, other ones than task ", config.task, ": ",
               text_of_classes(teacher->config().labels), ", not ",
               text_of_classes(student.labels));
  if (!distillation.layers.empty()) {
    if (!config.init.empty())
      fail_usage("distillation.layers begins a new model, init is there already: leave one of them out");
    begin_with_layers(distillation.layers, ops, *encoder.model, *teacher);
  }
  if (!encoder.objective)
    encoder.objective = std::make_unique<CrossEntropyObjective>(*encoder.model, config.training.label_smoothing);
  if (!longest) longest = {"data.block_size", longest_sequence(config, *encoder.model, *encoder.tokenizer)};
  if (teacher->config().max_positions < longest->tokens)
    fail_usage("distillation.teacher has only ", teacher->config().max_positions, " positions, a sequence up to ",
               longest->tokens, " tokens: set ", longest->option, " to ", teacher->config().max_positions, " or less");
  encoder.distillation = std::make_unique<Distillation>(distillation, *encoder.model, std::move(teacher),
                                                        std::move(encoder.objective));
}

int64_t longest_sequence(const char* option, int64_t asked, const Model& model, const Tokenizer& tokenizer) {
  const int64_t positions = model.config().max_positions;
  const int64_t allowed = tokenizer.max_length();
  const auto special = static_cast<int64_t>(tokenizer.framing().special_tokens(/*is_pair=*/false));
  if (asked > positions) fail_usage(option, " is ", asked, ", but the model has only ", positions, " positions");
  if (allowed && asked > allowed)
    fail_usage(option, " is ", asked, ", but the tokenizer's model_max_length is ", allowed,
               ": lower the one, or raise the other in its tokenizer_config.json");
  const int64_t longest = asked ? asked : allowed ? std::min(allowed, positions) : positions;
  const char* const name = asked                  ? option
                           : longest == positions ? "model.max_positions"
                                                  : "the tokenizer's model_max_length";
  if (longest <= special)
    fail_usage(name, " is ", longest, ": it has no room beside the ", special, " special tokens of a sequence");
  return longest;
}

void each_piece_by_length(const std::vector<int32_t>& lengths,
                          const std::function<void(size_t i, SequenceBatch& batch)>& append,
                          const std::function<void(const SequenceBatch& batch, std::span<const size_t> chosen)>& run) {
  std::vector<size_t> order(lengths.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return lengths[a] > lengths[b]; });
  SequenceBatch batch;
  Activity activity("evaluating", "sequences", static_cast<int64_t>(order.size()));
  for (size_t first = 0, last; first < order.size(); first = last) {
    batch.clear();
    for (last = first; last < order.size() && batch.tokens.size() < tokens_at_a_time; ++last)
      append(order[last], batch);
    run(batch, std::span<const size_t>(order).subspan(first, last - first));
    activity.add(static_cast<int64_t>(last - first));
  }
}

std::unique_ptr<Tokenizer> tokenizer_of(const Config& config, const std::vector<std::string>& special_tokens) {
  if (config.data.tokenizer.empty()) return nullptr;
  return load_tokenizer(config.data.tokenizer, {.special_tokens = special_tokens});
}

Encoder make_encoder(Config& config, const Options& options, const EncoderHead& head,
                     std::unique_ptr<Tokenizer> tokenizer, Ops& ops, Use use) {
  const bool training = use == Use::training;
  Encoder encoder;
  encoder.tokenizer = std::move(tokenizer);
  ModelConfig& model = config.model;
  if (config.init.empty()) {
    require(training, "evaluation needs a model: name a run folder or a model folder");
    if (!encoder.tokenizer)
      fail_usage("data.tokenizer is missing: a new model needs a folder with a tokenizer; or name a model in init");
    set_vocabulary(model, *encoder.tokenizer);
    model.head = head.head;
    model.labels = head.labels;
    encoder.model = make_model(model, encoder_kinds);
    encoder.model->parameters().allocate(ops.memory(), /*with_gradients=*/true);
    encoder.model->parameters().initialise(config.seed);
    model = encoder.model->config();
    return encoder;
  }
  const std::filesystem::path folder = open_run(config.init).model;
  const ModelConfig there = read_model_config(folder);
  const bool is_same = there.head == head.head && (head.labels.empty() || are_same_classes(head.labels, there.labels));
  if (!training && !is_same)
    fail_usage(config.init, " is a model for another task than ", config.task, ": train it for this one first");
  // A trained model's folder has them.
  const std::vector<std::string> added = training ? head.special_tokens : std::vector<std::string>();
  if (!encoder.tokenizer) encoder.tokenizer = load_tokenizer(folder, {.special_tokens = added});
  LoadRequest request{.kinds = encoder_kinds,
                      .head = head.head,
                      .labels = head.labels,
                      .new_head = training && (!is_same || config.training.new_head),
                      .tokens = added.empty() ? 0 : encoder.tokenizer->vocab_size(),
                      .seed = config.seed,
                      .matrices = matrices_for(use, config, ops),
                      .adjust =
                          [&](ModelConfig& loaded) {
                            set_dropout(loaded, model, options);
                            if (training) take_span_parts(loaded, model, options);
                          },
                      .report = training ? &encoder.report : nullptr};
  encoder.model = load_model(folder, ops.memory(), training, request);
  if (training) check_against_init(model, encoder.model->config(), options, config.init);
  model = encoder.model->config();
  check_vocabulary(config, *encoder.tokenizer, folder);
  return encoder;
}

namespace {

std::unique_ptr<Objective> objective_of(Encoder& encoder) {
  if (encoder.distillation) return std::move(encoder.distillation);
  return std::move(encoder.objective);
}

}  // namespace

EncoderTask::EncoderTask(const Config& config, Encoder encoder)
    : ModelTask(config, std::move(encoder.model), std::move(encoder.tokenizer), objective_of(encoder)),
      distillation_(dynamic_cast<Distillation*>(&step_.objective())),
      report_(encoder.report.text().empty() ? "" : "from " + config.init + ": " + encoder.report.text()) {}

void EncoderTask::plan_epochs(std::vector<int32_t> lengths, std::vector<float> shares) {
  plan_ = std::make_unique<EpochPlan>(std::move(lengths), config_.seed,
                                      BatchRule{.batch_size = config_.training.batch_size,
                                                .batch_tokens = config_.training.batch_tokens,
                                                .group_by_length = config_.training.group_by_length,
                                                .shuffle = config_.data.shuffle},
                                      std::move(shares));
}

void EncoderTask::save_state(Machine& machine, const std::filesystem::path& folder) const {
  if (!distillation_) return;
  const std::string text = distillation_->state(machine.communicator);
  if (machine.communicator.is_first()) write_file(folder / distillation_file, text);
}

void EncoderTask::load_state(Machine& machine, const std::filesystem::path& folder) {
  if (distillation_) distillation_->set_state(read_task_state(folder, distillation_file), machine.communicator);
}

}  // namespace engine
