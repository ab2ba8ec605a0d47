// thought.data = "text": a decoder learns documents with thoughts among their tokens (insertion.h), and is evaluated on
// documents with the same thoughts and without, on files of questions (questions.h), and by the texts that it writes. A
// step takes training.batch_size rows of packed documents (packed_documents.h). Thoughts are a function of the seed,
// the epoch and the sequence.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "tasks/thought/asking.h"
#include "tasks/thought/insertion.h"
#include "tasks/thought/packed_documents.h"
#include "tasks/thought/questions.h"
#include "tasks/thought/searching.h"
#include "tasks/thought/thought.h"

namespace engine {

class ThoughtTextTask final : public ThoughtTask {
 public:
  ThoughtTextTask(const Config& config, const ThoughtConfig& own, LanguageModel language, bool training);

  // An epoch's last step takes the rows that are left.
  int64_t steps_per_epoch() const override;
  void batch_of(int64_t step, SequenceBatch& batch) override;
  // Searches for the places of the step's thoughts, and weighs asking for them, with the model as it is.
  void prepare(Machine& machine, int64_t step) override;
  bool follows_losses() const override { return own_.searches() || own_.expectation; }
  Metrics log(Machine& machine) override { return own_.searches() ? search_.log(machine.seconds()) : Metrics{}; }
  Metrics evaluate(Machine& machine, std::string& samples) override;
  // Returns the scores and the choice of every question of the last evaluation.
  std::string predictions() const override { return predictions_; }
  std::pair<std::string, bool> best_metric() const override;
  std::vector<std::string> metric_names() const override;
  // Identifies the tokenizer and all documents.
  std::string fingerprint() const override { return fingerprint_; }
  std::string start_report() const override;
  // Reads a file of questions and writes the scores and the choice of each, a line of JSON each.
  void predict(Machine& machine, const std::filesystem::path& input, const std::filesystem::path& output) override;

 private:
  bool inserts() const { return own_.places != "none" && own_.count > 0; }
  bool has_questions() const { return !own_.questions.empty(); }
  void check(bool reads_documents) const;
  void open_data(bool training);
  int64_t rows() const;  // trained on
  ChoiceRule question_rule(bool needs_answers) const;
  void evaluate_documents(Machine& machine, Metrics& metrics);
  void evaluate_questions(Machine& machine, Metrics& metrics);
  // Returns the scores of a file's questions. Every rank scores its share, and has all.
  std::vector<std::vector<double>> score_questions(Machine& machine, CachedScorer& scorer,
                                                   const ChoiceFile& file) const;
  std::string generate(Machine& machine) const;
  // Calls each(index, tokens) for the sequences of a step; the index is that of the sequence.
  void each_sequence(int64_t step, const std::function<void(int64_t, std::vector<int32_t>&)>& each);
  // Calls each(tokens) for the sequences of a step, with thoughts at random places.
  void each_with_thoughts(int64_t step, const std::function<void(const std::vector<int32_t>&)>& each);
  void search(Machine& machine, int64_t step);
  CachedScorer& searcher(Machine& machine);
  // Adds what some documents cost where the model itself chooses when to think.
  void evaluate_asking(Machine& machine, Metrics& metrics);
  // Searches in the first documents of data.eval, and returns some with their thoughts and gains.
  std::string show_search(Machine& machine, Metrics& metrics);

  ThoughtPlan plan_;
  std::optional<PackedDocuments> train_, eval_;
  std::vector<ChoiceFile> questions_;
  ThoughtSearch search_;
  std::unique_ptr<CachedScorer> searcher_;  // made at the first step, whose memory the next ones use again
  std::vector<SearchedSequence> searched_;  // of the step that was prepared
  SequenceBatch expected_;                  // the same with weights, where it is an expectation
  std::string fingerprint_, predictions_;
};

}  // namespace engine
