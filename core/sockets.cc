#include "core/sockets.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "core/error.h"

namespace engine {

namespace {

// Waits until one of the descriptors is ready. Returns false where the deadline has come.
template <size_t N>
bool wait_for(std::array<pollfd, N>& wanted, const Deadline* deadline) {
  for (;;) {
    int limit = -1;
    if (deadline) {
      using std::chrono::milliseconds;
      const auto left = std::chrono::duration_cast<milliseconds>(*deadline - std::chrono::steady_clock::now());
      if (left.count() < 0) return false;
      limit = static_cast<int>(std::min<int64_t>(left.count() + 1, 3'600'000));
    }
    const int ready = poll(wanted.data(), N, limit);
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) fail("a connection cannot be waited for: ", std::strerror(errno));
  }
}
bool wait_for(int descriptor, short events, const Deadline* deadline) {
  std::array<pollfd, 1> wanted{{{descriptor, events, 0}}};
  return wait_for(wanted, deadline);
}

bool is_only_busy() { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

// Sends or receives what goes at once. Returns false where the other side has ended.
bool send_some(int descriptor, const char*& data, size_t& bytes) {
  if (bytes == 0) return true;
  const ssize_t sent = ::send(descriptor, data, bytes, MSG_NOSIGNAL);
  if (sent < 0) return is_only_busy();
  data += sent;
  bytes -= static_cast<size_t>(sent);
  return true;
}
bool receive_some(int descriptor, char*& data, size_t& bytes) {
  if (bytes == 0) return true;
  const ssize_t received = ::recv(descriptor, data, bytes, 0);
  if (received == 0) return false;
  if (received < 0) return is_only_busy();
  data += received;
  bytes -= static_cast<size_t>(received);
  return true;
}

// Makes a connection that sends at once and does not block.
Socket prepared(int descriptor) {
  Socket socket(descriptor);
  if (descriptor < 0) return socket;
  const int on = 1;
  setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK);
  fcntl(descriptor, F_SETFD, FD_CLOEXEC);
  return socket;
}

}  // namespace

void Socket::close() {
  if (descriptor_ >= 0) ::close(descriptor_);
  descriptor_ = -1;
}

bool Socket::send(const void* data, size_t bytes, Deadline deadline) const {
  const char* at = static_cast<const char*>(data);
  while (bytes > 0) {
    if (!send_some(descriptor_, at, bytes)) return false;
    if (bytes > 0 && !wait_for(descriptor_, POLLOUT, &deadline)) return false;
  }
  return true;
}

bool Socket::receive(void* data, size_t bytes, Deadline deadline) const {
  char* at = static_cast<char*>(data);
  while (bytes > 0) {
    if (!receive_some(descriptor_, at, bytes)) return false;
    if (bytes > 0 && !wait_for(descriptor_, POLLIN, &deadline)) return false;
  }
  return true;
}

bool Socket::exchange(const Socket& to, const void* out, size_t out_bytes, const Socket& from, void* in,
                      size_t in_bytes) {
  const char* source = static_cast<const char*>(out);
  char* target = static_cast<char*>(in);
  while (out_bytes > 0 || in_bytes > 0) {
    if (!send_some(to.descriptor_, source, out_bytes) || !receive_some(from.descriptor_, target, in_bytes))
      return false;
    if (out_bytes == 0 && in_bytes == 0) break;
    std::array<pollfd, 2> wanted{{{out_bytes > 0 ? to.descriptor_ : -1, POLLOUT, 0},
                                  {in_bytes > 0 ? from.descriptor_ : -1, POLLIN, 0}}};
    wait_for(wanted, nullptr);
  }
  return true;
}

Socket listen_at(int port) {
  for (const int family : {AF_INET6, AF_INET}) {
    Socket socket(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket) continue;
    const int on = 1, off = 0;
    setsockopt(socket.descriptor(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in6 six{.sin6_family = AF_INET6, .sin6_port = htons(static_cast<uint16_t>(port)), .sin6_flowinfo = 0,
                     .sin6_addr = in6addr_any, .sin6_scope_id = 0};
    sockaddr_in four{};
    four.sin_family = AF_INET;
    four.sin_port = htons(static_cast<uint16_t>(port));
    if (family == AF_INET6) setsockopt(socket.descriptor(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    const sockaddr* const address = family == AF_INET6 ? reinterpret_cast<const sockaddr*>(&six)
                                                       : reinterpret_cast<const sockaddr*>(&four);
    const socklen_t size = family == AF_INET6 ? sizeof six : sizeof four;
    if (bind(socket.descriptor(), address, size) == 0 && listen(socket.descriptor(), 1024) == 0) return socket;
    if (errno == EADDRINUSE) return {};
  }
  return {};
}

int port_of(const Socket& socket) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  require(getsockname(socket.descriptor(), reinterpret_cast<sockaddr*>(&address), &size) == 0,
          "a connection has no address: ", std::strerror(errno));
  const bool is_six = address.ss_family == AF_INET6;
  return ntohs(is_six ? reinterpret_cast<sockaddr_in6*>(&address)->sin6_port
                      : reinterpret_cast<sockaddr_in*>(&address)->sin_port);
}

std::string address_of_peer(const Socket& socket) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  char name[NI_MAXHOST];
  if (getpeername(socket.descriptor(), reinterpret_cast<sockaddr*>(&address), &size) != 0 ||
      getnameinfo(reinterpret_cast<sockaddr*>(&address), size, name, sizeof name, nullptr, 0, NI_NUMERICHOST) != 0)
    fail("a rank's address is not known");
  return name;
}

Socket accept_from(const Socket& listener, Deadline deadline) {
  for (;;) {
    if (!wait_for(listener.descriptor(), POLLIN, &deadline)) return {};
    Socket socket = prepared(accept(listener.descriptor(), nullptr, nullptr));
    if (socket) return socket;
  }
}

Socket connect_to(const std::string& host, int port, Deadline deadline) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  if (const int code = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found))
    fail("the host ", host, " is not known: ", gai_strerror(code));
  Socket result;
  for (const addrinfo* one = found; one && !result; one = one->ai_next) {
    Socket socket = prepared(::socket(one->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!socket) continue;
    if (connect(socket.descriptor(), one->ai_addr, one->ai_addrlen) != 0) {
      if (errno != EINPROGRESS || !wait_for(socket.descriptor(), POLLOUT, &deadline)) continue;
      int error = 0;
      socklen_t size = sizeof error;
      getsockopt(socket.descriptor(), SOL_SOCKET, SO_ERROR, &error, &size);
      if (error) continue;
    }
    result = std::move(socket);
  }
  freeaddrinfo(found);
  return result;
}

}  // namespace engine
