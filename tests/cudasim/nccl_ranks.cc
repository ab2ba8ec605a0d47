#include "tests/cudasim/nccl_ranks.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstddef>
#include <cstring>

#include "core/error.h"
#include "tests/cudasim/monitor.h"

namespace cudasim {

namespace {

// An address without a file.
sockaddr_un address_of(const std::string& name, int rank, socklen_t& bytes) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string full = name + "-" + std::to_string(rank);
  engine::require(full.size() + 2 < sizeof address.sun_path, "the simulated NCCL's name is too long: ", full);
  std::memcpy(address.sun_path + 1, full.data(), full.size());
  bytes = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + full.size());
  return address;
}

// Both return false where the other side has ended.
bool send_bytes(int socket, const char* data, size_t bytes) {
  while (bytes > 0) {
    const ssize_t sent = ::send(socket, data, bytes, MSG_NOSIGNAL);
    if (sent <= 0) return false;
    data += sent;
    bytes -= static_cast<size_t>(sent);
  }
  return true;
}
bool receive_bytes(int socket, char* data, size_t bytes) {
  while (bytes > 0) {
    const ssize_t received = recv(socket, data, bytes, 0);
    if (received <= 0) return false;
    data += received;
    bytes -= static_cast<size_t>(received);
  }
  return true;
}

}  // namespace

NcclRanks::NcclRanks(std::string name, int rank, int size)
    : name_(std::move(name)),
      rank_(rank),
      size_(size),
      sockets_(static_cast<size_t>(size), -1),
      received_(static_cast<size_t>(size)) {
  listener_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  socklen_t bytes = 0;
  const sockaddr_un own = address_of(name_, rank, bytes);
  engine::require(listener_ >= 0 && bind(listener_, reinterpret_cast<const sockaddr*>(&own), bytes) == 0 &&
                      listen(listener_, size) == 0 && pipe(wake_) == 0,
                  "the simulated NCCL cannot listen");
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  thread_ = std::thread([this] {
    connect_all();
    if (is_connected_) receive_all();
  });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

NcclRanks::~NcclRanks() {
  stop();
  for (const int descriptor : sockets_)
    if (descriptor >= 0) close(descriptor);
  for (const int descriptor : {listener_, wake_[0], wake_[1]}) close(descriptor);
}

void NcclRanks::stop() {
  if (stopped_.exchange(true)) return;
  if (write(wake_[1], "", 1) < 0) std::abort();
  if (is_connected_)
    for (const int descriptor : sockets_)
      if (descriptor >= 0) shutdown(descriptor, SHUT_RDWR);
  outside([this] { thread_.join(); });
}

int NcclRanks::connect_to(int rank) const {
  const int connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  socklen_t bytes = 0;
  const sockaddr_un address = address_of(name_, rank, bytes);
  if (connect(connection, reinterpret_cast<const sockaddr*>(&address), bytes) == 0) return connection;
  close(connection);
  return -1;
}

// Each rank connects to those before it, and says who it is.
void NcclRanks::connect_all() {
  if (const char* const is = std::getenv("CUDASIM_NCCL"); is && std::string(is) == "unreachable") return;
  for (int missing = size_ - 1; missing > 0 && !stopped_;) {
    for (int rank = 0; rank < rank_; ++rank) {
      int& connection = sockets_[static_cast<size_t>(rank)];
      if (connection >= 0 || (connection = connect_to(rank)) < 0) continue;
      const int32_t own = rank_;
      send_bytes(connection, reinterpret_cast<const char*>(&own), sizeof own);
      --missing;
    }
    pollfd wanted{listener_, POLLIN, 0};
    if (poll(&wanted, 1, 5) <= 0) continue;
    const int connection = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    int32_t rank = 0;
    if (connection < 0 || !receive_bytes(connection, reinterpret_cast<char*>(&rank), sizeof rank)) continue;
    sockets_[static_cast<size_t>(rank)] = connection;
    --missing;
  }
  is_connected_ = !stopped_;
}

void NcclRanks::send(int to, const std::string& message) {
  const uint64_t bytes = message.size();
  const int socket = sockets_[static_cast<size_t>(to)];
  if (send_bytes(socket, reinterpret_cast<const char*>(&bytes), sizeof bytes))
    send_bytes(socket, message.data(), message.size());
}

std::string NcclRanks::take(int from) {
  std::deque<std::string>& messages = received_[static_cast<size_t>(from)];
  std::string message = std::move(messages.front());
  messages.pop_front();
  return message;
}

void NcclRanks::receive_all() {
  std::vector<bool> ended(sockets_.size());
  while (!stopped_) {
    std::vector<pollfd> wanted{{wake_[0], POLLIN, 0}};
    for (size_t rank = 0; rank < sockets_.size(); ++rank)
      wanted.push_back({ended[rank] ? -1 : sockets_[rank], POLLIN, 0});
    poll(wanted.data(), wanted.size(), -1);
    for (size_t rank = 0; rank < sockets_.size() && !stopped_; ++rank) {
      if (!(wanted[rank + 1].revents & (POLLIN | POLLHUP | POLLERR))) continue;
      uint64_t bytes = 0;
      std::string message;
      bool is_whole = receive_bytes(sockets_[rank], reinterpret_cast<char*>(&bytes), sizeof bytes);
      if (is_whole) {
        message.resize(bytes);
        is_whole = receive_bytes(sockets_[rank], message.data(), bytes);
      }
      const Inside inside;  // threads that wait there look again
      if (is_whole) {
        received_[rank].push_back(std::move(message));
        continue;
      }
      ended[rank] = true;
      if (!stopped_ && lost_ < 0) lost_ = static_cast<int>(rank);
    }
  }
}

}  // namespace cudasim
