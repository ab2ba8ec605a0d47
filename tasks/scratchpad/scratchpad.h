// task = "scratchpad": a decoder learns nested arithmetic, with every step written out (explanation = "oracle") or only
// the value (explanation = "none"). One sequence is
//   ((1+2)*3) <start> ((1+2=3)*3=9) <eos>
// of which what follows <start> is scored; at evaluation the model is given the part up to <start> and writes the rest.
#pragma once

#include <array>

#include "tasks/causal_task.h"
#include "tasks/scratchpad/config.h"
#include "tasks/scratchpad/expressions.h"

namespace engine {

// The value that a generated text answers with: of a scratchpad the number behind the last "=", without the
// parenthesis that closes it; of anything else all of it.
std::string final_value(const std::string& generated);

// "1:1" "2:9": what part of the examples has which level, parts in the order of the list.
struct Mixture {
  std::vector<int> levels;
  std::vector<uint32_t> parts;
  uint32_t total = 0;

  explicit Mixture(const std::vector<std::string>& text);  // UsageError where an entry is no "level:parts"
  int draw(Random& random) const;
  bool has(int level) const;
};

class ScratchpadTask final : public CausalTask {
 public:
  ScratchpadTask(const Config& config, const ScratchpadConfig& own, LanguageModel language);

  int64_t steps_per_epoch() const override { return 0; }
  void batch_of(int64_t step, SequenceBatch& batch) override;
  Metrics evaluate(Machine& machine, std::string& samples) override;
  std::pair<std::string, bool> best_metric() const override { return {"exact_match", true}; }
  std::vector<std::string> metric_names() const override;
  // Of the tokenizer and of the first batch: of what makes the expressions, in this version of the program.
  std::string fingerprint() const override { return fingerprint_; }

 private:
  struct Answer {
    const Expression* expression;
    std::string generated;
    bool right = false, whole = false;  // the final value; every character
  };

  void look_up_characters();
  std::string target(const Expression& expression) const;
  // The tokens of one example, the labels of its target alone.
  void append(const Expression& expression, SequenceBatch& batch) const;
  std::vector<Answer> answer(Machine& machine, const std::vector<const Expression*>& expressions) const;
  std::string table(const std::vector<Answer>& answers) const;

  ScratchpadConfig own_;
  Mixture mixture_;
  int32_t start_ = 0;
  std::array<int32_t, 128> ids_{};  // of the characters of expressions
  ExpressionSource source_;
  ExpressionPool evaluated_pool_, drawn_pool_;
  std::vector<std::vector<const Expression*>> evaluated_;  // of level i + 1
  std::string fingerprint_;
};

std::unique_ptr<Task> make_scratchpad_task(Config& config, const ScratchpadConfig& own, const Options& options,
                                           Ops& ops, bool training);

}  // namespace engine
