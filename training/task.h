// A Task is a use of a model as the trainer sees it, with parameters, batches, loss and metrics. tasks/ implements it.
#pragma once

#include <cmath>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/communicator.h"
#include "models/model.h"
#include "training/batch.h"
#include "training/config.h"
#include "training/suspects.h"

namespace engine {

using Metrics = std::vector<std::pair<std::string, double>>;

// Evaluations draw by this seed, whatever the training's, so that runs can be compared.
inline constexpr uint64_t evaluation_seed = 453345;

// A training has gradients and training data. The others have neither, and config.init is their model. An evaluation
// has the bits of one in a training. A prediction may round the model to the precision of its passes.
enum class Use { training, evaluation, prediction };

// A training runs on a Machine.
struct Machine {
  Ops& ops;
  Arena& arena;
  DType compute;
  Communicator& communicator;
  std::function<double()> seconds = steady_seconds;
  int64_t reduction_shards = 0;  // training.reduction_shards

  // Returns into how many parts the ranks cut what they share: as many as there are ranks, or virtual shards, so that
  // no result depends on the number of ranks. Each rank has consecutive parts, the first and the one behind the last.
  int64_t parts() const {
    const bool has_shards = reduction_shards > 0 && reduction_shards % communicator.size() == 0;
    return has_shards ? reduction_shards : communicator.size();
  }
  std::pair<int64_t, int64_t> own_parts() const { return communicator.share(parts()); }
  // Returns this rank's parts of `count` things, the beginning and end of each.
  std::vector<std::pair<int64_t, int64_t>> own_shares(int64_t count) const {
    return communicator.shares(count, parts());
  }
};

// The steps of an epoch, counted from 0 over all epochs.
struct EpochSteps {
  int64_t first = 0, count = 0;
};

// Says how a person reads what stands in a batch.
struct Reading {
  std::function<std::string(int32_t)> token;  // the text of a token; empty: tokens are shown as numbers
  std::vector<std::string> classes;           // names of the classes; empty: labels are tokens
};

// Computes the loss of a batch and its gradients.
class BatchLoss {
 public:
  virtual ~BatchLoss() = default;
  // Runs the sequences first ... last-1 of a batch forward and backward. pass has no layout yet. gradient_scale
  // multiplies the loss sum in the gradients. totals f32 [3] += loss sum, weight sum, correct.
  virtual void run(Pass& pass, const SequenceBatch& batch, int64_t first, int64_t last, float gradient_scale,
                   const Tensor& totals) = 0;
};

class Task {
 public:
  virtual ~Task() = default;

  virtual Parameters& parameters() = 0;
  // Returns the steps of one epoch, for schedules by epochs, or 0 where data is generated without end.
  virtual int64_t steps_per_epoch() const = 0;
  // Returns the steps of so many epochs, for tasks whose epochs differ. Those of a part of an epoch are rounded up.
  virtual int64_t steps(double epochs) const {
    return static_cast<int64_t>(std::ceil(epochs * static_cast<double>(steps_per_epoch())));
  }
  // Returns the epoch that holds step `step` (from 0), where data has epochs.
  virtual EpochSteps epoch_of(int64_t step) {
    const int64_t count = steps_per_epoch();
    return {step / count * count, count};
  }
  // Comes before batch_of(step), and lets the model itself make what the batch needs, with the parameters of this step.
  virtual void prepare(Machine&, int64_t) {}
  // Fills the whole batch of step `step` (from 0). It is a function of the configuration and the step alone (and of
  // what prepare made and save_state saved), so that a resumed run sees the data that an unbroken one would.
  virtual void batch_of(int64_t step, SequenceBatch& batch) = 0;
  // Returns a line of text that tells data and vocabulary apart, from which the batches are made beside the
  // configuration. A training does not go on from a state with another one.
  virtual std::string fingerprint() const = 0;
  virtual BatchLoss& loss() = 0;
  // Returns whether batches depend on the losses of the steps before them, or on the parameters that these have made.
  virtual bool follows_losses() const { return false; }
  // Comes after the update of a step, with the mean loss that it had.
  virtual void step_done(int64_t, double) {}
  // Returns metrics of the steps since the last line of the log. Every rank calls this and the next two.
  virtual Metrics log(Machine&) { return {}; }
  // Writes what the task needs beside its parameters to go on as if it had not stopped. The folder is there. The first
  // rank alone writes.
  virtual void save_state(Machine&, const std::filesystem::path& /*folder*/) const {}
  virtual void load_state(Machine&, const std::filesystem::path& /*folder*/) {}
  // Returns metrics on the evaluation data, "loss" among them where it is measured. Samples go to `samples` (a file's
  // text).
  virtual Metrics evaluate(Machine& machine, std::string& samples) = 0;
  // Returns every answer of the last evaluation, a line of JSON each, or nothing where the task keeps none. A line has
  // "label" and "prediction", mostly "input", and where the task knows them "loss" (of this example), "level", "mode".
  virtual std::string predictions() const { return {}; }
  // Lets the evaluations that follow tell of each example and its loss, where the task has data to evaluate on.
  void look_for(Suspects& suspects) { suspects_ = &suspects; }
  // Returns the metric that "best" means, and whether more of it is better.
  virtual std::pair<std::string, bool> best_metric() const = 0;
  // Returns the names of the metrics that evaluate gives, where there is data to evaluate on.
  virtual std::vector<std::string> metric_names() const = 0;
  // Says before the training begins what became of init's weights and what was skipped in the data. May be empty.
  virtual std::string start_report() const { return {}; }
  // Says how `inspect` writes the tokens and labels of batch_of.
  virtual Reading reading() const { return {}; }
  // Reads the task's own input format and writes its own form of predictions.
  virtual void predict(Machine&, const std::filesystem::path& /*input*/, const std::filesystem::path& /*output*/) {
    fail("this task labels no inputs");
  }
  // Takes another model for the same task, with which predict answers together from now on.
  virtual void join(std::unique_ptr<Task> /*other*/) { fail("models of this task do not answer together"); }
  // Saves a model folder (weights, config, tokenizer) that `init` and every command take.
  virtual void save_model(const std::filesystem::path& folder) = 0;

 protected:
  Suspects* suspects_ = nullptr;  // null: nobody asks for them
};

}  // namespace engine
