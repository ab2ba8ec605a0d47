// Reads a sweep.cfg.
#include <algorithm>
#include <cmath>

#include "commands/numbers.h"
#include "commands/settings.h"
#include "commands/sweep_plan.h"
#include "core/listing.h"
#include "core/toml.h"
#include "training/run_folder.h"

namespace engine {

namespace {

void declare(Options& options, SweepPlan& plan) {
  options.add("task", plan.task, any_value(), "the task.cfg of all trainings");
  options.add("name", plan.name, any_value(), "the sweep's name: its folder is output_dir/name");
  options.add("output_dir", plan.output_dir, any_value(), "the folder of the sweep's folder");
  options.add("method", plan.method, one_of({"grid", "random", "halving"}), "how points are chosen");
  options.add("trials", plan.trials, between(1, 100000), "points of random and halving");
  options.add("seeds", plan.seeds, "seeds of each point's trainings");
  options.add("seed", plan.seed, any_value(), "seed of the points that are drawn");
  options.add("metric", plan.metric, any_value(), "the metric that counts");
  options.add("parallel", plan.parallel, between(0, 1024), "trainings at once; 0: as many as gpus, or one");
  options.add("gpus", plan.gpus, between(0, 1024), "GPUs that trainings are spread over");
  options.add("threads", plan.threads, between(0, 1024), "threads of each training");
  options.add("min_steps", plan.min_steps, at_least(1), "halving: steps of the first rung");
  options.add("max_steps", plan.max_steps, at_least(0), "halving: steps of the last rung");
  options.add("factor", plan.factor, between(2, 100), "halving: one in so many points goes on");
}

std::string shown(const toml::node& node) {
  std::ostringstream text;
  node.visit([&](const auto& value) { text << value; });
  return text.str();
}

// A value as the command line takes it. A list of strings becomes "a,b".
std::string text_of(const toml::node& node, const std::string& where) {
  if (const auto* const text = node.as_string()) return text->get();
  if (const auto* const flag = node.as_boolean()) return flag->get() ? "true" : "false";
  if (const auto* const integer = node.as_integer()) return std::to_string(integer->get());
  if (const auto* const number = node.as_floating_point()) {
    std::string digits;
    append_number(digits, number->get());
    return digits;
  }
  std::string text;
  const auto* const list = node.as_array();
  if (!list) fail_usage(where, " is ", shown(node), ": a value is a text, a number, true or false");
  for (const toml::node& element : *list) text += (text.empty() ? "" : ",") + text_of(element, where);
  return text;
}

class Reader {
 public:
  Reader(std::string file, SweepPlan& plan) : file_(std::move(file)), plan_(plan) { declare(own_, plan); }

  void read(const toml::table& table) {
    for (const auto& [key, node] : table) {
      const std::string name(key.str());
      if (name == "options" || name == "set") {
        if (!node.is_table()) fail_usage(line_of(node), ": ", name, " is a section: write [", name, "]");
      } else {
        read_own(name, node, line_of(key.source()));
      }
    }
    if (plan_.task.empty()) fail_usage(file_, ": task is missing, the task.cfg of all trainings");
    if (plan_.name.empty()) fail_usage(file_, ": name is missing, that of the sweep's folder");
    check_name(plan_.name);
    settings_.options.read_file(plan_.task);
    if (const auto* const set = table["set"].as_table()) read_set(*set, "");
    if (const auto* const options = table["options"].as_table()) read_spaces(*options, "");
    if (plan_.spaces.empty())
      fail_usage(file_, ": the section [options] is missing, which has a list or a range of each option to search");
    check_method();
    if (plan_.parallel == 0) plan_.parallel = std::max<int64_t>(1, plan_.gpus);
  }

 private:
  std::string line_of(const toml::source_region& source) const {
    return file_ + ":" + std::to_string(source.begin.line);
  }
  std::string line_of(const toml::node& node) const { return line_of(node.source()); }

  void read_own(const std::string& name, const toml::node& node, const std::string& where) {
    if (!own_.has(name)) {
      std::vector<std::string> names = own_.names();
      names.insert(names.end(), {"options", "set"});
      fail_usage(where, ": there is no key ", name, "; the nearest is ", nearest_name(name, names),
                 ". Options of a training stand in [set] or [options]");
    }
    const std::string what = line_of(node) + ": " + name + " is " + shown(node);
    if (const auto* const list = node.as_array(); list && name == "seeds") {
      for (const toml::node& element : *list) plan_.seeds.push_back(text_of(element, what));
      for (const std::string& seed : plan_.seeds) check("seed", seed, what);
    } else if (node.is_array() || node.is_table() || name == "seeds") {
      fail_usage(what, name == "seeds" ? ": it must be a list of integers" : ": it must be one value");
    } else {
      own_.set_values(name, {text_of(node, what)}, what);
    }
  }

