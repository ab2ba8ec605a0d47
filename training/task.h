// Task: a use of a model as the trainer sees it: parameters, batches, loss, metrics. tasks/ implements it.
#pragma once

#include <cmath>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/communicator.h"
#include "models/model.h"
#include "training/batch.h"
#include "training/config.h"

namespace engine {

using Metrics = std::vector<std::pair<std::string, double>>;

// What a training runs on.
struct Machine {
  Ops& ops;
  Arena& arena;
  DType compute;
  Communicator& communicator;
};

// The loss of a batch and its gradients.
class BatchLoss {
 public:
  virtual ~BatchLoss() = default;
  // Forward and backward of the sequences first ... last-1 of a batch. pass has no layout yet. gradient_scale is the
  // factor of the loss sum in the gradients. totals f32 [3] += loss sum, weight sum, correct.
  virtual void run(Pass& pass, const SequenceBatch& batch, int64_t first, int64_t last, float gradient_scale,
                   const Tensor& totals) = 0;
};

class Task {
 public:
  virtual ~Task() = default;

  virtual Parameters& parameters() = 0;
  // Steps of one epoch, for schedules by epochs; 0 where data is generated without end.
  virtual int64_t steps_per_epoch() const = 0;
  // Steps of so many epochs, for tasks whose epochs differ; of the part of one, rounded up.
  virtual int64_t steps(double epochs) const {
    return static_cast<int64_t>(std::ceil(epochs * static_cast<double>(steps_per_epoch())));
  }
  // Comes before batch_of(step), and lets the model itself make what the batch needs, with the parameters of this step.
  virtual void prepare(Machine&, int64_t) {}
  // The whole batch of step `step` (from 0): a function of the configuration and the step alone (and of what prepare made
  // and save_state saved), so that a resumed run sees the data that an unbroken one would.
  virtual void batch_of(int64_t step, SequenceBatch& batch) = 0;
  // A line of text that tells data and vocabulary apart: what the batches are made of beside the configuration. A training
  // does not go on from a state with another one.
  virtual std::string fingerprint() const = 0;
  virtual BatchLoss& loss() = 0;
  // Comes after the update of a step, with the mean loss that it had.
  virtual void step_done(int64_t, double) {}
  // Metrics of the steps since the last line of the log. This and the next two are called by every rank.
  virtual Metrics log(Machine&) { return {}; }
  // Writes into a folder, which is there, what the task needs beside its parameters to go on as if it had not stopped.
  // The first rank alone writes.
  virtual void save_state(Machine&, const std::filesystem::path& /*folder*/) const {}
  virtual void load_state(Machine&, const std::filesystem::path& /*folder*/) {}
  // Metrics on the evaluation data; "loss" is among them where it is measured. Samples go to `samples` (a file's text).
  virtual Metrics evaluate(Machine& machine, std::string& samples) = 0;
  // Every answer of the last evaluation, a line of JSON each; empty: the task keeps none.
  virtual std::string predictions() const { return {}; }
  // The metric that "best" means, and whether more of it is better.
  virtual std::pair<std::string, bool> best_metric() const = 0;
  // The names of the metrics that evaluate gives, where there is data to evaluate on.
  virtual std::vector<std::string> metric_names() const = 0;
  // Says before the training begins what became of init's weights and what was skipped in the data. May be empty.
  virtual std::string start_report() const { return {}; }
  // Reads the task's own input format and writes its own form of predictions.
  virtual void predict(Machine&, const std::filesystem::path& /*input*/, const std::filesystem::path& /*output*/) {
    fail("this task labels no inputs");
  }
  // A model folder (weights, config, tokenizer) that `init` and every command take.
  virtual void save_model(const std::filesystem::path& folder) = 0;
};

}  // namespace engine
