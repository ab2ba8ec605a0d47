#include "tasks/blotching/changes.h"

#include <algorithm>
#include <cstdio>

namespace engine {

namespace {

// An example, where there are not enough yet.
class Examples {
 public:
  Examples(std::string& text, int64_t most) : text_(text), left_(most) {}
  void add(std::string_view before, std::string_view after, const std::string& why = "") {
    if (left_-- <= 0) return;
    text_.append("  ").append(before).append("\n  -> ").append(after).append(why).append("\n");
  }

 private:
  std::string& text_;
  int64_t left_;
};

std::string two_places(float number) {
  char text[32];
  return {text, static_cast<size_t>(std::snprintf(text, sizeof text, "%+.2f", static_cast<double>(number)))};
}

std::string problem_of(std::string_view row) { return std::string(row.substr(0, row.find('='))); }

size_t longest_solution(std::span<const std::string> rows) {
  size_t longest = 1;
  for (const std::string& row : rows) longest = std::max(longest, solution_tokens(row));
  return longest;
}

std::string title(int64_t epoch, const char* change, int64_t tried, int64_t done) {
  std::string text = "epoch ";
  return text.append(std::to_string(epoch)).append(": ").append(change).append(" ").append(std::to_string(done))
      .append(" of ").append(std::to_string(tried)).append("\n");
}

}  // namespace

bool ChangeSchedule::is_plateau(double loss) {
  if (config_.any_rise) {
    const bool is_above = !window_.empty() && loss > window_.back();
    window_ = {loss};
    return is_above;
  }
  window_.push_back(loss);
  const auto gap = static_cast<size_t>(config_.min_aug_gap);
  if (window_.size() > gap) window_.erase(window_.begin());
  return window_.size() == gap &&
         std::all_of(window_.begin() + 1, window_.end(), [&](double later) { return window_[0] < later; });
}

bool ChangeSchedule::is_due(int64_t epoch, double loss) {
  const bool is_flat = config_.aug_mod < 0 && is_plateau(loss);
  if (epoch < config_.pre_epochs || !config_.changes_rows()) return false;
  if (config_.aug_mod > 0) return epoch % config_.aug_mod == 0;
  if (is_flat && !config_.any_rise) window_.clear();
  return is_flat;
}

uint64_t RowChanges::stream(Use use, int64_t epoch) const {
  return uint64_t{0x6263} << 48 | static_cast<uint64_t>(use) << 40 | static_cast<uint64_t>(epoch);
}

uint64_t RowChanges::seed_of(Use use, int64_t epoch, int64_t loop) const {
  Random random(seed_, stream(use, epoch));
  random.seek(static_cast<uint64_t>(4 * loop));
  const uint64_t high = random.bits();
  return high << 32 | random.bits();
}

Writing RowChanges::writing(const SharedGenerator& generator, double share, double temperature, uint64_t seed) const {
  return {.generator = generator,
          .format = format_,
          .level = levels_.nearest(share),
          .temperature = temperature,
          .seed = seed};
}

int64_t RowChanges::loops(int64_t wanted) const {
  const auto size = static_cast<int64_t>(cache_.size());
  const int64_t all = std::max<int64_t>(1, size / config_.loop_rows);
  return wanted < 0 ? (size + config_.loop_rows - 1) / config_.loop_rows : std::min(wanted, all);
}

std::vector<uint32_t> RowChanges::rows_of_loop(const std::vector<uint32_t>& order, int64_t loop) const {
  const auto size = static_cast<int64_t>(order.size());
  const int64_t first = loop * config_.loop_rows, last = std::min(first + config_.loop_rows, size);
  return {order.begin() + first, order.begin() + last};
}

ChangeExamples RowChanges::run(Machine& machine, Model& model, const SharedGenerator& generator, int64_t epoch,
                               size_t longest, ChangeCounts& counts) {
  ChangeExamples examples;
  if (config_.star_loops != 0) star(generator, epoch, longest, counts, examples.star);
  if (config_.aug_loops != 0) augment(generator, epoch, counts, examples.aug);
  if (config_.axe_loops != 0) axe(machine, model, generator, epoch, counts, examples.axe);
  return examples;
}

void RowChanges::star(const SharedGenerator& generator, int64_t epoch, size_t longest, ChangeCounts& counts,
                      std::string& text) {
  Random random(seed_, stream(Use::star_problems, epoch));
  std::string shown;
  Examples examples(shown, config_.example_lines);
  int64_t tried = 0, kept = 0;
  for (int64_t loop = 0; loop < config_.star_loops; ++loop) {
    std::vector<std::string> problems, right;
    std::string problem;
    for (int64_t i = 0; i < config_.loop_rows; ++i) {
      if (!source_.draw(random, problem) || format_.tokens_of(source_.solver().row().size()) > longest) continue;
      problems.push_back(problem);
      right.push_back(source_.solver().row());
    }
    if (problems.empty()) continue;
    Writing how = writing(generator, config_.bootstrap_blotch_p, config_.aug_temp, seed_of(Use::star, epoch, loop));
    how.most_tokens = longest_solution(right);
    std::vector<std::string> written = write_rows(how, problems);
    tried += std::ssize(written);
    for (size_t i = 0; i < written.size(); ++i) {
      const bool is_long = config_.star_force_short && written[i].size() > right[i].size();
      if (!is_right(written[i], right[i]) || is_long) continue;
      ++kept;
      examples.add(right[i], written[i]);
      cache_.add(std::move(written[i]));
    }
  }
  counts.star_tried += tried;
  counts.star_kept += kept;
  text = title(epoch, "STaR kept", tried, kept) + shown;
}

void RowChanges::augment(const SharedGenerator& generator, int64_t epoch, ChangeCounts& counts, std::string& text) {
  const std::vector<uint32_t> order = cache_.order(seed_, stream(Use::augment_order, epoch));
  std::string shown;
  Examples examples(shown, config_.example_lines);
  std::vector<std::string> added;
  int64_t tried = 0, kept = 0;
  for (int64_t loop = 0, count = loops(config_.aug_loops); loop < count; ++loop) {
    const std::vector<uint32_t> places = rows_of_loop(order, loop);
    std::vector<std::string> problems, stored;
    for (const uint32_t place : places) {
      stored.push_back(cache_[place]);
      problems.push_back(problem_of(cache_[place]));
    }
    Writing how = writing(generator, config_.bootstrap_blotch_p, config_.aug_temp, seed_of(Use::augment, epoch, loop));
    how.most_tokens = longest_solution(stored);
    std::vector<std::string> written = write_rows(how, problems);
    tried += std::ssize(written);
    for (size_t i = 0; i < written.size(); ++i) {
      if (!is_right(written[i], stored[i]) || written[i].size() >= stored[i].size()) continue;
      ++kept;
      examples.add(stored[i], written[i]);
      if (config_.in_place) cache_.replace(places[i], std::move(written[i]));
      else added.push_back(std::move(written[i]));
    }
  }
  for (std::string& row : added) cache_.add(std::move(row));
  counts.aug_tried += tried;
  counts.aug_kept += kept;
  text = title(epoch, "augment shortened", tried, kept) + shown;
}

void RowChanges::axe(Machine& machine, Model& model, const SharedGenerator& generator, int64_t epoch,
                     ChangeCounts& counts, std::string& text) {
  const std::vector<uint32_t> order = cache_.order(seed_, stream(Use::axe_order, epoch));
  AxeScorer scorer(machine.ops, model, machine.compute, format_);
  std::string shown;
  Examples examples(shown, config_.example_lines);
  int64_t tried = 0, removed = 0;
  for (int64_t loop = 0, count = loops(config_.axe_loops); loop < count; ++loop) {
    std::vector<uint32_t> places = rows_of_loop(order, loop);
    std::erase_if(places, [&](uint32_t place) { return steps_of(equal_signs(cache_[place])) == 0; });
    if (places.empty()) continue;
    std::vector<std::string> problems, stored;
    for (const uint32_t place : places) {
      stored.push_back(cache_[place]);
      problems.push_back(problem_of(cache_[place]));
    }
    Writing how = writing(generator, config_.axe_blotch_p, config_.axe_temp, seed_of(Use::axe, epoch, loop));
    how.most_tokens = longest_solution(stored);
    const std::vector<std::string> written = write_rows(how, problems);
    std::vector<uint32_t> solved;
    std::vector<std::string> rows;
    for (size_t i = 0; i < written.size(); ++i) {
      if (!is_right(written[i], stored[i])) continue;
      solved.push_back(places[i]);
      rows.push_back(stored[i]);
    }
    tried += std::ssize(rows);
    // Each rank tries its share of the rows.
    std::vector<int32_t> steps;
    std::vector<float> differences;
    for (const auto& [first, end] : machine.own_shares(std::ssize(rows))) {
      const std::span<const std::string> own = std::span(rows).subspan(static_cast<size_t>(first),
                                                                       static_cast<size_t>(end - first));
      const std::vector<AxeScores> scores = scorer.score(own, how.level);
      for (size_t i = 0; i < own.size(); ++i) {
        const AxeChoice choice = choose_step(own[i], scores[i], config_);
        steps.push_back(choice.step);
        differences.push_back(static_cast<float>(choice.difference));
      }
    }
    steps = machine.communicator.gather(steps);
    differences = machine.communicator.gather(differences);
    for (size_t i = 0; i < rows.size(); ++i) {
      if (steps[i] < 0) continue;
      std::vector<bool> left_out(steps_of(equal_signs(rows[i])), false);
      left_out[static_cast<size_t>(steps[i])] = true;
      std::string shorter = without_steps(rows[i], left_out);
      examples.add(rows[i], shorter, "  (loss " + two_places(differences[i]) + ")");
      cache_.replace(solved[i], std::move(shorter));
      ++removed;
    }
  }
  counts.axe_tried += tried;
  counts.axe_removed += removed;
  text = title(epoch, "axe removed a step from", tried, removed) + shown;
}

}  // namespace engine
