// Ranks that are processes, each with a simulated GPU of its own, for tests of what they exchange.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <iostream>
#include <string>
#include <vector>

#include "core/cuda/nccl_communicator.h"
#include "core/socket_communicator.h"
#include "core/sockets.h"
#include "tests/cudasim/kernel_run.h"

namespace engine::test {

struct RanksEnded {
  std::vector<int> codes;  // 128 + the signal that ended a rank
  std::string error;       // what all of them said

  bool all(int code) const {
    for (const int one : codes)
      if (one != code) return false;
    return true;
  }
};

// Runs body(host's communicator) in so many processes. An Error that it throws is said as by the program.
inline RanksEnded as_processes(int size, const std::function<void(Communicator&)>& body) {
  const int port = port_of(listen_at(0));
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  std::cout.flush();  // once, not by every process
  std::vector<pid_t> children;
  for (int rank = 0; rank < size; ++rank) {
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child > 0) {
      children.push_back(child);
      continue;
    }
    dup2(ends[1], STDERR_FILENO);
    close(ends[0]);
    close(ends[1]);
    std::unique_ptr<Communicator> host = make_socket_communicator({rank, size, "127.0.0.1", port, false, "job"}, 30);
    try {
      body(*host);
    } catch (const std::exception& error) {
      host->let_first_speak();
      std::cerr << "engine: " + std::string(error.what()) + "\n";
      host->abort(1);
    }
    host.reset();
    _exit(0);
  }
  close(ends[1]);
  RanksEnded ended;
  char part[4096];
  for (ssize_t count; (count = read(ends[0], part, sizeof part)) > 0;)
    ended.error.append(part, static_cast<size_t>(count));
  close(ends[0]);
  for (const pid_t child : children) {
    int status = 0;
    waitpid(child, &status, 0);
    ended.codes.push_back(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
  }
  return ended;
}

// A rank with its GPU, and the communicator between the GPUs.
struct DeviceRank : KernelRun {
  Communicator& host;
  const std::unique_ptr<Communicator> ranks;
  const int rank, size;

  explicit DeviceRank(Communicator& host_, const cuda::NcclSettings& settings = {.timeout = 20, .bucket_bytes = 1})
      : KernelRun(host_.local_rank()),
        host(host_),
        ranks(cuda::make_nccl_communicator(device.memory(), host_, settings)),
        rank(host_.rank()),
        size(host_.size()) {}
  std::span<float> numbers(const std::vector<float>& values) { return {upload(values), values.size()}; }
  std::vector<float> values_of(std::span<const float> numbers) { return values(numbers.data(), numbers.size()); }
};

inline RanksEnded as_device_ranks(int size, const std::function<void(DeviceRank&)>& body) {
  return as_processes(size, [&](Communicator& host) {
    DeviceRank rank(host);
    body(rank);
  });
}

// Checks that all ranks ended with one line in all, which holds `text`.
inline void check_one_line(const RanksEnded& ended, const std::string& text) {
  CAPTURE(ended.error);
  CHECK(ended.all(1));
  CHECK(contains(ended.error, text));
  CHECK(ended.error.starts_with("engine: "));
  CHECK(ended.error.find('\n') == ended.error.size() - 1);
}

}  // namespace engine::test
