#include "tasks/thought/chase.h"

#include <numeric>
#include <string_view>

#include "core/hash.h"

namespace engine {

namespace {

constexpr uint32_t kept_share = 16;  // one problem in so many is for evaluation

std::vector<int> permutation(Random& random, int count) {
  std::vector<int> order(static_cast<size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.below(static_cast<uint32_t>(i))]);
  return order;
}

// Tells by a problem without its number of hops.
bool is_kept(const std::vector<int32_t>& edges, int32_t begin) {
  uint64_t hash = hash_of({reinterpret_cast<const char*>(edges.data()), edges.size() * sizeof edges[0]});
  // The lower bits of this hash are functions of the lower bits of the tokens alone, so all are mixed.
  hash = hash_of({reinterpret_cast<const char*>(&begin), sizeof begin}, hash);
  return Random(hash, 0).below(kept_share) == 0;
}

}  // namespace

std::unique_ptr<Tokenizer> make_chase_tokenizer(int nodes, int hops, const std::string& thought) {
  const auto in_brackets = [](const std::string& text) { return std::string("[").append(text).append("]"); };
  std::vector<std::string> symbols;
  for (int node = 0; node < nodes; ++node) symbols.push_back(in_brackets(std::to_string(node)));
  for (int from = 0; from < nodes; ++from)
    for (int to = 0; to < nodes; ++to)
      symbols.push_back(in_brackets(std::to_string(from).append(">").append(std::to_string(to))));
  for (int p = 1; p <= hops; ++p) symbols.push_back(in_brackets(std::string("hops=").append(std::to_string(p))));
  return make_symbol_tokenizer(symbols, {thought});
}

ChaseArm chase_arm_of(const std::string& name) {
  return name == "none" ? ChaseArm::none : name == "pause" ? ChaseArm::pause : ChaseArm::written;
}

ChaseProblem ChaseProblems::draw(Random& random, int hops, Split split) const {
  ChaseProblem problem;
  std::vector<int> next(static_cast<size_t>(nodes_));
  while (true) {
    problem.prompt.clear();
    const std::vector<int> cycle = permutation(random, nodes_), order = permutation(random, nodes_);
    for (size_t i = 0; i < cycle.size(); ++i) next[static_cast<size_t>(cycle[i])] = cycle[(i + 1) % cycle.size()];
    for (const int from : order) problem.prompt.push_back(edge_token(from, next[static_cast<size_t>(from)]));
    auto node = static_cast<int>(random.below(static_cast<uint32_t>(nodes_)));
    if (is_kept(problem.prompt, node) != (split == Split::evaluation)) continue;
    problem.prompt.push_back(hops_token(hops));
    problem.prompt.push_back(node_token(node));
    for (int p = 0; p < hops; ++p) problem.steps.push_back(node_token(node = next[static_cast<size_t>(node)]));
    return problem;
  }
}

void ChaseProblems::append(const ChaseProblem& problem, ChaseArm arm, SequenceBatch& batch) const {
  std::vector<int32_t>& tokens = batch.tokens;
  std::vector<int32_t>& labels = batch.targets.labels;
  tokens.insert(tokens.end(), problem.prompt.begin(), problem.prompt.end());
  labels.resize(tokens.size(), -100);
  if (arm == ChaseArm::written) {
    labels.pop_back();
    labels.insert(labels.end(), problem.steps.begin(), problem.steps.end());
    tokens.insert(tokens.end(), problem.steps.begin(), problem.steps.end() - 1);
  } else {
    if (arm == ChaseArm::pause) tokens.insert(tokens.end(), problem.steps.size(), thought_token());
    labels.resize(tokens.size(), -100);
    labels.back() = problem.answer();
  }
  batch.end_sequence();
}

}  // namespace engine
