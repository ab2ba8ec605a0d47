// With task = "squad" an encoder answers questions about texts with a part of the text. It learns at which token of a
// window (windows.h) the answer begins and ends. In a window that does not hold the answer both are its first token.
#pragma once

#include "tasks/encoder_task.h"
#include "tasks/squad/answers.h"
#include "tasks/squad/training_questions.h"
#include "tasks/squad/training_windows.h"

namespace engine {

class SquadTask final : public EncoderTask {
 public:
  SquadTask(const Config& config, const SquadConfig& own, Encoder encoder, bool training);

  void batch_of(int64_t step, SequenceBatch& batch) override;
  // Returns the loss of the windows and the scores of the answers over data.eval, in percent as SQuAD's scorer has
  // them. A UsageError where an evaluation alone has no data.
  Metrics evaluate(Machine& machine, std::string& samples) override;
  std::string predictions() const override { return predictions_; }
  std::pair<std::string, bool> best_metric() const override { return {"f1", true}; }
  std::vector<std::string> metric_names() const override;
  std::string fingerprint() const override { return fingerprint_; }
  std::string start_report() const override;
  // Answers the questions of a file in SQuAD's schema or a table. Writes predictions.json, nbest_predictions.json and,
  // with squad.version_2, null_odds.json into the folder `output`, in the form of run_qa, for a table predictions.csv,
  // too, and with squad.score_negatives negative_scores.json.
  void predict(Machine& machine, const std::filesystem::path& input, const std::filesystem::path& output) override;

  // Takes another reader, whatever its tokenizer, where squad.merge averages readers.
  void join(std::unique_ptr<Task> other) override;

  // Answers every question, in their order.
  std::vector<FoundAnswers> answer(Machine& machine, QuestionSet set);
  const SquadConfig& own() const { return own_; }

 private:
  // The logits of all windows, one behind the other: of each token the start's and the end's.
  struct Logits {
    std::vector<float> values;
    std::vector<size_t> begins{0};  // of each window's, and the end

    std::span<const float> of(size_t window) const {
      return std::span(values).subspan(begins[window], begins[window + 1] - begins[window]);
    }
  };
  // `totals` (optional) receives the loss.
  Logits logits_of(Machine& machine, const EncodedQuestions& questions, LossTotals* totals = nullptr);
  // Answers from these logits, together with those of more strides and of the readers that joined.
  std::vector<FoundAnswers> answers_of(Machine& machine, const EncodedQuestions& questions, const Logits& logits);
  // Returns how often, of the windows with an answer, the likeliest beginning and the likeliest end are the answer's.
  static std::pair<double, double> accuracies(const EncodedQuestions& questions, const Logits& logits);
  // Returns each question's loss, the mean of its beginning's and its end's cross entropy: the least one of the windows
  // that hold its answer, or, where it has none, the largest of all its windows, whose first token stands for that. NaN
  // where no window holds the answer.
  static std::vector<double> losses_of(const EncodedQuestions& questions, const Logits& logits);
  // Reads files to evaluate on, keeps the languages that are asked for, and keeps data.eval_sequences of the questions
  // that `choose` leaves, spread evenly.
  QuestionSet open(const std::string& option, const std::vector<std::string>& files,
                   const std::function<void(QuestionSet&)>& choose) const;
  [[noreturn]] void fail_without_question(const std::string& option, const std::vector<std::string>& files,
                                          bool blank) const;
  void score_negatives(Machine& machine, const std::filesystem::path& input, const std::filesystem::path& output);
  enum class Targets { trained, evaluated };  // evaluations know neither smoothing nor other soft targets
  void append(const WindowInput& input, Targets targets, SequenceBatch& batch) const;
  void read_training();

  const SquadConfig own_;
  std::vector<std::unique_ptr<SquadTask>> others_;
  EncodedQuestions eval_;
  TrainingWindows train_;
  ReadCounts counts_;
  std::string fingerprint_, predictions_;
};

std::unique_ptr<Task> make_squad_task(Config& config, const SquadConfig& own, const DistillationConfig& distillation,
                                      const Options& options, Ops& ops, Use use);

}  // namespace engine
