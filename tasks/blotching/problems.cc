#include "tasks/blotching/problems.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace engine {

namespace {

// Validation is the same whatever the run's seed, so that runs can be compared.
constexpr uint64_t validation_seed = 453345, validation_stream = uint64_t{0x626c} << 48;
constexpr int most_redraws = 100;
// A problem is drawn to its end up to so many characters at least, whatever rows are allowed.
constexpr int64_t least_limit = 4096;
constexpr double largest_counted = 1e15;
constexpr double largest_exhaustive_value = 400;
constexpr size_t most_exhaustive = 50000, most_enumerated = 1000000;

void shuffle(std::vector<std::string>& texts, Random& random) {
  for (size_t i = texts.size(); i > 1; --i)
    std::swap(texts[i - 1], texts[random.below(static_cast<uint32_t>(i))]);
}

// Lists problems without parentheses, an operator's sequence after another.
class Enumeration {
 public:
  Enumeration(const BlotchingConfig& config, size_t most) : config_(config), most_(most) { extend_operators(); }

  bool is_complete() const { return is_complete_; }
  std::vector<std::string>& found() { return found_; }

 private:
  void extend_operators() {
    const auto entities = static_cast<int64_t>(operators_.size()) + 1;
    const bool may_end = entities >= 2 && (entities == config_.max_ents || config_.p_ent < 1);
    if (may_end && is_complete_) list_problems();
    if (!is_complete_ || entities == config_.max_ents || (entities >= 2 && config_.p_ent == 0)) return;
    const bool is_spaced = config_.space_mults && operators_.ends_with('*');
    for (const char op : {'+', '*'}) {
      if (op == '*' ? is_spaced || config_.p_mult == 0 : !is_spaced && config_.p_mult == 1) continue;
      operators_ += op;
      extend_operators();
      operators_.pop_back();
    }
  }
  bool is_factor(size_t entity) const {
    return (entity > 0 && operators_[entity - 1] == '*') || (entity < operators_.size() && operators_[entity] == '*');
  }
  int64_t first_of(size_t entity) const { return is_factor(entity) || config_.zipf_order == 0 ? 0 : 1; }
  int64_t last_of(size_t entity) const {
    return is_factor(entity) && !config_.one_small_factor ? config_.max_mult_num : config_.max_num;
  }
  void list_problems() {
    double count = 1;
    for (size_t i = 0; i <= operators_.size(); ++i) count *= static_cast<double>(last_of(i) - first_of(i) + 1);
    is_complete_ = static_cast<double>(found_.size()) + count <= static_cast<double>(most_);
    if (is_complete_) list_from(0, "");
  }
  void list_from(size_t entity, const std::string& text, int64_t before = 0) {
    if (entity > operators_.size()) {
      found_.push_back(text);
      return;
    }
    for (int64_t number = first_of(entity); number <= last_of(entity); ++number) {
      const bool is_second = entity > 0 && operators_[entity - 1] == '*';
      if (is_second && !may_multiply(before, number)) continue;
      std::string next = text;
      append_integer(number, next);
      if (entity < operators_.size()) next += operators_[entity];
      list_from(entity + 1, next, number);
    }
  }
  // One of two factors is small. The other is a number, which is not 0 where Zipf's law draws it.
  bool may_multiply(int64_t a, int64_t b) const {
    const auto fits = [&](int64_t small, int64_t other) {
      return small <= config_.max_mult_num && (!config_.one_small_factor || config_.zipf_order == 0 || other > 0);
    };
    return fits(a, b) || fits(b, a);
  }

  const BlotchingConfig& config_;
  size_t most_;
  std::string operators_;
  std::vector<std::string> found_;
  bool is_complete_ = true;
};

}  // namespace

