#include "tasks/squad/training_questions.h"

#include <algorithm>

#include "core/error.h"
#include "tasks/squad/option_numbers.h"
#include "training/subset.h"

namespace engine {

namespace {

using Take = std::function<void(QuestionSet)>;

// Returns how often an epoch takes the questions of each file of data.train; empty: once.
std::vector<float> shares_of_files(const Config& config, const SquadConfig& own) {
  const std::vector<std::string>& weights = own.file_weights;
  if (!weights.empty() && weights.size() != config.data.train.size())
    fail_usage("squad.file_weights has ", weights.size(), " numbers, data.train ", config.data.train.size(), " files");
  std::vector<float> shares;
  for (const std::string& weight : weights)
    shares.push_back(static_cast<float>(number_of_option<double>("squad.file_weights", weight, between(0, 1000))));
  return shares;
}

}  // namespace

ReadCounts each_piece_of_training(const Config& config, const SquadConfig& own, const Take& take) {
  const std::vector<float> shares = shares_of_files(config, own);
  const auto read = [&](const Take& piece) {
    each_piece_of_questions(config.data.train, AnswersWanted::yes, [&](QuestionSet set) {
      keep_languages(set, own);
      give_folds(set, own);
      if (own.fold >= 0) leave_out_fold(set, own.fold);
      if (!shares.empty()) {
        for (Question& question : set.questions) question.share = shares[question.file];
        std::erase_if(set.questions, [](const Question& question) { return question.share == 0; });
      }
      piece(std::move(set));
    });
  };
  int64_t kept = 0, all = 0;
  const bool is_part = config.data.train_share < 1;
  if (is_part) {
    read([&](const QuestionSet& set) { all += static_cast<int64_t>(set.questions.size()); });
    kept = kept_of_share(config.data.train_share, all);
  }
  const auto read_kept = [&](const Take& piece) {
    Spread spread(kept, all);
    read([&](QuestionSet set) {
      if (is_part) std::erase_if(set.questions, [&](const Question&) { return !spread.keeps_next(); });
      piece(std::move(set));
    });
  };
  Recipe recipe(own, config.seed);
  if (recipe.needs_answers()) read_kept([&](const QuestionSet& set) { recipe.learn_answers(set); });
  ReadCounts counts;
  read_kept([&](QuestionSet set) {
    counts.moved += set.moved;
    counts.lost += set.lost;
    counts.blank += set.blank;
    recipe.follow(set);
    take(std::move(set));
  });
  counts.recipe = recipe.counts();
  return counts;
}

}  // namespace engine
