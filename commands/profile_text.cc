#include "commands/profile_text.h"

#include <cmath>

#include "commands/text_table.h"

namespace engine {

namespace {

constexpr size_t most_operations = 40;   // rows of the table
constexpr double least_change = 0.0005;  // of the step, for a row of what changed

std::string ms(double seconds) { return fixed_text(1e3 * seconds, 3); }
// Returns a rate in billions a second, and nothing for a rate of nothing.
std::string giga(double number, double seconds) {
  return number > 0 && seconds > 0 ? fixed_text(number / seconds / 1e9, 1) : "";
}
std::string mib(size_t bytes) { return fixed_text(static_cast<double>(bytes) / (1 << 20), 1); }
// Calls differ from step to step where lengths do.
std::string count_text(double calls) { return fixed_text(calls, calls == std::round(calls) ? 0 : 1); }

void print_head(const Profile& p, std::ostream& out) {
  const double flops = p.flops(), peak = p.peaks.flops_per_second(p.compute);
  out << p.task << " on " << p.device << ", " << p.threads << (p.threads == 1 ? " thread, " : " threads, ")
      << name_of(p.compute) << (p.ranks > 1 ? ", rank 0 of " + std::to_string(p.ranks) : "") << ": " << p.steps
      << " steps of " << count_text(p.tokens) << " tokens, " << ms(p.seconds) << " ms each ("
      << ms(p.unrecorded) << " ms unrecorded), " << fixed_text(p.tokens / p.seconds, 0) << " tokens/s\n"
      << "peaks measured here: " << giga(p.peaks.f32, 1) << " GFLOP/s in f32, " << giga(p.peaks.bf16, 1)
      << " in bf16, " << giga(p.peaks.bytes_per_second, 1) << " GB/s copied; the step has " << giga(flops, p.seconds)
      << " GFLOP/s, " << percent_text(flops / p.seconds / peak) << " of " << name_of(p.compute) << "'s\n\n";
}

void print_phases(const Profile& p, std::ostream& out) {
  TextTable table({"<phase", "ms", "share", "in operations"});
  for (size_t i = 0; i < phase_count; ++i) {
    const PhaseProfile& phase = p.phases[i];
    if (phase.seconds > 0)
      table.add({name_of(static_cast<Phase>(i)), ms(phase.seconds), percent_text(phase.seconds / p.seconds),
                 ms(phase.operations)});
  }
  table.add({"step", ms(p.seconds), percent_text(1), ms(p.operation_seconds())});
  table.print(out);
}

void print_operations(const Profile& p, std::ostream& out) {
  TextTable table({"<operation", "<phase", "<parameter", "calls", "ms", "share", "GFLOP/s", "GB/s", "of peak", "<bound",
                   "<shapes of a call"});
  double others = 0;
  for (size_t i = 0; i < p.operations.size(); ++i) {
    const OperationProfile& o = p.operations[i];
    if (i >= most_operations) {
      others += o.seconds;
      continue;
    }
    const Roofline roofline = roofline_of(o, p.peaks);
    table.add({o.operation, name_of(o.phase), o.part, count_text(o.calls), ms(o.seconds),
               percent_text(o.seconds / p.seconds), giga(o.flops, o.seconds), giga(o.bytes, o.seconds),
               percent_text(roofline.share), roofline.is_compute ? "compute" : "memory", o.shapes});
  }
  if (others > 0)
    table.add({std::to_string(p.operations.size() - most_operations) + " others", "", "", "", ms(others),
               percent_text(others / p.seconds)});
  const double between = p.seconds - p.operation_seconds();
  table.add({"between operations", "", "", "", ms(between), percent_text(between / p.seconds)});
  table.print(out);
}

void print_layers(const Profile& p, std::ostream& out) {
  TextTable table({"<layer", "calls", "forward ms", "loss ms", "backward ms", "ms", "share", "GFLOP/s"});
  const auto in = [](const LayerProfile& layer, Phase phase) {
    const double seconds = layer.seconds[static_cast<size_t>(phase)];
    return seconds > 0 ? ms(seconds) : "";
  };
  for (const LayerProfile& layer : p.layers)
    if (layer.calls > 0)
      table.add({layer.name, count_text(layer.calls), in(layer, Phase::forward), in(layer, Phase::loss),
                 in(layer, Phase::backward), ms(layer.total()), percent_text(layer.total() / p.seconds),
                 giga(layer.flops, layer.total())});
  table.print(out);
}

void print_memory(const Profile& p, std::ostream& out) {
  TextTable table({"<memory", "MiB", "share"});
  for (const MemoryUse& use : p.memory)
    if (use.bytes > 0)
      table.add({use.name, mib(use.bytes),
                 percent_text(static_cast<double>(use.bytes) / static_cast<double>(p.peak_memory))});
  table.add({"peak", mib(p.peak_memory), percent_text(1)});
  table.print(out);
}

// Seconds by name.
using Named = std::vector<std::pair<std::string, double>>;

void add_to(Named& all, const std::string& name, double seconds) {
  for (auto& [known, sum] : all)
    if (known == name) {
      sum += seconds;
      return;
    }
  all.emplace_back(name, seconds);
}

Named operations_by_name(const Profile& profile) {
  Named result;
  for (const OperationProfile& o : profile.operations)
    add_to(result, std::string(name_of(o.phase)) + " " + o.operation + (o.part.empty() ? "" : " of ") + o.part,
           o.seconds);
  return result;
}

Named layers_by_name(const Profile& profile) {
  Named result;
  for (const LayerProfile& layer : profile.layers) add_to(result, layer.name, layer.total());
  return result;
}

Named phases_by_name(const Profile& profile) {
  Named result;
  for (size_t i = 0; i < phase_count; ++i)
    add_to(result, name_of(static_cast<Phase>(i)), profile.phases[i].seconds);
  return result;
}

void print_changed(const char* heading, const Named& now, const Named& before, double step, std::ostream& out) {
  struct Change {
    std::string name;
    double now = 0, before = 0;
    double difference() const { return now - before; }
  };
  std::vector<Change> changes;
  for (const auto& [name, seconds] : now) changes.push_back({name, seconds, 0});
  for (const auto& [name, seconds] : before) {
    const auto same =
        std::find_if(changes.begin(), changes.end(), [&name = name](const Change& c) { return c.name == name; });
    if (same == changes.end()) changes.push_back({name, 0, seconds});
    else same->before = seconds;
  }
  std::erase_if(changes, [&](const Change& c) { return std::abs(c.difference()) < least_change * step; });
  std::stable_sort(changes.begin(), changes.end(), [](const Change& a, const Change& b) {
    return std::abs(a.difference()) > std::abs(b.difference());
  });
  TextTable table({std::string("<").append(heading), "ms more", "ms", "ms before", "times"});
  for (const Change& c : changes)
    table.add({c.name, std::string(c.difference() > 0 ? "+" : "").append(ms(c.difference())), ms(c.now), ms(c.before),
               c.before <= 0 ? "new" : c.now <= 0 ? "gone" : fixed_text(c.now / c.before, 2)});
  table.print(out);
}

}  // namespace

Roofline roofline_of(const OperationProfile& operation, const Peaks& peaks) {
  const double compute = operation.flops / peaks.flops_per_second(operation.compute),
               memory = operation.bytes / peaks.bytes_per_second;
  const bool is_compute = compute > memory;
  return {is_compute, operation.seconds > 0 ? std::max(compute, memory) / operation.seconds : 0};
}

void print_profile(const Profile& profile, std::ostream& out) {
  print_head(profile, out);
  print_phases(profile, out);
  print_operations(profile, out);
  print_layers(profile, out);
  print_memory(profile, out);
}

void print_changes(const Profile& now, const Profile& before, std::ostream& out) {
  out << "a step takes " << ms(now.seconds) << " ms, before " << ms(before.seconds) << " ms: "
      << fixed_text(now.seconds / before.seconds, 2) << " times\n";
  const auto told = [&](const char* what, const std::string& a, const std::string& b) {
    if (a != b) out << "note: " << what << " is " << a << ", before " << b << "\n";
  };
  told("the task", now.task, before.task);
  told("the device", now.device, before.device);
  told("the precision", name_of(now.compute), name_of(before.compute));
  told("the number of threads", std::to_string(now.threads), std::to_string(before.threads));
  told("the number of ranks", std::to_string(now.ranks), std::to_string(before.ranks));
  told("the number of tokens", count_text(now.tokens), count_text(before.tokens));
  out << "\n";
  const double step = std::max(now.seconds, before.seconds);
  print_changed("phase", phases_by_name(now), phases_by_name(before), step, out);
  print_changed("operation", operations_by_name(now), operations_by_name(before), step, out);
  print_changed("layer", layers_by_name(now), layers_by_name(before), step, out);
}

}  // namespace engine
