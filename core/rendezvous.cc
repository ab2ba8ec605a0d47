#include "core/rendezvous.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <optional>
#include <sstream>
#include <thread>

#include "core/error.h"
#include "core/version.h"

namespace engine {

namespace {

// Rank 0 takes the first of so many ports that is free.
constexpr int ports_tried = 16;

// Ranks of one version whose protocols differ would not understand one another.
const std::string protocol = std::string(version) + ", protocol 2";

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
// with Neighbours.
struct Answer {
  char refusal[160] = {};
};

template <size_t N>
void copy_text(char (&to)[N], const std::string& text) {
  std::memcpy(to, text.data(), std::min(N - 1, text.size()));
}

Hello hello_of(const RankPlace& place, int port) {
  Hello hello;
  hello.rank = place.rank, hello.size = place.size, hello.port = port;
  copy_text(hello.version, protocol);
  copy_text(hello.job, place.job);
  char host[64] = {};
  gethostname(host, sizeof host - 1);
  copy_text(hello.host, host);
  return hello;
}

// Says what does not fit, or returns an empty text.
std::string refusal_of(const Hello& hello, const RankPlace& place, const std::vector<Socket>& control) {
  const std::string who = "rank " + std::to_string(hello.rank) + " on " + hello.host;
  if (hello.version != protocol)
    return who + " is version " + hello.version + " of this program, and rank 0 is version " + protocol;
  if (hello.size != place.size)
    return who + " was started as one of " + std::to_string(hello.size) + " ranks, and rank 0 as one of " +
           std::to_string(place.size);
  if (hello.rank <= 0 || hello.rank >= place.size || control[static_cast<size_t>(hello.rank)])
    return "two processes say that they are rank " + std::to_string(hello.rank) +
           ": have two jobs one MASTER_PORT (" + std::to_string(place.port) + ")?";
  return {};
}

std::string names_of_missing(const std::vector<Socket>& control) {
  std::string names;
  int count = 0;
  for (size_t rank = 1; rank < control.size(); ++rank)
    if (!control[rank] && count++ < 8) names.append(names.empty() ? "" : ", ").append(std::to_string(rank));
  return std::string(count == 1 ? "rank " : "ranks ") + names + (count > 8 ? " and others" : "");
}

// Returns the neighbours of each rank.
std::vector<Neighbours> neighbours_of_all(const std::vector<Address>& addresses,
                                          const std::vector<std::string>& hosts) {
  std::vector<Neighbours> all;
  std::map<std::string, int32_t> ranks_of_host;
  for (size_t rank = 0; rank < addresses.size(); ++rank)
    all.push_back({.next = addresses[(rank + 1) % addresses.size()],
                   .parent = addresses[static_cast<size_t>(parent_of(static_cast<int>(rank)))],
                   .local_rank = ranks_of_host[hosts[rank]]++});
  for (size_t rank = 0; rank < addresses.size(); ++rank) all[rank].local_size = ranks_of_host[hosts[rank]];
  return all;
}

// Takes in all other ranks, and tells them of their neighbours.
Neighbours receive_ranks(const RankPlace& place, const Hello& own, Deadline deadline, double seconds,
                         Meeting& meeting) {
  Socket listener;
  const int first = place.port + place.port_is_taken;
  for (int port = first; !listener && port < first + ports_tried; ++port) listener = listen_at(port);
  if (!listener) fail("rank 0 cannot listen at any port from ", first, " to ", first + ports_tried - 1);
  meeting.control.resize(static_cast<size_t>(place.size));
  std::vector<Address> addresses(static_cast<size_t>(place.size));
  std::vector<std::string> hosts(static_cast<size_t>(place.size));
  hosts[0] = own.host;
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
    hosts[rank] = hello.host;
    copy_text(addresses[rank].numeric, address_of_peer(socket));
    addresses[rank].port = hello.port;
    meeting.control[rank] = std::move(socket);
    ++there;
  }
  Answer answer;
  copy_text(answer.refusal, refusal);
  const std::vector<Neighbours> neighbours = neighbours_of_all(addresses, hosts);
  for (size_t rank = 1; rank < meeting.control.size(); ++rank) {
    const Socket& socket = meeting.control[rank];
    if (!socket) continue;
    socket.send(&answer, sizeof answer, seconds_from_now(5));
    if (refusal.empty()) socket.send(&neighbours[rank], sizeof neighbours[rank], deadline);
  }
  if (!refusal.empty()) fail(refusal);
  return neighbours[0];
}

// Returns what rank 0 answers, or nothing where another program listens at the port.
std::optional<Neighbours> ask(const RankPlace& place, const Hello& hello, int port, Deadline deadline,
                              Meeting& meeting) {
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
  Neighbours neighbours;
  if (!socket.receive(&neighbours, sizeof neighbours, deadline)) return {};
  meeting.control.clear();
  meeting.control.push_back(std::move(socket));
  return neighbours;
}

Neighbours find_rank_0(const RankPlace& place, const Hello& hello, Deadline deadline, double seconds,
                       Meeting& meeting) {
  const int first = place.port + place.port_is_taken;
  for (;;) {
    for (int port = first; port < first + ports_tried; ++port) {
      if (const std::optional<Neighbours> found = ask(place, hello, port, deadline, meeting)) return *found;
      if (std::chrono::steady_clock::now() > deadline)
        fail("rank ", place.rank, ": rank 0 at ", place.host, ":", place.port, " did not answer within ", seconds,
             " s");
      if (port == first) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }
}

// A rank that connects to another says who it is, and whether it is the previous one of the ring or a child of the
// tree.
struct Introduction {
  int32_t rank = -1, is_child = 0;
};

Socket introduced(const RankPlace& place, int to, const Address& address, bool is_child, Deadline deadline,
                  RankWatch& watch) {
  const std::string host = to == 0 ? place.host : address.numeric;
  Socket socket = connect_to(host, address.port, deadline);
  const Introduction own{place.rank, is_child};
  if (!socket || !socket.send(&own, sizeof own, deadline))
    watch.lost("cannot connect to rank " + std::to_string(to) + " at " + host + ":" + std::to_string(address.port));
  return socket;
}

// Accepts the previous rank and the children, in whatever order they come.
void accept_others(const RankPlace& place, const Meeting& meeting, RankWatch& watch, Connections& connections) {
  const int previous = (place.rank + place.size - 1) % place.size, first_child = first_child_of(place.rank);
  std::vector<Socket>& children = connections.children;
  children.resize(static_cast<size_t>(std::clamp(place.size - first_child, 0, 2)));
  const auto missing = [&] {
    if (!connections.previous) return previous;
    for (size_t i = 0; i < children.size(); ++i)
      if (!children[i]) return first_child + static_cast<int>(i);
    return -1;
  };
  while (missing() >= 0) {
    Socket socket = accept_from(meeting.listener, meeting.deadline);
    if (!socket) {
      std::ostringstream text;
      text << "was not connected to by rank " << missing() << " within " << meeting.seconds << " s";
      watch.lost(text.str());
    }
    Introduction other;
    if (!socket.receive(&other, sizeof other, seconds_from_now(5))) continue;
    const int child = other.rank - first_child;
    if (!other.is_child && other.rank == previous) connections.previous = std::move(socket);
    else if (other.is_child && child >= 0 && child < std::ssize(children))
      children[static_cast<size_t>(child)] = std::move(socket);
  }
}

// Listens at a free port at which nobody looks for rank 0: there a rank would be waited for in vain.
Socket listen_apart(const RankPlace& place) {
  std::vector<Socket> unwanted;  // held, so that their ports are not given again
  for (;;) {
    Socket listener = listen_at(0);
    const int distance = listener ? port_of(listener) - place.port : -1;
    if (distance < 0 || distance > ports_tried) return listener;
    unwanted.push_back(std::move(listener));
  }
}

}  // namespace

Meeting meet(const RankPlace& place, double seconds) {
  Meeting meeting{.listener = listen_apart(place), .seconds = seconds, .deadline = seconds_from_now(seconds)};
  if (!meeting.listener) fail("rank ", place.rank, " cannot listen at any port");
  const Hello hello = hello_of(place, port_of(meeting.listener));
  // Rank 0 has the first word where the time is up.
  const Deadline later = seconds_from_now(seconds + 5);
  meeting.neighbours = place.rank == 0 ? receive_ranks(place, hello, meeting.deadline, seconds, meeting)
                                       : find_rank_0(place, hello, later, seconds, meeting);
  return meeting;
}

Connections connect_neighbours(const RankPlace& place, const Meeting& meeting, RankWatch& watch) {
  Connections connections;
  const int next = (place.rank + 1) % place.size;
  connections.next = introduced(place, next, meeting.neighbours.next, false, meeting.deadline, watch);
  if (place.rank > 0)
    connections.parent =
        introduced(place, parent_of(place.rank), meeting.neighbours.parent, true, meeting.deadline, watch);
  accept_others(place, meeting, watch, connections);
  return connections;
}

}  // namespace engine
