// profile: tells how a task's training steps spend their time and memory.
#include <filesystem>
#include <iostream>
#include <optional>

#include "commands/profile_file.h"
#include "commands/profile_text.h"
#include "commands/settings.h"
#include "commands/verb.h"
#include "core/files.h"
#include "kernels/backend/timed_backend.h"
#include "training/machine.h"
#include "training/shards.h"

namespace engine {

namespace {

constexpr int64_t most_profiled_steps = 10000;

class ProfileVerb final : public Verb {
 public:
  void add_flags(Flags& flags) override {
    flags.add("task.cfg", file_, "the task's configuration", {.required = true});
    flags.add("--steps", steps_, "training steps that are recorded, behind 3 that are not (default 10)",
              {.range = between(1, static_cast<double>(most_profiled_steps))});
    flags.add("--output", output_, "file for the profile as JSON");
    flags.add("--against", against_, "such a file: also prints what became slower or faster since then");
    flags.add("--trace", trace_, "file for the steps' timeline, which ui.perfetto.dev shows");
    flags.add_options(settings_, {}, {"data.train", "training.batch_size"});
  }

  int run(Communicator& ranks) override {
    settings_.resolve(file_);
    require_same_on_all_ranks(ranks, "configuration", settings_.options.toml());
    check_reduction_shards(settings_.config.training, ranks);
    std::optional<Profile> before;
    if (!against_.empty()) before = read_profile(against_);
    for (const std::string& file : {output_, trace_}) check_place(file);
    ConfiguredMachine backend(settings_.config, ranks);
    StepRecorder recorder(stopwatch_of(backend.ops()));
    const std::unique_ptr<Ops> ops = make_record_ops(backend.ops(), recorder);
    const std::unique_ptr<Communicator> communicator =
        make_recorded_communicator(backend.machine().communicator, recorder);
    const auto task = make_task(settings_.config, settings_.sections, settings_.options, *ops, Use::training);
    require_same_on_all_ranks(ranks, "data", task->fingerprint());
    Machine machine{.ops = *ops,
                    .arena = backend.machine().arena,
                    .compute = backend.machine().compute,
                    .communicator = *communicator,
                    .reduction_shards = backend.machine().reduction_shards};
    std::vector<ProfiledStep> recorded;
    const Profile profile = profile_task(settings_.config, *task, machine, recorder, steps_, recorded);
    print_profile(profile, std::cout);
    if (before) print_changes(profile, *before, std::cout);
    if (!ranks.is_first()) return 0;
    if (!output_.empty()) write_file(output_, profile_json(profile));
    if (!trace_.empty()) write_file(trace_, trace_json(profile, recorded, recorder, ranks.rank()));
    return 0;
  }

 private:
  // Refuses a file that cannot be written before minutes are spent on it.
  static void check_place(const std::string& file) {
    const std::filesystem::path folder = std::filesystem::path(file).parent_path();
    if (!folder.empty() && !std::filesystem::is_directory(folder)) fail(file, ": there is no folder ", folder.string());
    if (!file.empty() && std::filesystem::is_directory(file)) fail(file, ": is a folder, not a file");
  }

  Settings settings_;
  std::string file_, output_, against_, trace_;
  int64_t steps_ = 10;
};

}  // namespace

std::unique_ptr<Verb> make_profile_verb() { return std::make_unique<ProfileVerb>(); }

}  // namespace engine
