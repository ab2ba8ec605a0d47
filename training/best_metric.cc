#include "training/best_metric.h"

#include <algorithm>

#include "core/error.h"

namespace engine {

std::pair<std::string, bool> best_metric(const Config& config, const Task& task) {
  const std::string& name = config.training.best_metric;
  if (name.empty()) return task.best_metric();
  const std::vector<std::string> names = task.metric_names();
  if (std::find(names.begin(), names.end(), name) == names.end()) {
    std::string known;
    for (const std::string& one : names) known += (known.empty() ? "" : ", ") + one;
    fail_usage("training.best_metric is ", name, ", which this task does not measure: it measures ", known);
  }
  return {name, !name.ends_with("loss") && !name.ends_with("perplexity")};
}

}  // namespace engine
