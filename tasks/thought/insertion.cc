#include "tasks/thought/insertion.h"

#include "core/error.h"

namespace engine {

bool drop_for_thoughts(const ThoughtPlan& plan, std::vector<int32_t>& tokens) {
  if (!plan.fits(tokens.size())) return false;
  tokens.resize(tokens.size() - static_cast<size_t>(plan.count));
  return true;
}

bool insert_thoughts(const ThoughtPlan& plan, Random& random, std::vector<int32_t>& tokens) {
  if (!drop_for_thoughts(plan, tokens)) return false;
  for (int64_t i = 0; plan.inserts && i < plan.count; ++i) {
    const auto choices = static_cast<uint32_t>(static_cast<int64_t>(tokens.size()) - plan.count + 1);
    tokens.insert(tokens.begin() + static_cast<ptrdiff_t>(plan.count + random.below(choices)), plan.thought);
  }
  return true;
}

void append_sequence(std::span<const int32_t> tokens, int32_t thought, SequenceBatch& batch) {
  require(tokens.size() >= 2, "a sequence of ", tokens.size(), " tokens has no target: at least 2 are needed");
  batch.tokens.insert(batch.tokens.end(), tokens.begin(), tokens.end() - 1);
  for (const int32_t target : tokens.subspan(1)) batch.targets.labels.push_back(target == thought ? -100 : target);
  batch.end_sequence();
}

}  // namespace engine
