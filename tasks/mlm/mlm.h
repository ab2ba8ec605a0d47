// task = "mlm": an encoder learns to predict tokens of text that are masked (masking.h) in sequences (sequences.h). The
// masks are a function of the seed, the epoch and the sequence. mlm.masking = "dynamic" draws new ones every epoch.
// "static" goes round mlm.copies of them, so that epoch e has the masks of copy e % copies, as if the text had been
// masked that many times beforehand. Evaluation is on data.eval, or on the last mlm.eval_share of the training
// sequences, with the same masks every time.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>

#include "tasks/encoder_task.h"
#include "tasks/mlm/config.h"
#include "tasks/mlm/masking.h"
#include "tasks/mlm/sequences.h"

namespace engine {

class MlmTask final : public EncoderTask {
 public:
  MlmTask(const Config& config, const MlmConfig& own, Encoder encoder, bool training);

  void batch_of(int64_t step, SequenceBatch& batch) override;
  // Returns loss, perplexity and accuracy over the masked tokens, and the number of sequences without one where there
  // are some. Without a masked token there are no metrics.
  Metrics evaluate(Machine& machine, std::string& samples) override;
  std::pair<std::string, bool> best_metric() const override { return {"loss", false}; }
  std::vector<std::string> metric_names() const override { return {"loss", "perplexity", "accuracy"}; }
  std::string fingerprint() const override { return fingerprint_; }
  std::string start_report() const override;

 private:
  void open_data(bool training);
  // `masks` counts the maskings of this sequence.
  void append(const Sequences& sequences, int64_t i, uint32_t masks, SequenceBatch& batch);
  // Tells of sequence i, which is sequence s of a batch.
  nlohmann::ordered_json example_of(int64_t i, const SequenceBatch& batch, size_t s) const;
  std::string show(Machine& machine);
  // A token for the display of samples.
  std::string text_of(int32_t token) const;

  MlmConfig own_;
  Masking masking_;
  Sequences train_, eval_;
  std::string fingerprint_;
};

std::unique_ptr<Task> make_mlm_task(Config& config, const MlmConfig& own, const DistillationConfig& distillation,
                                    const Options& options, Ops& ops, Use use);

}  // namespace engine
