// thought.data = "chase": a decoder answers problems that take some hops (chase.h), by the arm that thought.arm says.
// The problems of a step are a function of the seed, the step and the curriculum's stage (chase_curriculum.h).
#pragma once

#include "tasks/thought/chase.h"
#include "tasks/thought/chase_curriculum.h"
#include "tasks/thought/thought.h"

namespace engine {

class ChaseTask final : public ThoughtTask {
 public:
  ChaseTask(const Config& config, const ThoughtConfig& own, LanguageModel language);

  int64_t steps_per_epoch() const override { return 0; }
  // Measures for the curriculum how many of the step's problems the model solves before it learns from them.
  void prepare(Machine& machine, int64_t step) override;
  void batch_of(int64_t step, SequenceBatch& batch) override;
  // The curriculum follows what the model has learned.
  bool follows_losses() const override { return own_.curriculum; }
  void step_done(int64_t step, double loss) override;
  Metrics log(Machine& machine) override;
  void save_state(Machine& machine, const std::filesystem::path& folder) const override;
  void load_state(Machine& machine, const std::filesystem::path& folder) override;
  // Returns the share of right answers, in all and for each number of hops, and the loss.
  Metrics evaluate(Machine& machine, std::string& samples) override;
  std::pair<std::string, bool> best_metric() const override { return {"accuracy", true}; }
  std::vector<std::string> metric_names() const override;
  // Identifies the tokenizer and the first step's problems.
  std::string fingerprint() const override { return fingerprint_; }

 private:
  std::vector<ChaseProblem> problems_of(int64_t step) const;
  std::vector<ChaseProblem> evaluated(int hops) const;
  // Returns the model's answer to each problem, by the label's row or, written out, at the end of what it generates.
  std::vector<int32_t> answers(Machine& machine, std::span<const ChaseProblem> problems) const;
  int64_t problems_a_step() const { return sequences_a_step(problems_.longest()); }

  ChaseProblems problems_;
  ChaseArm arm_;
  ChaseCurriculum curriculum_;
  double accuracy_of_stage_ = -1;  // of the step that was prepared; below 0: none
  std::string fingerprint_;
};

}  // namespace engine
