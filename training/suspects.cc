#include "training/suspects.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "core/error.h"

namespace engine {

void Suspects::add(double loss, const std::function<nlohmann::ordered_json()>& example) {
  if (!std::isfinite(loss)) return;
  const std::pair<double, size_t> place{-loss, added_++};
  if (kept_.size() == most_ && kept_.rbegin()->first < place) return;
  nlohmann::ordered_json line = example();
  line["loss"] = loss;
  kept_.emplace(place, line.dump());
  if (kept_.size() > most_) kept_.erase(std::prev(kept_.end()));
}

void Suspects::add_sequences(const SequenceBatch& batch, std::span<const float> losses,
                             const Example& example) {
  require(static_cast<int64_t>(losses.size()) == batch.scored(), "there are ", losses.size(), " losses for ",
          batch.scored(), " scored tokens");
  size_t at = 0;
  for (int64_t s = 0; s < batch.sequences(); ++s) {
    const auto count = static_cast<size_t>(batch.scored(s, s + 1));
    double sum = 0;
    for (const float loss : losses.subspan(at, count)) sum += static_cast<double>(loss);
    at += count;
    if (count > 0) add(sum / static_cast<double>(count), [&] { return example(static_cast<size_t>(s)); });
  }
}

std::vector<std::string> Suspects::lines() const {
  std::vector<std::string> lines;
  for (const auto& [place, line] : kept_) lines.push_back(line);
  return lines;
}

}  // namespace engine
