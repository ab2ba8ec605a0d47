// Ranks that are threads of a test, and find one another over TCP.
#pragma once

#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "core/socket_communicator.h"
#include "core/sockets.h"

namespace engine::test {

inline int free_port() { return port_of(listen_at(0)); }

// Runs work(communicator) as each of so many ranks.
inline void as_ranks(int size, const std::function<void(Communicator&)>& work) {
  const int port = free_port();
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank)
    threads.emplace_back([=, &work] {
      const auto ranks = make_socket_communicator({rank, size, "127.0.0.1", port, false, "job"}, 30);
      work(*ranks);
    });
  for (std::thread& thread : threads) thread.join();
}

}  // namespace engine::test
