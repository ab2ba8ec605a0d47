// Connections between processes over TCP. A wait ends at a deadline, and every failure is an Error that says with whom.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>

namespace engine {

using Deadline = std::chrono::steady_clock::time_point;
inline Deadline seconds_from_now(double seconds) {
  return std::chrono::steady_clock::now() +
         std::chrono::duration_cast<std::chrono::steady_clock::duration>(std::chrono::duration<double>(seconds));
}

// A Socket owns a file descriptor. It never blocks, and is not inherited by programs that this one starts.
class Socket {
 public:
  Socket() = default;
  explicit Socket(int descriptor) : descriptor_(descriptor) {}
  Socket(Socket&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  Socket& operator=(Socket&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  ~Socket() { close(); }

  int descriptor() const { return descriptor_; }
  explicit operator bool() const { return descriptor_ >= 0; }
  void close();

  // These wait for all bytes. They return false where the other side has ended or the deadline has come.
  bool send(const void* data, size_t bytes, Deadline deadline) const;
  bool receive(void* data, size_t bytes, Deadline deadline) const;
  // Sends and receives at the same time, without a deadline. Returns false where the other side of one has ended.
  static bool exchange(const Socket& to, const void* out, size_t out_bytes, const Socket& from, void* in,
                       size_t in_bytes);

 private:
  int descriptor_ = -1;
};

// Listens on all addresses of this machine at a port; 0: any that is free. An absent socket means that it is taken.
Socket listen_at(int port);
int port_of(const Socket& socket);
// Returns the numeric address of the other side.
std::string address_of_peer(const Socket& socket);
// Returns an absent socket where nobody comes before the deadline.
Socket accept_from(const Socket& listener, Deadline deadline);
// Tries once. Returns an absent socket where nobody listens there or the deadline has come. An unknown host is an
// Error.
Socket connect_to(const std::string& host, int port, Deadline deadline);

}  // namespace engine
