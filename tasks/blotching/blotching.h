// With task = "blotching" a decoder learns to solve problems step by step from rows that lack some of the steps, and so
// to leave steps out itself. A row is
//   12+34=2+4+10+30=46 <eos>
// without the first step of the whole solution. Behind blotch_p_max, a model has blotch tokens: the first token of each
// row says which share of the steps it lacks, so that one model writes long and short solutions.
#pragma once

#include "tasks/blotching/changes.h"
#include "tasks/blotching/evaluation.h"
#include "tasks/causal_task.h"

namespace engine {

class BlotchingTask final : public CausalTask {
 public:
  BlotchingTask(const Config& config, const BlotchingConfig& own, LanguageModel language, bool training);

  // An epoch has the same number of steps throughout, though rows may be added.
  int64_t steps_per_epoch() const override { return epoch_steps_; }
  // Changes the rows where an epoch has ended.
  void prepare(Machine& machine, int64_t step) override;
  void batch_of(int64_t step, SequenceBatch& batch) override;
  bool follows_losses() const override { return own_.changes_rows(); }
  void step_done(int64_t step, double loss) override;
  // Returns the rows' number and mean length, and what changed since the last line, where rows change.
  Metrics log(Machine& machine) override;
  void save_state(Machine& machine, const std::filesystem::path& folder) const override;
  void load_state(Machine& machine, const std::filesystem::path& folder) override;
  Metrics evaluate(Machine& machine, std::string& samples) override;
  std::string predictions() const override { return predictions_; }
  std::pair<std::string, bool> best_metric() const override { return {"correct", true}; }
  std::vector<std::string> metric_names() const override;
  // Identifies the tokenizer, the first rows and the validation problems.
  std::string fingerprint() const override { return fingerprint_; }
  void save_model(const std::filesystem::path& folder) override;

  const RowCache& rows() const { return cache_; }

 private:
  void fill_cache();
  void check_fit(std::span<const std::string> rows, const char* of) const;
  std::string fingerprint_of_data() const;
  SharedGenerator generator(Machine& machine);
  void end_epoch(Machine& machine, int64_t epoch);
  void write_examples(Machine& machine, int64_t epoch, const ChangeExamples& examples) const;
  int64_t rows_a_step() const { return config_.training.batch_size; }

  const BlotchingConfig own_;
  const BlotchLevels levels_;
  const Blotcher blotcher_;
  RowFormat format_;
  ProblemSource source_;
  RowCache cache_;
  RowChanges changes_;
  ChangeSchedule schedule_;
  SolutionEvaluation evaluation_;
  int64_t epoch_steps_ = 1;
  std::string fingerprint_, predictions_;

  std::unique_ptr<Generator> generator_;  // lives on from step to step
  int64_t ordered_epoch_ = -1;            // of order_
  std::vector<uint32_t> order_;
  // These are saved with a state.
  int64_t epochs_ended_ = 0;
  double epoch_loss_ = 0;
  int64_t epoch_losses_ = 0;
  ChangeCounts counts_;  // since the last line of the log
};

std::unique_ptr<Task> make_blotching_task(Config& config, const BlotchingConfig& own, const Options& options, Ops& ops,
                                          Use use);

}  // namespace engine
