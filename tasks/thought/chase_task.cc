#include "tasks/thought/chase_task.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/error.h"
#include "core/files.h"
#include "core/hash.h"
#include "training/state.h"

namespace engine {

namespace {

using Split = ChaseProblems::Split;

// These keep the draws apart from every other use of the seed.
constexpr uint64_t training_stream = uint64_t{0x6368} << 48, evaluation_stream = uint64_t{0x6365} << 48;
constexpr size_t shown_problems = 2;  // for each number of hops
const char* const state_file = "chase.json";

}  // namespace

ChaseTask::ChaseTask(const Config& config, const ThoughtConfig& own, LanguageModel language)
    : ThoughtTask(config, own, std::move(language)),
      problems_(own.nodes, own.hops),
      arm_(chase_arm_of(own.arm)),
      curriculum_(own.hops, own.curriculum) {
  require(thought_ == problems_.thought_token(), "the vocabulary of chase has its thought at ", thought_);
  const int64_t positions = model().config().max_positions;
  if (problems_.longest() > positions)
    fail_usage("model.max_positions is ", positions, ", but a problem of thought.nodes = ", own.nodes,
               " and thought.hops = ", own.hops, " takes up to ", problems_.longest());
  uint64_t hash = empty_hash;
  for (const ChaseProblem& problem : problems_of(0))
    for (const int32_t token : problem.prompt)
      hash = hash_of({reinterpret_cast<const char*>(&token), sizeof token}, hash);
  fingerprint_ = fingerprint_of(tokenizer()) + ", problems " + hexadecimal(hash);
}

std::vector<ChaseProblem> ChaseTask::problems_of(int64_t step) const {
  Random random(config_.seed, training_stream | static_cast<uint64_t>(step));
  std::vector<ChaseProblem> problems;
  for (int64_t i = 0; i < problems_a_step(); ++i)
    problems.push_back(problems_.draw(random, curriculum_.draw(random), Split::training));
  return problems;
}

void ChaseTask::prepare(Machine& machine, int64_t step) {
  accuracy_of_stage_ = -1;
  if (!own_.curriculum || curriculum_.stage() == own_.hops) return;
  std::vector<ChaseProblem> problems = problems_of(step);
  const auto is_other = [&](const ChaseProblem& p) { return static_cast<int>(p.steps.size()) != curriculum_.stage(); };
  std::erase_if(problems, is_other);
  if (problems.empty()) return;
  // Written steps are given but for the last one, as in training.
  SequenceBatch batch;
  for (const ChaseProblem& problem : problems) {
    problems_.append(problem, arm_, batch);
    const auto begin = batch.targets.labels.begin() + batch.offsets[batch.offsets.size() - 2];
    std::fill(begin, batch.targets.labels.end() - 1, -100);
  }
  accuracy_of_stage_ = step_.evaluate(machine, batch).correct / static_cast<double>(problems.size());
}

void ChaseTask::batch_of(int64_t step, SequenceBatch& batch) {
  batch.clear();
  const auto tokens = static_cast<size_t>(problems_a_step() * problems_.longest());
  batch.tokens.reserve(tokens);
  batch.targets.labels.reserve(tokens);
  for (const ChaseProblem& problem : problems_of(step)) problems_.append(problem, arm_, batch);
}

void ChaseTask::step_done(int64_t, double) {
  if (own_.curriculum) curriculum_.step_done(accuracy_of_stage_);
}

Metrics ChaseTask::log(Machine&) {
  if (!own_.curriculum) return {};
  return {{"stage", static_cast<double>(curriculum_.stage())}, {"stage_accuracy", curriculum_.accuracy()}};
}

void ChaseTask::save_state(Machine& machine, const std::filesystem::path& folder) const {
  if (machine.communicator.is_first()) write_file(folder / state_file, curriculum_.state());
}

void ChaseTask::load_state(Machine&, const std::filesystem::path& folder) {
  curriculum_.set_state(read_task_state(folder, state_file), (folder / state_file).string());
}

std::vector<ChaseProblem> ChaseTask::evaluated(int hops) const {
  Random random(evaluation_seed, evaluation_stream | static_cast<uint64_t>(hops));
  std::vector<ChaseProblem> problems;
  for (int i = 0; i < own_.eval_problems; ++i) problems.push_back(problems_.draw(random, hops, Split::evaluation));
  return problems;
}

std::vector<int32_t> ChaseTask::answers(Machine& machine, std::span<const ChaseProblem> problems) const {
  std::vector<int32_t> own;
  const GenerationOptions options{.max_new_tokens = static_cast<int>(problems[0].steps.size())};
  for (const auto& [first, end] : machine.own_shares(std::ssize(problems))) {
    std::vector<std::vector<int32_t>> prompts;
    for (const ChaseProblem& problem : problems.subspan(static_cast<size_t>(first), static_cast<size_t>(end - first)))
      prompts.push_back(problem.prompt);
    for (const std::vector<int32_t>& written :
         make_generator(machine, static_cast<int64_t>(prompts.size()))->generate(prompts, options))
      own.push_back(written.back());
  }
  return machine.communicator.gather(own);
}

Metrics ChaseTask::evaluate(Machine& machine, std::string& samples) {
  Metrics metrics;
  LossTotals totals;
  double all_right = 0;
  std::ostringstream text;
  for (int hops = 1; hops <= own_.hops; ++hops) {
    const std::vector<ChaseProblem> problems = evaluated(hops);
    SequenceBatch batch;
    for (const ChaseProblem& problem : problems) problems_.append(problem, arm_, batch);
    ScoredTokens each{.wants_losses = suspects_ != nullptr, .wants_likeliest = true};
    totals += step_.evaluate(machine, batch, &each);
    const std::vector<int32_t> found = arm_ == ChaseArm::written ? answers(machine, problems) : each.likeliest;
    if (suspects_) suspects_->add_sequences(batch, each.losses, [&](size_t i) {
      return nlohmann::ordered_json{{"level", hops},
                                    {"input", tokenizer().decode(problems[i].prompt)},
                                    {"label", tokenizer().token(problems[i].answer())},
                                    {"prediction", tokenizer().token(found[i])}};
    });
    double right = 0;
    for (size_t i = 0; i < problems.size(); ++i) {
      right += found[i] == problems[i].answer();
      if (i < shown_problems)
        text << (found[i] == problems[i].answer() ? "right  " : "WRONG  ") << tokenizer().decode(problems[i].prompt)
             << " -> " << tokenizer().token(found[i]) << " (it is " << tokenizer().token(problems[i].answer()) << ")\n";
    }
    const double count = static_cast<double>(problems.size());
    metrics.emplace_back("accuracy_hops_" + std::to_string(hops), right / count);
    all_right += right / count;
  }
  metrics.emplace_back("accuracy", all_right / own_.hops);
  metrics.emplace_back("loss", totals.loss / totals.scored);
  samples = text.str();
  return metrics;
}

std::vector<std::string> ChaseTask::metric_names() const {
  std::vector<std::string> names{"accuracy", "loss"};
  for (int hops = 1; hops <= own_.hops; ++hops) names.push_back("accuracy_hops_" + std::to_string(hops));
  return names;
}

}  // namespace engine
