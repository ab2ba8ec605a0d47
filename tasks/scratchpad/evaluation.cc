#include "tasks/scratchpad/evaluation.h"

#include <algorithm>
#include <iomanip>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/error.h"

namespace engine {

namespace {

constexpr size_t rows_a_level = 8;   // of the table of samples
constexpr size_t trees_a_level = 2;  // that are drawn, of those with something wrong and of the others
constexpr size_t widest_cell = 56;

// A model that has not learned to stop writes on and on.
std::string shortened(const std::string& text) {
  return text.size() <= widest_cell ? text : text.substr(0, widest_cell - 3) + "...";
}

std::string percent(size_t part, size_t all) {
  std::ostringstream text;
  text << std::fixed << std::setprecision(1) << 100.0 * static_cast<double>(part) / static_cast<double>(all) << " %";
  return text.str();
}

std::string prefix_of(Mode mode) {
  return mode == Mode::free ? "EM_freeform_" : mode == Mode::help ? "EM_" : "EM_results_";
}

bool matches(Mode mode, const Answer& answer) { return mode == Mode::free ? answer.whole : answer.right; }

// Right and wrong answers in turn, as far as there are any of each, spread over the level, which lies in order of its
// operators.
std::vector<const Answer*> chosen(std::span<const Answer> level) {
  std::vector<const Answer*> right, wrong, rows;
  for (const Answer& a : level) (a.right ? right : wrong).push_back(&a);
  const size_t shown_wrong =
      std::min(wrong.size(), std::max(rows_a_level / 2, rows_a_level - std::min(rows_a_level, right.size())));
  const auto take = [&](const std::vector<const Answer*>& from, size_t count) {
    for (size_t j = 0; j < count; ++j) rows.push_back(from[j * from.size() / count]);
  };
  take(right, std::min(right.size(), rows_a_level - shown_wrong));
  take(wrong, shown_wrong);
  return rows;
}

// Trees of the level whose inner results are wrong somewhere, and some without.
std::string drawn_trees(std::span<const Answer> level) {
  std::string text;
  for (const bool wrong : {true, false}) {
    size_t shown = 0;
    for (size_t i = 0; i < level.size() && shown < trees_a_level; ++i) {
      const std::string& tree = level[i].tree;
      if (tree.empty() || (tree.find("WRONG") != std::string::npos) != wrong) continue;
      text += tree;
      ++shown;
    }
  }
  return text;
}

}  // namespace

std::string name_of(Mode mode) { return mode == Mode::free ? "free" : mode == Mode::help ? "help" : "results"; }

std::vector<Mode> modes_of(const std::vector<std::string>& names, const std::string& explanation) {
  if (names.empty()) return {explanation == "self_learned" ? Mode::results : Mode::free};
  std::vector<Mode> modes;
  for (const std::string& name : names) {
    const auto known = {Mode::free, Mode::help, Mode::results};
    const auto found = std::find_if(known.begin(), known.end(), [&](Mode mode) { return name_of(mode) == name; });
    if (found == known.end()) fail_usage("scratchpad.evaluation: \"", name, "\" is none of free, help and results");
    if (std::find(modes.begin(), modes.end(), *found) != modes.end())
      fail_usage("scratchpad.evaluation: \"", name, "\" is there twice");
    if (*found != Mode::free && explanation == "none")
      fail_usage("scratchpad.evaluation: \"", name, "\" gives a part of the steps, which explanation = \"none\" does "
                 "not write: free alone");
    modes.push_back(*found);
  }
  return modes;
}

std::string final_value(const std::string& generated) {
  const size_t equals = generated.rfind('=');
  if (equals == std::string::npos) return generated;
  std::string value = generated.substr(equals + 1);
  if (!value.empty() && value.back() == ')') value.pop_back();
  return value;
}

std::vector<Answer> Answerer::answer(Mode mode, std::span<const Expression* const> expressions,
                                     InnerResults& inner) const {
  std::vector<Answer> answers;
  for (const Expression* e : expressions)
    answers.push_back({.expression = e, .expected = with_steps ? e->oracle(form) : std::to_string(e->value)});
  if (mode == Mode::results) {
    const std::vector<SelfWritten> written =
        writer.write(generator, expressions, {.with_root = true, .drawn = true}, inner);
    for (size_t i = 0; i < answers.size(); ++i) {
      answers[i].text = written[i].before_value + written[i].value + ")";
      answers[i].tree = written[i].tree;
    }
  } else {
    Prompts prompts;
    for (Answer& a : answers) {
      if (mode == Mode::help) a.text = a.expression->oracle_without_value(form);
      format.append_prompt(a.expression->input(), a.text, prompts);
    }
    // A sign, the parenthesis and the end come to a value.
    const int longest = mode == Mode::free && with_steps ? max_total_length + 1 : max_answer_length + 3;
    const std::vector<std::string> texts =
        generate_texts(generator, format, prompts, {.max_new_tokens = longest, .end_tokens = {format.end_token()}});
    for (size_t i = 0; i < answers.size(); ++i) answers[i].text += texts[i];
  }
  for (Answer& a : answers) {
    a.right = final_value(a.text) == std::to_string(a.expression->value);
    a.whole = a.text == a.expected;
  }
  return answers;
}

std::vector<std::string> match_names(Mode mode, int levels) {
  std::vector<std::string> names;
  for (int level = 0; level <= levels; ++level)
    for (const char* average : {"_per_sample", "_per_batch"})
      names.push_back(prefix_of(mode) + (level ? std::to_string(level) : "all") + average);
  return names;
}

Metrics match_metrics(Mode mode, const std::vector<Answer>& answers, const Levels& levels, size_t batch_size) {
  Metrics metrics;
  const std::vector<std::string> names = match_names(mode, static_cast<int>(levels.size()) - 1);
  for (size_t level = 0, name = 0; level < levels.size(); ++level) {
    const size_t begin = level ? levels[level - 1] : 0, end = level ? levels[level] : answers.size();
    double of_samples = 0, of_batches = 0, batches = 0;
    for (size_t first = begin, last; first < end; first = last) {
      last = std::min((first / batch_size + 1) * batch_size, end);
      double right = 0;
      for (size_t i = first; i < last; ++i) right += matches(mode, answers[i]);
      of_samples += right;
      of_batches += right / static_cast<double>(last - first);
      ++batches;
    }
    metrics.emplace_back(names[name++], of_samples / static_cast<double>(end - begin));
    metrics.emplace_back(names[name++], of_batches / batches);
  }
  return metrics;
}

std::string table(const std::vector<Answer>& answers, const Levels& levels,
                  const std::function<bool(int)>& is_trained) {
  std::ostringstream text;
  for (size_t i = 0; i + 1 < levels.size(); ++i) {
    const std::span<const Answer> all = std::span(answers).subspan(levels[i], levels[i + 1] - levels[i]);
    const std::vector<const Answer*> rows = chosen(all);
    size_t input_width = 5, generated_width = 9;
    for (const Answer* a : rows) {
      input_width = std::max(input_width, a->expression->input().size());
      generated_width = std::max(generated_width, shortened(a->text).size());
    }
    const int level = static_cast<int>(i) + 1;
    size_t right = 0;
    for (const Answer& a : all) right += a.right;
    text << (i ? "\n" : "") << "level " << level << (is_trained(level) ? "" : " (not trained on)") << ": "
         << percent(right, all.size()) << " of " << all.size() << " right\n";
    const auto row = [&](const std::string& input, const std::string& generated, const std::string& verdict,
                         const std::string& expected) {
      text << "  " << std::left << std::setw(7) << verdict << std::setw(static_cast<int>(input_width) + 2) << input
           << std::setw(static_cast<int>(generated_width) + 2) << generated << expected << '\n';
    };
    row("input", "generated", "", "expected");
    for (const Answer* a : rows)
      row(a->expression->input(), shortened(a->text), a->right ? "right" : "WRONG", a->expected);
    if (level > 1) text << drawn_trees(all);
  }
  return text.str();
}

std::string prediction_lines(Mode mode, const std::vector<Answer>& answers) {
  std::string lines;
  for (const Answer& a : answers)
    lines += nlohmann::ordered_json{{"mode", name_of(mode)},
                                    {"level", a.expression->level},
                                    {"input", a.expression->input()},
                                    {"label", a.expected},
                                    {"prediction", a.text}}
                 .dump() +
             "\n";
  return lines;
}

}  // namespace engine
