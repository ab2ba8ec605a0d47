#include "core/rendezvous.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <thread>

#include "core/error.h"
#include "core/version.h"

namespace engine {

namespace {

// Rank 0 takes the first of so many ports that is free.
constexpr int ports_tried = 16;

// A rank says this first. It has no pointers, and all ranks are the same program.
struct Hello {
  char magic[8] = {'e', 'n', 'g', 'i', 'n', 'e', ' ', '1'};
  int32_t rank = 0, size = 0, port = 0;
  char version[32] = {};
  char host[72] = {}, job[96] = {};

  // Tells whether another is of this job, and not some other program that has come to the port.
  bool is_with(const Hello& other) const {
    return std::memcmp(magic, other.magic, sizeof magic) == 0 && std::memcmp(job, other.job, sizeof job) == 0 &&
           other.version[sizeof version - 1] == 0 && other.host[sizeof host - 1] == 0;
  }
};
// Rank 0 answers with its own Hello at once, which no other program does, and later with this and, where all is well,
// an Address for each rank.
struct Answer {
  char refusal[160] = {};
};
struct Address {
  char host[72] = {}, numeric[72] = {};
  int32_t port = 0;
};

template <size_t N>
void copy_text(char (&to)[N], const std::string& text) {
  std::memcpy(to, text.data(), std::min(N - 1, text.size()));
}

Hello hello_of(const RankPlace& place, int port) {
  Hello hello;
  hello.rank = place.rank, hello.size = place.size, hello.port = port;
  copy_text(hello.version, version);
  copy_text(hello.job, place.job);
  char host[64] = {};
  gethostname(host, sizeof host - 1);
  copy_text(hello.host, host);
  return hello;
}

// Says what does not fit, or returns an empty text.
std::string refusal_of(const Hello& hello, const RankPlace& place, const std::vector<Socket>& control) {
  const std::string who = "rank " + std::to_string(hello.rank) + " on " + hello.host;
  if (std::strcmp(hello.version, version) != 0)
    return who + " is version " + hello.version + " of this program, and rank 0 is version " + version;
  if (hello.size != place.size)
    return who + " was started as one of " + std::to_string(hello.size) + " ranks, and rank 0 as one of " +
           std::to_string(place.size);
  if (hello.rank <= 0 || hello.rank >= place.size || control[static_cast<size_t>(hello.rank)])
    return "two processes say that they are rank " + std::to_string(hello.rank);
  return {};
}

std::string names_of_missing(const std::vector<Socket>& control) {
  std::string names;
  int count = 0;
  for (size_t rank = 1; rank < control.size(); ++rank)
    if (!control[rank] && count++ < 8) names.append(names.empty() ? "" : ", ").append(std::to_string(rank));
  return std::string(count == 1 ? "rank " : "ranks ") + names + (count > 8 ? " and others" : "");
}

// Takes in all other ranks, and tells them of one another.
std::vector<Address> receive_ranks(const RankPlace& place, const Hello& own, Deadline deadline, double seconds,
                                   Meeting& meeting) {
  Socket listener;
  const int first = place.port + place.port_is_taken;
  for (int port = first; !listener && port < first + ports_tried; ++port) listener = listen_at(port);
  if (!listener) fail("rank 0 cannot listen at any port from ", first, " to ", first + ports_tried - 1);
  meeting.control.resize(static_cast<size_t>(place.size));
  std::vector<Address> addresses(static_cast<size_t>(place.size));
  std::memcpy(addresses[0].host, own.host, sizeof own.host);
  addresses[0].port = own.port;
  std::string refusal;
  for (int there = 1; there < place.size && refusal.empty();) {
    Socket socket = accept_from(listener, deadline);
    if (!socket) {
      std::ostringstream text;
      text << names_of_missing(meeting.control) << " of " << place.size << " did not come within " << seconds
           << " s: are all started, and can they reach " << place.host << ":" << place.port << "?";
      refusal = text.str();
      break;
    }
    Hello hello;
    if (!socket.receive(&hello, sizeof hello, seconds_from_now(1)) || !own.is_with(hello)) continue;
    if (!socket.send(&own, sizeof own, seconds_from_now(5))) continue;
    refusal = refusal_of(hello, place, meeting.control);
    if (!refusal.empty()) {
      Answer answer;
      copy_text(answer.refusal, refusal);
      socket.send(&answer, sizeof answer, seconds_from_now(5));
      break;
    }
    const auto rank = static_cast<size_t>(hello.rank);
    std::memcpy(addresses[rank].host, hello.host, sizeof hello.host);
    copy_text(addresses[rank].numeric, address_of_peer(socket));
    addresses[rank].port = hello.port;
    meeting.control[rank] = std::move(socket);
    ++there;
  }
  Answer answer;
  copy_text(answer.refusal, refusal);
  for (const Socket& socket : meeting.control) {
    if (!socket) continue;
    socket.send(&answer, sizeof answer, seconds_from_now(5));
    if (refusal.empty()) socket.send(addresses.data(), addresses.size() * sizeof(Address), deadline);
  }
  if (!refusal.empty()) fail(refusal);
  return addresses;
}

// Returns what rank 0 answers, which is empty where another program listens at the port.
std::vector<Address> ask(const RankPlace& place, const Hello& hello, int port, Deadline deadline, Meeting& meeting) {
  Socket socket = connect_to(place.host, port, deadline);
  if (!socket || !socket.send(&hello, sizeof hello, deadline)) return {};
  Hello other;
  if (!socket.receive(&other, sizeof other, std::min(deadline, seconds_from_now(20))) ||
      !hello.is_with(other))
    return {};
  Answer answer;
  if (!socket.receive(&answer, sizeof answer, deadline)) return {};
  answer.refusal[sizeof answer.refusal - 1] = 0;
  if (answer.refusal[0]) std::_Exit(1);  // rank 0 says it
  std::vector<Address> addresses(static_cast<size_t>(place.size));
  if (!socket.receive(addresses.data(), addresses.size() * sizeof(Address), deadline)) return {};
  meeting.control.clear();
  meeting.control.push_back(std::move(socket));
  return addresses;
}

std::vector<Address> find_rank_0(const RankPlace& place, const Hello& hello, Deadline deadline, double seconds,
                                 Meeting& meeting) {
  const int first = place.port + place.port_is_taken;
  for (;;) {
    for (int port = first; port < first + ports_tried; ++port) {
      const std::vector<Address> addresses = ask(place, hello, port, deadline, meeting);
      if (!addresses.empty()) return addresses;
      if (std::chrono::steady_clock::now() > deadline)
        fail("rank ", place.rank, ": rank 0 at ", place.host, ":", place.port, " did not answer within ", seconds,
             " s");
      if (port == first) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }
}

}  // namespace

Meeting meet(const RankPlace& place, double seconds) {
  Meeting meeting;
  const Deadline deadline = seconds_from_now(seconds);
  const Socket listener = listen_at(0);
  if (!listener) fail("rank ", place.rank, " cannot listen at any port");
  const Hello hello = hello_of(place, port_of(listener));
  // Rank 0 has the first word where the time is up.
  const Deadline later = seconds_from_now(seconds + 5);
  std::vector<Address> addresses = place.rank == 0 ? receive_ranks(place, hello, deadline, seconds, meeting)
                                                   : find_rank_0(place, hello, later, seconds, meeting);
  const int next = (place.rank + 1) % place.size;
  const Address& address = addresses[static_cast<size_t>(next)];
  meeting.next = connect_to(next == 0 ? place.host : address.numeric, address.port, deadline);
  const int32_t own = place.rank;
  int32_t previous = -1;
  if (!meeting.next || !meeting.next.send(&own, sizeof own, deadline))
    fail("rank ", place.rank, " cannot connect to rank ", next, " at ", address.numeric, ":", address.port);
  while (previous != (place.rank + place.size - 1) % place.size) {
    meeting.previous = accept_from(listener, deadline);
    if (!meeting.previous)
      fail("rank ", (place.rank + place.size - 1) % place.size, " did not connect to rank ", place.rank, " within ",
           seconds, " s");
    if (!meeting.previous.receive(&previous, sizeof previous, seconds_from_now(5))) previous = -1;
  }
  meeting.local_size = 0;
  for (int rank = 0; rank < place.size; ++rank) {
    if (std::strcmp(addresses[static_cast<size_t>(rank)].host, hello.host) != 0) continue;
    if (rank == place.rank) meeting.local_rank = meeting.local_size;
    ++meeting.local_size;
  }
  return meeting;
}

}  // namespace engine
