// task = "gpt": a decoder learns the text of files. The documents, each ended by the tokenizer's end token, are one
// long row of tokens, divided into blocks of B = data.block_size. Block k covers the tokens k B ... k B + B, of which
// the first B are its inputs and the last B its labels. Training does not use the end of the row that is less than a
// block. Evaluation takes it as a shorter block, so that every token but the first is scored once. Evaluation is on
// data.eval, or on the last gpt.eval_share of the training tokens, which are then not trained on.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>

#include "tasks/causal_task.h"
#include "tasks/gpt/config.h"
#include "tasks/token_file.h"
#include "training/subset.h"

namespace engine {

class GptTask final : public CausalTask {
 public:
  GptTask(const Config& config, const GptConfig& own, LanguageModel language, bool training);

  // An epoch's last step takes the blocks that are left.
  int64_t steps_per_epoch() const override;
  void batch_of(int64_t step, SequenceBatch& batch) override;
  // Returns loss and perplexity where there is data.eval, and generates texts.
  Metrics evaluate(Machine& machine, std::string& samples) override;
  std::pair<std::string, bool> best_metric() const override { return {"loss", false}; }
  // Identifies the tokenizer and all tokens that are trained or evaluated on.
  std::string fingerprint() const override { return fingerprint_; }
  std::vector<std::string> metric_names() const override { return {"loss", "perplexity"}; }

 private:
  // A part is a range of a file's tokens.
  struct Part {
    std::shared_ptr<const TokenFile> file;
    int64_t begin = 0, size = 0;
  };
  void open_data(bool training);
  void append_block(const Part& part, int64_t block, SequenceBatch& batch) const;
  int64_t all_blocks() const { return (train_.size - 1) / block_size_; }
  int64_t blocks() const { return kept_of_share(config_.data.train_share, all_blocks()); }  // trained on
  // Tells of a block, which is sequence s of a batch.
  nlohmann::ordered_json example_of(int64_t block, const SequenceBatch& batch, size_t s) const;
  std::string generate(Machine& machine) const;

  GptConfig own_;
  int64_t block_size_ = 0;
  Part train_, eval_;  // size 0 where absent
  std::string fingerprint_;
};

std::unique_ptr<Task> make_gpt_task(Config& config, const GptConfig& own, const Options& options, Ops& ops,
                                    Use use);

}  // namespace engine
