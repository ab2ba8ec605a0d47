#include "tasks/thought/chase_curriculum.h"

#include <nlohmann/json.hpp>

#include "core/json.h"

namespace engine {

namespace {

constexpr double decay = 0.95, wanted_accuracy = 0.9;
constexpr int64_t least_steps = 20, most_steps = 300;

}  // namespace

int ChaseCurriculum::draw(Random& random) const {
  const int any = 1 + static_cast<int>(random.below(static_cast<uint32_t>(stage_)));
  return stage_ < most_ && random.uniform() < 0.5f ? stage_ : any;
}

void ChaseCurriculum::step_done(double accuracy_of_stage) {
  ++steps_;
  if (accuracy_of_stage >= 0) accuracy_ = decay * accuracy_ + (1 - decay) * accuracy_of_stage;
  const bool is_learned = accuracy_ > wanted_accuracy && steps_ >= least_steps;
  if (stage_ == most_ || !(is_learned || steps_ >= most_steps)) return;
  ++stage_;
  steps_ = 0;
  accuracy_ = 0;
}

std::string ChaseCurriculum::state() const {
  return nlohmann::json{{"stage", stage_}, {"steps", steps_}, {"accuracy", accuracy_}}.dump() + "\n";
}

void ChaseCurriculum::set_state(const std::string& text, const std::string& where) {
  const nlohmann::json json = parse_json(text, where);
  stage_ = static_cast<int>(json_integer(json, "stage", where, 1, most_));
  steps_ = json_integer(json, "steps", where, 0, INT64_MAX);
  accuracy_ = json_number(json, "accuracy", where);
}

}  // namespace engine
