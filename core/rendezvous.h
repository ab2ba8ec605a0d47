// How ranks find one another (socket_communicator.h). All connect to rank 0, which tells each what its Neighbours are.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/rank_place.h"
#include "core/rank_watch.h"
#include "core/sockets.h"

namespace engine {

// The ranks are a tree in which rank r has the children 2 r + 1 and 2 r + 2.
inline int parent_of(int rank) { return (rank - 1) / 2; }
inline int first_child_of(int rank) { return 2 * rank + 1; }

// A rank's Neighbours are where others listen, and which of its machine's ranks it is.
struct Address {
  char numeric[72] = {};  // absent of rank 0, which is where the place says
  int32_t port = 0;
};
struct Neighbours {
  Address next, parent;
  int32_t local_rank = 0, local_size = 1;
};

struct Meeting {
  std::vector<Socket> control;  // of rank 0: the connection to each rank, its own absent; of another: that to rank 0
  Socket listener;              // where the neighbours connect
  Neighbours neighbours;
  double seconds;     // all may take
  Deadline deadline;  // when they have passed
};
struct Connections {
  Socket next, previous;         // ring
  Socket parent;                 // tree; rank 0 has none
  std::vector<Socket> children;  // tree, in their order
};

// Returns once all ranks have come to rank 0.
Meeting meet(const RankPlace& place, double seconds);
// Closes ring and tree. The watch has the meeting's connections, so that a rank which ends meanwhile is named.
Connections connect_neighbours(const RankPlace& place, const Meeting& meeting, RankWatch& watch);

}  // namespace engine
