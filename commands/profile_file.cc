#include "commands/profile_file.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"
#include "core/version.h"

namespace engine {

namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr const char* format_name = "engine profile";
constexpr int64_t format_version = 1;

// Reads a number that is at least 0.
double amount(const json& object, const char* key, const std::string& where) {
  const double number = json_number(object, key, where);
  if (!(number >= 0)) fail(where, ": \"", key, "\" is ", number, ": it must be at least 0");
  return number;
}

Phase phase_named(const std::string& name, const std::string& where) {
  for (size_t i = 0; i < phase_count; ++i)
    if (name == name_of(static_cast<Phase>(i))) return static_cast<Phase>(i);
  fail(where, ": there is no phase \"", name, "\"");
}

DType compute_named(const std::string& name, const std::string& where) {
  for (const DType dtype : {DType::f32, DType::bf16})
    if (name == name_of(dtype)) return dtype;
  fail(where, ": there is no precision \"", name, "\": f32 or bf16");
}

// Calls take(object, where) for each element of a list.
template <class Take>
void each(const json& all, const char* key, const std::string& where, const Take& take) {
  const json& list = json_member(all, key, where);
  if (!list.is_array()) fail(where, ": \"", key, "\" must be a list");
  size_t number = 0;
  for (const json& object : list)
    take(object, where + ": " + std::string(key) + "[" + std::to_string(number++) + "]");
}

ordered_json phases_json(const std::array<double, phase_count>& seconds) {
  ordered_json result = ordered_json::object();
  for (size_t i = 0; i < phase_count; ++i)
    if (seconds[i] > 0) result[name_of(static_cast<Phase>(i))] = seconds[i];
  return result;
}

double microseconds(double seconds) { return std::round(1e9 * seconds) / 1e3; }

std::string shapes_text(const RecordedCall& call) {
  std::string text;
  for (size_t i = 0; i < call.arguments_count; ++i) {
    const RecordedCall::Argument& argument = call.arguments[i];
    text.append(i ? ", " : "").append(argument.name).append(" ").append(argument.shape.text());
    text.append(" ").append(name_of(argument.dtype));
  }
  return text;
}

// The events of a trace.
class Events {
 public:
  explicit Events(int process) : process_(process) {}

  void name(const char* what, int track, const std::string& name) {
    list_.push_back({{"ph", "M"}, {"name", what}, {"pid", process_}, {"tid", track}, {"args", {{"name", name}}}});
  }
  void add(int track, const std::string& name, double begin, double seconds, ordered_json arguments = {}) {
    ordered_json event{{"ph", "X"},           {"name", name},
                       {"pid", process_},     {"tid", track},
                       {"ts", microseconds(begin)}, {"dur", microseconds(seconds)}};
    if (!arguments.empty()) event["args"] = std::move(arguments);
    list_.push_back(std::move(event));
  }
  ordered_json take() { return std::move(list_); }

 private:
  int process_;
  ordered_json list_ = ordered_json::array();
};

enum Track { phases_track = 1, layers_track, operations_track, exchanges_track };

// Calls of one layer and one phase that follow each other are one event.
void add_layers(const ProfiledStep& step, const std::vector<std::string>& names, Events& events) {
  for (size_t first = 0, last; first < step.calls.size(); first = last) {
    const ProfiledCall& call = step.calls[first];
    last = first + 1;
    while (last < step.calls.size() && step.calls[last].layer == call.layer && step.calls[last].phase == call.phase)
      ++last;
    const ProfiledCall& end = step.calls[last - 1];
    events.add(layers_track, names[call.layer], step.begin + call.begin, end.begin + end.seconds - call.begin);
  }
}

}  // namespace

std::string profile_json(const Profile& profile) {
  ordered_json all{{"format", format_name},
                   {"format_version", format_version},
                   {"engine", version},
                   {"task", profile.task},
                   {"device", profile.device},
                   {"compute", name_of(profile.compute)},
                   {"threads", profile.threads},
                   {"ranks", profile.ranks},
                   {"steps", profile.steps},
                   {"tokens", profile.tokens},
                   {"seconds", profile.seconds},
                   {"unrecorded_seconds", profile.unrecorded},
                   {"peaks",
                    {{"f32", profile.peaks.f32},
                     {"bf16", profile.peaks.bf16},
                     {"bytes_per_second", profile.peaks.bytes_per_second}}}};
  ordered_json phases = ordered_json::array(), operations = phases, layers = phases, memory = phases;
  for (size_t i = 0; i < phase_count; ++i)
    phases.push_back({{"phase", name_of(static_cast<Phase>(i))},
                      {"seconds", profile.phases[i].seconds},
                      {"operation_seconds", profile.phases[i].operations}});
  for (const OperationProfile& o : profile.operations)
    operations.push_back({{"operation", o.operation},
                          {"phase", name_of(o.phase)},
                          {"parameter", o.part},
                          {"shapes", o.shapes},
                          {"compute", name_of(o.compute)},
                          {"calls", o.calls},
                          {"seconds", o.seconds},
                          {"flops", o.flops},
                          {"bytes", o.bytes}});
  for (const LayerProfile& layer : profile.layers)
    layers.push_back({{"layer", layer.name},
                      {"calls", layer.calls},
                      {"flops", layer.flops},
                      {"seconds", phases_json(layer.seconds)}});
  for (const MemoryUse& use : profile.memory) memory.push_back({{"use", use.name}, {"bytes", use.bytes}});
  all["phases"] = std::move(phases);
  all["operations"] = std::move(operations);
  all["layers"] = std::move(layers);
  all["memory"] = std::move(memory);
  all["peak_memory"] = profile.peak_memory;
  return all.dump(1) + "\n";
}

