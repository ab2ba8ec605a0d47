#include "tasks/blotching/evaluation.h"

#include <algorithm>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "core/error.h"

namespace engine {

namespace {

const char* const measures[] = {"correct", "len_diff", "len_percent", "generated_tokens"};

std::vector<double> numbers_of(const std::vector<std::string>& texts, const char* option, const Range& range) {
  std::vector<double> numbers;
  for (const std::string& text : texts) {
    try {
      numbers.push_back(number_of<double>(text, range));
    } catch (const UsageError& error) {
      fail_usage("blotching.", option, " has \"", text, "\": ", error.what());
    }
  }
  return numbers;
}

std::string short_text(double number, int digits) {
  std::ostringstream text;
  text.precision(digits);
  text << number;
  return text.str();
}

// Returns how many digits tell the numbers apart, `least` at least.
int digits_apart(const std::vector<double>& numbers, int least) {
  const auto texts = [&](int digits) {
    std::set<std::string> all;
    for (const double number : numbers) all.insert(short_text(number, digits));
    return all.size();
  };
  int digits = least;
  while (digits < std::numeric_limits<double>::max_digits10 && texts(digits) < numbers.size()) ++digits;
  return digits;
}

}  // namespace

SolutionEvaluation::SolutionEvaluation(const BlotchingConfig& config, const BlotchLevels& levels,
                                       const RowFormat& format)
    : config_(config), levels_(levels), format_(format) {
  for (const double share : numbers_of(config.eval_blotch_p, "eval_blotch_p", between(0, 1))) {
    const int level = levels.nearest(share);
    if (std::find(evaluated_.begin(), evaluated_.end(), level) != evaluated_.end())
      fail_usage("blotching.eval_blotch_p has two shares whose nearest blotch token is that of ", levels.share(level));
    evaluated_.push_back(level);
  }
  for (int level = 0; config.eval_blotch_p.empty() && level < levels.count(); ++level) evaluated_.push_back(level);
  std::vector<double> shares;
  for (const int level : evaluated_) shares.push_back(levels.share(level));
  level_digits_ = digits_apart(shares, shares.size() > 20 ? 5 : 2);
  temperatures_ = numbers_of(config.eval_temperatures, "eval_temperatures", at_least(0));
  if (temperatures_.empty()) fail_usage("blotching.eval_temperatures is empty: 0 takes the likeliest token");
  for (size_t i = 0; i < temperatures_.size(); ++i)
    if (std::find(temperatures_.begin(), temperatures_.begin() + static_cast<ptrdiff_t>(i), temperatures_[i]) !=
        temperatures_.begin() + static_cast<ptrdiff_t>(i))
      fail_usage("blotching.eval_temperatures has ", temperatures_[i], " twice");
  temperature_digits_ = digits_apart(temperatures_, 6);
}

void SolutionEvaluation::set_problems(std::span<const std::string> problems) {
  Solver solver;
  for (const std::string& problem : problems) {
    solver.solve(problem);
    problems_.push_back(problem);
    rows_.push_back(solver.row());
    longest_ = std::max(longest_, solution_tokens(solver.row()));
  }
}

std::string SolutionEvaluation::name_of_level(int level) const {
  if (evaluated_.size() < 2) return {};
  return "_p_" + short_text(levels_.share(level), level_digits_);
}

std::string SolutionEvaluation::name_of_temperature(double temperature) const {
  return temperatures_.size() < 2 ? std::string() : "_t_" + short_text(temperature, temperature_digits_);
}

std::vector<std::string> SolutionEvaluation::names() const {
  std::vector<std::string> names;
  for (const int level : evaluated_) {
    for (const double temperature : temperatures_)
      for (const char* const measure : measures)
        names.push_back(measure + name_of_level(level) + name_of_temperature(temperature));
    if (config_.votes) names.push_back("vote_correct" + name_of_level(level));
  }
  return names;
}

Metrics SolutionEvaluation::measure(std::span<const std::string> written, const std::string& suffix) const {
  double right = 0, difference = 0, percent = 0, tokens = 0;
  for (size_t i = 0; i < written.size(); ++i) {
    const auto truth = static_cast<double>(rows_[i].rfind('='));
    const double shorter = truth - static_cast<double>(written[i].rfind('='));
    right += is_right(written[i], rows_[i]);
    difference += shorter;
    percent += 100 * shorter / truth;
    // A row without an end has a mark in place of it.
    tokens += static_cast<double>(solution_tokens(written[i]) - (written[i].ends_with('?') ? 1 : 0));
  }
  const auto count = static_cast<double>(written.size());
  Metrics metrics;
  const double values[] = {right / count, difference / count, percent / count, tokens / count};
  for (size_t i = 0; i < std::size(values); ++i) metrics.emplace_back(measures[i] + suffix, values[i]);
  return metrics;
}

Metrics SolutionEvaluation::write(const SharedGenerator& generator, std::string& samples,
                                  std::string& predictions) const {
  Metrics metrics;
  for (const int level : evaluated_) {
    for (const double temperature : temperatures_) {
      const std::vector<std::string> written = write_rows({.generator = generator,
                                                           .format = format_,
                                                           .level = level,
                                                           .temperature = temperature,
                                                           .seed = evaluation_seed,
                                                           .most_tokens = longest_},
                                                          problems_);
      const Metrics own = measure(written, name_of_level(level) + name_of_temperature(temperature));
      metrics.insert(metrics.end(), own.begin(), own.end());
      if (temperature == temperatures_[0]) show(written, level, temperature, samples);
      for (size_t i = 0; i < written.size(); ++i) {
        const nlohmann::ordered_json line{{"mode", detail::joined("temperature ", temperature)},
                                          {"level", levels_.share(level)},
                                          {"input", problems_[i]},
                                          {"label", answer_of(rows_[i])},
                                          {"prediction", written[i].substr(problems_[i].size() + 1)},
                                          {"right", is_right(written[i], rows_[i])}};
        predictions += line.dump() + "\n";
      }
    }
    if (config_.votes) metrics.emplace_back("vote_correct" + name_of_level(level), vote(generator, level));
  }
  return metrics;
}

double SolutionEvaluation::vote(const SharedGenerator& generator, int level) const {
  const auto votes = static_cast<size_t>(config_.votes);
  std::vector<std::string> asked;
  for (const std::string& problem : problems_) asked.insert(asked.end(), votes, problem);
  const std::vector<std::string> written = write_rows({.generator = generator,
                                                       .format = format_,
                                                       .level = level,
                                                       .temperature = config_.vote_temperature,
                                                       .seed = evaluation_seed + 1,
                                                       .most_tokens = longest_},
                                                      asked);
  double right = 0;
  for (size_t i = 0; i < rows_.size(); ++i)
    right += most_frequent_answer(std::span(written).subspan(i * votes, votes)) == answer_of(rows_[i]);
  return right / static_cast<double>(rows_.size());
}

void SolutionEvaluation::show(std::span<const std::string> written, int level, double temperature,
                              std::string& samples) const {
  for (size_t i = 0; i < written.size() && i < static_cast<size_t>(config_.samples); ++i) {
    samples.append(is_right(written[i], rows_[i]) ? "right  " : "WRONG  ").append(problems_[i]);
    samples.append("  (blotch p ").append(short_text(levels_.share(level), 3)).append(", temperature ")
        .append(short_text(temperature, 3)).append(")\n").append(comparison(rows_[i], written[i])).append("\n");
  }
}

std::string_view most_frequent_answer(std::span<const std::string> rows) {
  std::map<std::string_view, int> counts;
  for (const std::string& row : rows) ++counts[answer_of(row)];
  std::string_view best;
  int most = 0;
  for (const std::string& row : rows)
    if (counts[answer_of(row)] > most) most = counts[best = answer_of(row)];
  return best;
}

std::string comparison(std::string_view right, std::string_view written) {
  Solver solver;
  solver.solve(right.substr(0, right.find('=')));
  std::map<std::string_view, std::string> labels;
  std::ostringstream text;
  text << "  the whole solution\n";
  for (const Statement& statement : solver.statements()) {
    const size_t length = statement.end - statement.begin;
    const std::string_view own = std::string_view(solver.row()).substr(statement.begin, length);
    labels.emplace(own, statement.label());
    text << "    = " << own << "  " << statement.label() << '\n';
  }
  text << "  the model's\n";
  const std::vector<size_t> places = equal_signs(written);
  for (size_t i = 0; i < places.size(); ++i) {
    const size_t end = i + 1 < places.size() ? places[i + 1] : written.size();
    const std::string_view own = written.substr(places[i] + 1, end - places[i] - 1);
    const auto known = labels.find(own);
    text << "    = " << own << (known == labels.end() ? "  -" : "  " + known->second) << '\n';
  }
  return text.str();
}

}  // namespace engine