  // Calls read(option, node) for each option in a table and the tables in it, and says which of them is unknown.
  template <class Read>
  void each_option(const toml::table& table, const std::string& prefix, const Read& read) {
    for (const auto& [key, node] : table) {
      const std::string name = prefix + std::string(key.str());
      if (settings_.options.has(name)) {
        for (const char* own : {"name", "output_dir", "seed", "resume", "task"})
          if (name == own)
            fail_usage(line_of(key.source()), ": ", name, " is the sweep's own: it is no option to set here");
        read(name, node);
      } else if (const auto* const inner = node.as_table()) {
        each_option(*inner, name + ".", read);
      } else {
        fail_usage(line_of(key.source()), ": there is no option ", name, "; the nearest is ",
                   settings_.options.nearest(name));
      }
    }
  }

  // Refuses what the option's own reader refuses.
  void check(const std::string& option, const std::string& text, const std::string& what) {
    settings_.options.set_values(option, {text}, what);
  }

  void read_set(const toml::table& table, const std::string& prefix) {
    each_option(table, prefix, [&](const std::string& name, const toml::node& node) {
      const std::string what = line_of(node) + ": " + name + " is " + shown(node);
      plan_.set.emplace_back(name, text_of(node, what));
      check(name, plan_.set.back().second, what);
    });
  }

  void read_spaces(const toml::table& table, const std::string& prefix) {
    each_option(table, prefix, [&](const std::string& name, const toml::node& node) {
      const std::string what = line_of(node) + ": " + name + " is " + shown(node);
      for (const auto& [option, text] : plan_.set)
        if (option == name) fail_usage(what, ": it stands in [set], too: leave one of them out");
      SearchSpace& space = plan_.spaces.emplace_back();
      space.option = name;
      if (const auto* const list = node.as_array()) {
        if (list->empty()) fail_usage(what, ": a list has a value or more");
        for (const toml::node& element : *list) {
          space.values.push_back(text_of(element, what));
          check(name, space.values.back(), what);
        }
      } else if (const auto* const range = node.as_table()) {
        read_range(*range, what, space);
      } else {
        fail_usage(what, ": it must be a list, [a, b], or a range, such as { log_uniform = [1e-5, 1e-3] }; one value ",
                   "stands in [set]");
      }
    });
  }

  void read_range(const toml::table& table, const std::string& what, SearchSpace& space) {
    const std::vector<std::string> kinds{"uniform", "log_uniform", "integers"};
    bool has_kind = false;
    for (const auto& [key, node] : table) {
      const std::string name(key.str());
      const auto found = std::find(kinds.begin(), kinds.end(), name);
      if (name == "count" && node.is_integer() && node.as_integer()->get() >= 2) {
        space.count = node.as_integer()->get();
        continue;
      }
      if (name == "count") fail_usage(what, ": count is an integer of at least 2");
      if (found == kinds.end())
        fail_usage(what, ": a range has no ", name, "; it has one of ", listed(kinds, " and "), ", and perhaps count");
      const auto* const ends = node.as_array();
      double low = NAN, high = NAN;
      if (ends && ends->size() == 2) {
        low = ends->get(0)->value_or(low);
        high = ends->get(1)->value_or(high);
      }
      if (has_kind || !(low < high)) fail_usage(what, ": ", name, " is two numbers, the lower one first");
      has_kind = true;
      space.kind = static_cast<SearchSpace::Kind>(1 + (found - kinds.begin()));
      space.low = low;
      space.high = high;
    }
    if (!has_kind) fail_usage(what, ": a range has one of ", listed(kinds, " and "));
    constexpr double largest = 0x1p53;
    const bool is_whole = space.kind == SearchSpace::Kind::integers;
    if (is_whole && !(-largest <= space.low && space.high <= largest && space.integers_in_range() > 0))
      fail_usage(what, ": between the ends of integers there is none, or they are beyond 2^53");
    if (space.kind == SearchSpace::Kind::log_uniform && !(space.low > 0))
      fail_usage(what, ": both ends of log_uniform are above 0");
    if (plan_.method == "grid" && space.count == 0 && space.kind != SearchSpace::Kind::integers)
      fail_usage(what, ": in a grid a range needs count, such as { uniform = [0, 0.5], count = 3 }");
    for (const double share : {0.0, std::nextafter(1.0, 0.0)}) check(space.option, space.at(share), what);
  }

  void check_method() const {
    if (plan_.method != "halving") return;
    if (plan_.max_steps < plan_.min_steps)
      fail_usage(file_, ": method \"halving\" needs max_steps, of at least min_steps, ", plan_.min_steps);
    for (const auto& [option, text] : plan_.set)
      if (option == "training.max_steps")
        fail_usage(file_, ": halving sets training.max_steps itself, from min_steps to max_steps");
  }

  std::string file_;
  SweepPlan& plan_;
  Options own_;
  Settings settings_;
};

}  // namespace

SweepPlan SweepPlan::read(const std::filesystem::path& file) {
  const std::string text = read_toml_text(file, "a sweep.cfg is a TOML file, see docs/sweep.md");
  SweepPlan plan;
  Reader(file.string(), plan).read(parse_toml(text, file.string()));
  return plan;
}

}  // namespace engine