ProblemSampler::ProblemSampler(const BlotchingConfig& config)
    : config_(config), most_characters_(static_cast<size_t>(std::max(config.longest_row(), least_limit))) {
  config.check();
  if (!(largest_value() < largest_counted))
    fail_usage("blotching.max_num = ", config.max_num, ", max_ents = ", config.max_ents, " and max_mult_num = ",
               config.max_mult_num, " make problems with values above 10^15: lower one of them");
  if (config.zipf_order == 0) return;
  double sum = 0;
  for (int64_t k = 1; k <= config.max_num; ++k) {
    sum += std::pow(static_cast<double>(k), -config.zipf_order);
    zipf_.push_back(sum);
  }
  for (double& share : zipf_) share /= sum;
}

double ProblemSampler::largest_of(int64_t entities, bool may_multiply) const {
  const bool has_parentheses = config_.p_paren > 0 && entities > 2;
  const double number = std::max(static_cast<double>(config_.max_num),
                                 has_parentheses ? largest_of(entities - 1, may_multiply) : 0.0);
  const double sum = number * static_cast<double>(entities);
  if (!may_multiply) return sum;
  const auto small = static_cast<double>(config_.max_mult_num);
  const double other = config_.one_small_factor || has_parentheses ? number : small;
  // Each product takes two entities, or all of them are factors of one.
  const double product = config_.space_mults ? small * other * static_cast<double>((entities + 1) / 2)
                                             : std::pow(std::max(small, other), static_cast<double>(entities));
  return std::max(sum, product + sum);
}

double ProblemSampler::largest_value() const {
  if (config_.p_mult > 0) {
    const double all = largest_of(config_.max_ents, true);
    if (config_.p_paren > 0 || !config_.space_mults || config_.one_small_factor) return all;
    // Without parentheses a product replaces two numbers.
    const auto small = static_cast<double>(config_.max_mult_num), number = static_cast<double>(config_.max_num);
    const auto pairs = static_cast<double>(config_.max_ents / 2);
    const double of_pair = std::max(small * small, 2 * number);
    return pairs * of_pair + static_cast<double>(config_.max_ents % 2) * number;
  }
  return largest_of(config_.max_ents, false);
}

int64_t ProblemSampler::draw_number(Random& random) const {
  if (zipf_.empty()) return random.below(static_cast<uint32_t>(config_.max_num + 1));
  const double at = static_cast<double>(random.bits()) * 0x1p-32;
  const auto found = std::upper_bound(zipf_.begin(), zipf_.end(), at);
  return std::min<int64_t>(found - zipf_.begin() + 1, config_.max_num);
}

void ProblemSampler::append_number(Random& random, int64_t most_entities, std::string& text) const {
  if (config_.p_paren > 0 && most_entities > 2 && static_cast<double>(random.uniform()) < config_.p_paren) {
    text += '(';
    append_problem(random, most_entities - 1, text);
    text += ')';
  } else {
    append_integer(draw_number(random), text);
  }
}

void ProblemSampler::append_factors(Random& random, int64_t most_entities, std::string& text) const {
  const bool small_first = random.bits() & 1;
  for (const bool is_small : {small_first, !small_first}) {
    const bool may_enclose = !is_small && config_.p_paren > 0 && most_entities > 2;
    if (!is_small && config_.one_small_factor) append_number(random, most_entities, text);
    else if (may_enclose && static_cast<double>(random.uniform()) < config_.p_paren) {
      text += '(';
      append_problem(random, most_entities - 1, text);
      text += ')';
    } else {
      append_integer(random.below(static_cast<uint32_t>(config_.max_mult_num + 1)), text);
    }
    if (is_small == small_first) text += '*';
  }
}

void ProblemSampler::append_problem(Random& random, int64_t most_entities, std::string& text) const {
  if (text.size() > most_characters_) return;
  size_t last = text.size();  // beginning of the last entity
  append_number(random, most_entities, text);
  bool is_product = false;
  for (int64_t entity = 2; entity <= most_entities && text.size() <= most_characters_; ++entity) {
    if (entity > 2 && !(static_cast<double>(random.uniform()) < config_.p_ent)) continue;
    const bool multiplies = static_cast<double>(random.uniform()) < config_.p_mult;
    is_product = multiplies && !(config_.space_mults && is_product);
    if (is_product) {
      text.resize(last);
      append_factors(random, most_entities, text);
      // The last factor begins behind the last * outside parentheses.
      int depth = 0;
      for (last = text.size(); depth != 0 || text[last - 1] != '*'; --last)
        depth += (text[last - 1] == ')') - (text[last - 1] == '(');
    } else {
      text += '+';
      last = text.size();
      append_number(random, most_entities, text);
    }
  }
}

