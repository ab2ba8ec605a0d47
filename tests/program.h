// Runs the program that was built with these tests.
#pragma once

#include <doctest/doctest.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "core/files.h"
#include "tests/temporary.h"

namespace engine::test {

// The path of the program. Tests are $(BUILD)/tests/run or the like, it is $(BUILD)/engine, or that of the simulated
// device.
inline std::string program_path(const std::string& name = "engine") {
  return (std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path() / name).string();
}

// The task.cfg of a small training, up to its [training].
inline const std::string small_scratchpad = R"(task = "scratchpad"
name = "run"
precision = "f32"
device = "cpu"
[model]
hidden_size = 32
num_layers = 1
num_heads = 2
max_positions = 128
[scratchpad]
max_depth = 2
mixture = ["1:1"]
)";

struct Ended {
  int code = -1;
  std::string out, error;
};

class Program {
 public:
  explicit Program(std::string name = "engine") : path_(program_path(name)) {}
  // Runs the program. Its output goes to a file, and its errors to another. `to` names another place for the output.
  Ended run(const std::vector<std::string>& arguments, const std::string& to = "") const {
    return start(path_, arguments, to);
  }
  // Runs a command of the shell, which may set limits for the program that it starts.
  Ended shell(const std::string& command) const { return start("/bin/bash", {"-c", command}, ""); }
  // Checks that a run fails with this code and one line of error, which holds `text`.
  void fails(const std::vector<std::string>& arguments, int code, const std::string& text,
             const std::string& to = "") const {
    const Ended ended = run(arguments, to);
    CAPTURE(ended.error);
    CHECK(ended.code == code);
    CHECK(ended.error.starts_with("engine: "));
    CHECK(ended.error.find(text) != std::string::npos);
    CHECK(ended.error.find('\n') == ended.error.size() - 1);
  }
  const std::string& path() const { return path_; }
  std::string file(const std::string& name) const { return (folder_.path() / name).string(); }
  std::string write(const std::string& name, const std::string& content) const {
    write_file(file(name), content);
    return file(name);
  }

 private:
  Ended start(const std::string& path, std::vector<std::string> arguments, const std::string& to) const {
    const std::string out = to.empty() ? file("out") : to, error = file("error");
    std::vector<char*> argv{const_cast<char*>(path.c_str())};
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_addopen(&actions, 2, error.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    pid_t child = 0;
    const int failed = posix_spawn(&child, path.c_str(), &actions, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    require(failed == 0, "cannot run ", path, ": make builds it");
    int status = 0;
    require(waitpid(child, &status, 0) == child, "cannot wait for ", path);
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), to.empty() ? read_text(out) : "",
            read_text(error)};
  }

  std::string path_;
  TemporaryFolder folder_;
};

}  // namespace engine::test