Profile read_profile(const std::filesystem::path& file) {
  const std::string where = file.string();
  const json all = parse_json_file(file);
  if (json_string(all, "format", where, "") != format_name)
    fail(where, ": this is no profile: engine profile task.cfg --output FILE writes one");
  json_integer(all, "format_version", where, format_version, format_version);
  Profile profile{.task = json_string(all, "task", where),
                  .device = json_string(all, "device", where),
                  .compute = compute_named(json_string(all, "compute", where), where),
                  .threads = static_cast<int>(json_integer(all, "threads", where, 1, 1 << 20)),
                  .ranks = static_cast<int>(json_integer(all, "ranks", where, 1, 1 << 20)),
                  .steps = json_integer(all, "steps", where, 1, int64_t{1} << 40),
                  .tokens = amount(all, "tokens", where),
                  .seconds = amount(all, "seconds", where),
                  .unrecorded = amount(all, "unrecorded_seconds", where)};
  const json& peaks = json_member(all, "peaks", where);
  profile.peaks = {.f32 = amount(peaks, "f32", where),
                   .bf16 = amount(peaks, "bf16", where),
                   .bytes_per_second = amount(peaks, "bytes_per_second", where)};
  each(all, "phases", where, [&](const json& object, const std::string& at) {
    profile.phases[static_cast<size_t>(phase_named(json_string(object, "phase", at), at))] = {
        .seconds = amount(object, "seconds", at), .operations = amount(object, "operation_seconds", at)};
  });
  each(all, "operations", where, [&](const json& object, const std::string& at) {
    profile.operations.push_back({.operation = json_string(object, "operation", at),
                                  .part = json_string(object, "parameter", at),
                                  .shapes = json_string(object, "shapes", at),
                                  .phase = phase_named(json_string(object, "phase", at), at),
                                  .compute = compute_named(json_string(object, "compute", at), at),
                                  .calls = amount(object, "calls", at),
                                  .seconds = amount(object, "seconds", at),
                                  .flops = amount(object, "flops", at),
                                  .bytes = amount(object, "bytes", at)});
  });
  each(all, "layers", where, [&](const json& object, const std::string& at) {
    LayerProfile& layer = profile.layers.emplace_back();
    layer.name = json_string(object, "layer", at);
    layer.calls = amount(object, "calls", at);
    layer.flops = amount(object, "flops", at);
    const json& seconds = json_member(object, "seconds", at);
    if (!seconds.is_object()) fail(at, ": \"seconds\" must be an object");
    for (const auto& [phase, value] : seconds.items())
      layer.seconds[static_cast<size_t>(phase_named(phase, at))] = amount(seconds, phase.c_str(), at);
  });
  each(all, "memory", where, [&](const json& object, const std::string& at) {
    profile.memory.push_back({json_string(object, "use", at), static_cast<size_t>(amount(object, "bytes", at))});
  });
  profile.peak_memory = static_cast<size_t>(amount(all, "peak_memory", where));
  return profile;
}

std::string trace_json(const Profile& profile, const std::vector<ProfiledStep>& steps, const StepRecorder& recorder,
                       int rank) {
  Events events(rank);
  events.name("process_name", phases_track,
              "engine profile: " + profile.task + " on " + profile.device + ", rank " + std::to_string(rank));
  events.name("thread_name", phases_track, "phases");
  events.name("thread_name", layers_track, "layers");
  events.name("thread_name", operations_track, "operations");
  if (profile.ranks > 1) events.name("thread_name", exchanges_track, "exchanges");
  for (const ProfiledStep& step : steps) {
    for (const ExchangeSpan& exchange : step.exchanges)
      events.add(exchanges_track, exchange.name, step.begin + exchange.begin, exchange.end - exchange.begin,
                 {{"bytes", exchange.bytes}, {"waited", microseconds(exchange.begin - exchange.started)}});
    for (const PhaseSpan& span : step.phases)
      events.add(phases_track, name_of(span.phase), step.begin + span.begin, span.seconds);
    add_layers(step, recorder.layers(), events);
    for (const ProfiledCall& call : step.calls) {
      const RecordedCall& recorded = call.call;
      ordered_json arguments{{"shapes", shapes_text(recorded)}, {"compute", name_of(recorded.compute)},
                             {"flops", recorded.flops},         {"bytes", recorded.bytes},
                             {"layer", recorder.layers()[call.layer]}};
      if (const std::string part = recorder.part_of(recorded); !part.empty()) arguments["parameter"] = part;
      events.add(operations_track, recorded.name, step.begin + call.begin, call.seconds, std::move(arguments));
    }
  }
  return ordered_json{{"displayTimeUnit", "ms"}, {"traceEvents", events.take()}}.dump() + "\n";
}

}  // namespace engine
