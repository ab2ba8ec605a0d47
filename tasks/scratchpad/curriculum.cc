#include "tasks/scratchpad/curriculum.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "core/error.h"
#include "core/json.h"

namespace engine {

namespace {

constexpr uint64_t curriculum_stream = uint64_t{0x6375} << 48;
constexpr double forgetting = 0.01;

// Reads a text that is a number and nothing else.
template <class Number>
bool read_number(std::string_view text, Number& number) {
  const auto result = std::from_chars(text.data(), text.data() + text.size(), number);
  return result.ec == std::errc{} && result.ptr == text.data() + text.size();
}

}  // namespace

Mixture::Mixture(const std::vector<std::string>& text, const std::string& option) {
  for (const std::string& entry : text) {
    const size_t colon = entry.find(':');
    int level = -1;
    uint32_t part = 0;
    const bool good = colon != std::string::npos && read_number(std::string_view(entry).substr(0, colon), level) &&
                      read_number(std::string_view(entry).substr(colon + 1), part) && 0 <= level && level <= 6 &&
                      1 <= part && part <= 1000000;
    if (!good)
      fail_usage(option, ": \"", entry, "\" is not level:parts, such as \"2:9\" (level 0 to 6, parts from 1)");
    if (has(level)) fail_usage(option, ": level ", level, " is there twice");
    levels.push_back(level);
    parts.push_back(part);
    total += part;
  }
  if (levels.empty()) fail_usage(option, " is empty: name at least one level, such as \"1:1\"");
}

int Mixture::draw(Random& random) const {
  uint32_t at = random.below(total);
  size_t i = 0;
  for (; at >= parts[i]; ++i) at -= parts[i];
  return levels[i];
}

bool Mixture::has(int level) const { return std::find(levels.begin(), levels.end(), level) != levels.end(); }

Curriculum::Curriculum(const ScratchpadConfig& config, uint64_t seed)
    : policy_(config.curriculum),
      seed_(seed),
      epsilon_(static_cast<double>(config.curriculum_epsilon)),
      decay_(static_cast<double>(config.curriculum_decay)),
      rate_(static_cast<double>(config.curriculum_rate)),
      last_(config.mixture, "scratchpad.mixture"),
      mixture_(&last_) {
  int64_t end = 0;
  for (const std::string& stage : config.stages) {
    std::istringstream words(stage);
    std::string first;
    words >> first;
    int64_t steps = 0;
    if (!read_number(std::string_view(first), steps) || steps < 1 || steps > (int64_t{1} << 40))
      fail_usage("scratchpad.stages: \"", stage, "\" does not begin with its steps: such as \"500 1:1 2:3\"");
    std::vector<std::string> mixture;
    for (std::string word; words >> word;) mixture.push_back(word);
    end += steps;
    stages_.push_back({end, Mixture(mixture, "scratchpad.stages: \"" + stage + "\"")});
  }
  if (is_automatic())
    for (const int level : last_.levels) levels_.push_back({.level = level});
}

bool Curriculum::has(int level) const {
  return last_.has(level) || std::any_of(stages_.begin(), stages_.end(),
                                         [&](const Stage& stage) { return stage.mixture.has(level); });
}

std::vector<int> Curriculum::levels() const {
  std::set<int> all(last_.levels.begin(), last_.levels.end());
  for (const Stage& stage : stages_) all.insert(stage.mixture.levels.begin(), stage.mixture.levels.end());
  return {all.begin(), all.end()};
}

void Curriculum::begin_step(int64_t step) {
  const auto stage =
      std::find_if(stages_.begin(), stages_.end(), [&](const Stage& s) { return step < s.end; });
  mixture_ = stage == stages_.end() ? &last_ : &stage->mixture;
  chosen_ = -1;
  if (!is_automatic() || stage != stages_.end()) return;
  Random random(seed_, curriculum_stream | static_cast<uint64_t>(step));
  chosen_ = choose(random);
}

int Curriculum::choose(Random& random) const {
  const auto any = [&] { return levels_[random.below(static_cast<uint32_t>(levels_.size()))].level; };
  if (policy_ == "exp3") {
    const std::vector<double> probability = probabilities();
    auto left = static_cast<double>(random.uniform());
    for (size_t i = 0; i + 1 < levels_.size(); ++i) {
      if (left < probability[i]) return levels_[i].level;
      left -= probability[i];
    }
    return levels_.back().level;
  }
  for (const Level& level : levels_)
    if (level.steps < 2) return level.level;  // its progress is not known
  if (policy_ == "epsilon_greedy" && static_cast<double>(random.uniform()) < epsilon_) return any();
  return std::max_element(levels_.begin(), levels_.end(), [](const Level& a, const Level& b) {
           return a.progress < b.progress;
         })->level;
}

std::vector<double> Curriculum::probabilities() const {
  double sum = 0;
  for (const Level& level : levels_) sum += level.weight;
  std::vector<double> probability;
  for (const Level& level : levels_)
    probability.push_back((1 - epsilon_) * level.weight / sum + epsilon_ / static_cast<double>(levels_.size()));
  return probability;
}

void Curriculum::step_done(double loss) {
  if (chosen_ < 0) return;
  const auto found = std::find_if(levels_.begin(), levels_.end(), [&](const Level& l) { return l.level == chosen_; });
  Level& level = *found;
  if (level.steps++ == 0) {
    level.mean = loss;
    return;
  }
  const double decrease = level.mean - loss;
  level.mean = decay_ * level.mean + (1 - decay_) * loss;
  level.progress = decay_ * level.progress + (1 - decay_) * decrease;
  scale_ = scale_ == 0 ? std::abs(decrease) : decay_ * scale_ + (1 - decay_) * std::abs(decrease);
  if (policy_ != "exp3") return;
  const double reward = scale_ > 0 ? std::clamp(decrease / scale_, -1.0, 1.0) : 0;
  const double probability = probabilities()[static_cast<size_t>(found - levels_.begin())];
  level.weight *= std::exp(std::clamp(rate_ * reward / probability, -20.0, 20.0));
  double sum = 0;
  for (const Level& l : levels_) sum += l.weight;
  // Scales them to a sum of K, so that no weight runs away.
  const auto count = static_cast<double>(levels_.size());
  for (Level& l : levels_) l.weight = (1 - forgetting) * l.weight / sum * count + forgetting;
}

Metrics Curriculum::log() const {
  Metrics metrics;
  const std::vector<double> probability = policy_ == "exp3" ? probabilities() : std::vector<double>{};
  for (size_t i = 0; i < levels_.size(); ++i) {
    const std::string level = std::to_string(levels_[i].level);
    metrics.emplace_back("progress_level_" + level, levels_[i].progress);
    if (!probability.empty()) metrics.emplace_back("probability_level_" + level, probability[i]);
  }
  return metrics;
}

std::string Curriculum::state() const {
  if (!is_automatic()) return "";
  nlohmann::json levels = nlohmann::json::array();
  for (const Level& l : levels_) levels.push_back({l.steps, l.mean, l.progress, l.weight});
  return nlohmann::json{{"levels", levels}, {"scale", scale_}}.dump();
}

void Curriculum::set_state(const std::string& text) {
  if (!is_automatic()) return;
  const std::string where = "the state's curriculum";
  const nlohmann::json json = parse_json(text, where);
  const nlohmann::json& levels = json_member(json, "levels", where);
  require(levels.is_array() && levels.size() == levels_.size(), where, " is not of ", levels_.size(), " levels");
  for (size_t i = 0; i < levels_.size(); ++i) {
    const nlohmann::json& l = levels[i];
    const bool good = l.is_array() && l.size() == 4 && l[0].is_number_integer() && l[1].is_number() &&
                      l[2].is_number() && l[3].is_number();
    require(good, where, " is damaged at level ", levels_[i].level);
    levels_[i] = {levels_[i].level, l[0].get<int64_t>(), l[1].get<double>(), l[2].get<double>(), l[3].get<double>()};
  }
  scale_ = json_number(json, "scale", where);
}

}  // namespace engine
