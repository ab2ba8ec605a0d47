// With task = "cola" or "sst2" an encoder says which of two classes a sentence has. A sequence is [CLS] sentence [SEP],
// and its class is the label of its first token.
#pragma once

#include <array>
#include <nlohmann/json_fwd.hpp>

#include "tasks/classification/examples.h"
#include "tasks/encoder_task.h"

namespace engine {

// One of the classification tasks.
struct ClassificationKind {
  const char* task;
  GlueFormat format;
  std::vector<std::string> labels;
  const char* best_metric;
};
const ClassificationKind& cola_kind();
const ClassificationKind& sst2_kind();

// Counts pairs of prediction and truth.
struct Confusion {
  std::array<std::array<double, 2>, 2> counts{};

  void add(int32_t predicted, int32_t truth) {
    counts[static_cast<size_t>(predicted)][static_cast<size_t>(truth)] += 1;
  }
  double accuracy() const;
  // (tp tn - fp fn) / sqrt((tp + fp)(tp + fn)(tn + fp)(tn + fn)), and 0 where a factor is 0 (Matthews 1975).
  double matthews() const;
};

class ClassificationTask final : public EncoderTask {
 public:
  ClassificationTask(const Config& config, const ClassificationKind& kind, Encoder encoder, bool training);

  void batch_of(int64_t step, SequenceBatch& batch) override;
  // Returns loss, accuracy and matthews over data.eval. A UsageError where an evaluation alone has none.
  Metrics evaluate(Machine& machine, std::string& samples) override;
  std::pair<std::string, bool> best_metric() const override { return {kind_.best_metric, true}; }
  std::vector<std::string> metric_names() const override { return {"loss", "accuracy", "matthews"}; }
  // Has "file", "line", "input", "label", "prediction" and "loss" of each sentence.
  std::string predictions() const override;
  std::string fingerprint() const override { return fingerprint_; }
  std::string start_report() const override;
  // Writes GLUE's form: a header index<TAB>prediction, then a line for each of the input's sentences. A sentence
  // without a token is an Error that names its line. A line on the standard error says how many were truncated.
  void predict(Machine& machine, const std::filesystem::path& input, const std::filesystem::path& output) override;

 private:
  // A split has sentences as the model reads them.
  struct Split {
    std::vector<Example> examples;
    std::vector<int32_t> ids;
    std::vector<size_t> begins{0};  // each sentence in ids, and the end
    std::vector<std::string> files;
    size_t empty = 0, cut = 0;      // left out, truncated
    uint64_t digest = 0;

    size_t size() const { return examples.size(); }
    void keep(int64_t count);  // spread evenly
    std::vector<int32_t> lengths() const;
  };
  // `labelled` keeps examples with a label and a token, `all` keeps all.
  enum class Kept { labelled, all };
  Split encode(const std::vector<std::string>& files, Kept kept) const;
  Split open(const std::string& option, const std::vector<std::string>& files) const;  // keeps labelled ones
  // Tells of a sentence and its prediction.
  nlohmann::ordered_json example_of(size_t i) const;
  void append(const Split& split, size_t i, SequenceBatch& batch) const;
  // The class of each sentence. `totals` (optional) receives the loss, and losses_ that of each.
  std::vector<int32_t> classify(Machine& machine, const Split& split, LossTotals* totals = nullptr);

  const ClassificationKind& kind_;
  size_t most_tokens_;
  Split train_, eval_;
  std::vector<int32_t> classes_;  // of the last evaluation
  std::vector<float> losses_;
  std::string fingerprint_;
};

std::unique_ptr<Task> make_classification_task(const ClassificationKind& kind, Config& config,
                                               const DistillationConfig& distillation, const Options& options,
                                               Ops& ops, Use use);

}  // namespace engine
