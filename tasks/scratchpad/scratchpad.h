// With task = "scratchpad" a model learns nested arithmetic, with every step written out (explanation = "oracle"), only
// the value ("none"), or every step with results that it finds itself ("self_learned"). One example of a decoder is
//   ((1+2)*3) <start> ((1+2=3)*3=9) <eos>
// in which the tokens behind <start> are scored. A self-learned example has "9)" and <eos> scored alone, and its 3 is
// the model's own answer to (1+2) at that step. An encoder reads the tokens before <start>.
#pragma once

#include <chrono>

#include "tasks/causal_task.h"
#include "tasks/scratchpad/config.h"
#include "tasks/scratchpad/curriculum.h"
#include "tasks/scratchpad/evaluation.h"
#include "tasks/scratchpad/expression_file.h"
#include "tasks/scratchpad/self_writing.h"

namespace engine {

class ScratchpadTask final : public CausalTask {
 public:
  ScratchpadTask(const Config& config, const ScratchpadConfig& own, LanguageModel language);

  int64_t steps_per_epoch() const override { return 0; }
  void prepare(Machine& machine, int64_t step) override;
  // An Error without prepare(step) before it where results are self-learned.
  void batch_of(int64_t step, SequenceBatch& batch) override;
  // The curriculum follows the losses, and self-learned results the parameters.
  bool follows_losses() const override { return true; }
  void step_done(int64_t step, double loss) override;
  Metrics log(Machine& machine) override;
  void save_state(Machine& machine, const std::filesystem::path& folder) const override;
  void load_state(Machine& machine, const std::filesystem::path& folder) override;
  Metrics evaluate(Machine& machine, std::string& samples) override;
  std::string predictions() const override { return predictions_; }
  std::pair<std::string, bool> best_metric() const override { return {"exact_match", true}; }
  std::vector<std::string> metric_names() const override;
  // Identifies the tokenizer and the first step's expressions (or the file's), and so this version of their maker.
  std::string fingerprint() const override { return fingerprint_; }
  void save_model(const std::filesystem::path& folder) override;

 private:
  // Counts since the last line of the log.
  struct Window {
    InnerResults inner;
    int64_t skipped = 0;
    std::map<int, int64_t> levels;  // each level's examples
  };

  bool is_self_learned() const { return own_.explanation == "self_learned"; }
  bool is_trained(int level) const { return curriculum_.has(level); }
  SelfWritingSettings writing() const;
  ExpressionLimits limits() const;
  void check_fit() const;
  std::string fingerprint_of_data();
  // Draws the expressions of a step into drawn_.
  void draw(int64_t step);
  const Expression* draw_one(Random& random, int level);
  size_t answer_length(const Expression& expression) const;
  int64_t most_sequences() const;  // in a batch
  // Appends an example with its self-written scratchpad, if it has one. Returns false where it is too long.
  bool append(const Expression& expression, const SelfWritten* written, SequenceBatch& batch);
  // Appends expressions as a training would write them. Returns those that are not too long.
  std::vector<const Expression*> append_evaluation(const SharedGenerator& generator,
                                                   const std::vector<const Expression*>& expressions,
                                                   SequenceBatch& batch);
  SharedGenerator generator(Machine& machine);

  ScratchpadConfig own_;
  Form form_;
  ExampleFormat format_;
  SelfWriter writer_;
  Curriculum curriculum_;
  ExpressionSource source_;
  std::unique_ptr<ExpressionFile> file_;
  std::vector<Mode> modes_;
  ExpressionPool evaluated_pool_, drawn_pool_;
  std::vector<const Expression*> evaluated_;  // level after level
  Levels levels_;                             // their beginnings
  std::string fingerprint_, predictions_;

  std::unique_ptr<Generator> generator_;  // lives on from step to step
  std::vector<const Expression*> drawn_;
  std::vector<SelfWritten> written_;
  int64_t drawn_step_ = -1;
  std::string input_, answer_;  // the appended example's
  Window window_;
  std::chrono::steady_clock::time_point step_began_;
  double generating_seconds_ = 0, step_seconds_ = 0;  // since the last line of the log
};

std::unique_ptr<Task> make_scratchpad_task(Config& config, const ScratchpadConfig& own, const Options& options,
                                           Ops& ops, Use use);

}  // namespace engine
