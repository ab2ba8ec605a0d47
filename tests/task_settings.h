// TaskSettings make a task as the program does, from the text of a task.cfg.
#pragma once

#include <doctest/doctest.h>

#include <cstdio>

#include "core/arena.h"
#include "core/files.h"
#include "core/parallel.h"
#include "kernels/backend/backend.h"
#include "tasks/causal_task.h"
#include "tasks/tasks.h"
#include "tests/machine.h"
#include "tests/temporary.h"
#include "training/trainer.h"

namespace engine::test {

struct TaskSettings : OwnMachine {
  TemporaryFolder folder;
  Config config;
  TaskSections sections;
  Options options;

  // Tasks run on one thread, since models this small gain nothing from more, and lose much where other programs run,
  // too.
  explicit TaskSettings(const std::string& text, const std::string& device = "cpu")
      : OwnMachine(DType::f32, 0, device) {
    set_threads(1);
    config.declare(options);
    sections.declare(options);
    options.read_text(text, "task.cfg");
    config.precision = name_of(machine.compute);
    config.output_dir = folder.path().string();
    if (config.name.empty()) config.name = "run";
  }
  ~TaskSettings() { set_threads(0); }
  TaskSettings(const TaskSettings&) = delete;
  TaskSettings& operator=(const TaskSettings&) = delete;

  std::unique_ptr<Task> task(Use use = Use::training) { return make_task(config, sections, options, *ops, use); }
  // Returns the task after its training, whose lines go nowhere.
  std::unique_ptr<Task> trained() {
    auto result = task();
    std::FILE* const nowhere = std::fopen("/dev/null", "w");
    const int code = train_task(config, options, *result, machine, nowhere).exit_code();
    std::fclose(nowhere);
    REQUIRE(code == 0);
    return result;
  }
  std::string file(const std::string& name) const { return (folder.path() / name).string(); }
  std::string write(const std::string& name, const std::string& content) const {
    write_file(folder.path() / name, content);
    return file(name);
  }
};

inline CausalTask& causal(Task& task) { return static_cast<CausalTask&>(task); }

inline double metric(const Metrics& metrics, const std::string& name) {
  for (const auto& [key, value] : metrics)
    if (key == name) return value;
  fail("no metric is named ", name);
}

}  // namespace engine::test