bool ProblemSampler::draw(Random& random, std::string& problem) const {
  problem.clear();
  append_problem(random, config_.max_ents, problem);
  return problem.size() <= most_characters_;
}

std::vector<std::string> ProblemSampler::all(size_t most) const {
  // The order of draws decides which factors of a chain may be large.
  if (config_.p_paren > 0 || (config_.one_small_factor && !config_.space_mults)) return {};
  Enumeration enumeration(config_, most);
  return enumeration.is_complete() ? std::move(enumeration.found()) : std::vector<std::string>{};
}

ProblemSource::ProblemSource(const BlotchingConfig& config) : sampler_(config), config_(config) {
  const bool is_small = sampler_.largest_value() < largest_exhaustive_value;
  if (config.exhaustive == "always" || (config.exhaustive == "auto" && is_small))
    training_ = sampler_.all(config.exhaustive == "always" ? most_enumerated : most_exhaustive);
  if (training_.empty() && config.exhaustive == "always")
    fail_usage("blotching.exhaustive is \"always\", but there are more than ", most_enumerated,
               " problems: lower blotching.max_num or max_ents, or leave exhaustive out");
  if (training_.empty()) {
    hold_out();
    return;
  }
  std::erase_if(training_, [&](const std::string& problem) { return !solve(problem); });
  Random random(validation_seed, validation_stream);
  shuffle(training_, random);
  const size_t count = std::min(training_.size() / 5, static_cast<size_t>(config.val_samples));
  if (count == 0 || training_.size() < 2)
    fail_usage("blotching: there are only ", training_.size(), " problems, too few to hold a fifth of them out");
  validation_.assign(training_.end() - static_cast<ptrdiff_t>(count), training_.end());
  training_.resize(training_.size() - count);
  held_out_.insert(validation_.begin(), validation_.end());
}

void ProblemSource::hold_out() {
  Random random(validation_seed, validation_stream);
  std::string problem;
  while (static_cast<int64_t>(validation_.size()) < config_.val_samples) {
    if (!draw(random, problem))
      fail_usage("blotching.val_samples is ", config_.val_samples, ", but after ", validation_.size(), " of them ",
                 failure());
    held_out_.insert(problem);
    validation_.push_back(problem);
  }
}

bool ProblemSource::solve(const std::string& problem) {
  return solver_.solve(problem, static_cast<size_t>(config_.longest_row() - 1));  // and the end
}

bool ProblemSource::draw(Random& random, std::string& problem) {
  too_long_ = 0;
  for (int i = 0; i < most_redraws; ++i) {
    if (sampler_.draw(random, problem)) {
      if (held_out_.contains(problem)) continue;
      if (solve(problem)) return true;
    }
    ++too_long_;
  }
  return false;
}

std::string ProblemSource::failure() const {
  std::string text = std::to_string(most_redraws);
  text.append(" draws in a row gave no problem that is not of validation");
  if (too_long_ == 0) return text.append(": lower blotching.val_samples, or raise blotching.max_num");
  text.append(" and has a solution of at most ").append(config_.seq_len ? "blotching.seq_len = " : "");
  text.append(std::to_string(config_.longest_row())).append(" tokens: ").append(std::to_string(too_long_));
  text.append(" were longer. Raise blotching.seq_len, or lower blotching.max_ents");
  if (config_.p_paren > 0) text.append(", blotching.p_paren");
  if (config_.p_mult > 0) text.append(", blotching.max_mult_num, blotching.p_mult");
  if (config_.p_mult > 0 && !config_.space_mults) text.append(", or set blotching.space_mults");
  if (too_long_ < most_redraws) text.append(", or lower blotching.val_samples");
  return text;
}

}  // namespace engine
