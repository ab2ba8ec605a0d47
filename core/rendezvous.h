// How ranks find one another (socket_communicator.h).
#pragma once

#include <string>
#include <vector>

#include "core/rank_place.h"
#include "core/sockets.h"

namespace engine {

struct Meeting {
  std::vector<Socket> control;  // of rank 0: the connection to each rank, its own absent; of another: that to rank 0
  Socket next, previous;        // ring
  int local_rank = 0, local_size = 1;
};

Meeting meet(const RankPlace& place, double seconds);

}  // namespace engine
