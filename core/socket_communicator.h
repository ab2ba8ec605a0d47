// A communicator over TCP, for ranks that are started without MPI (rank_place.h).
//
// Rank 0 listens where the place says. The others connect to it, and each says what it is (Hello). Once all are there,
// rank 0 tells each where its neighbours listen, and the ranks close a ring and a tree. Large sums go around the ring
// in pieces, one for each rank: in size - 1 steps every rank has the sum of one piece, and in as many more all have
// all. Small ones and gathers go up the tree and down again, in twice as many steps as it is deep. So each element is
// added up in one order, and all ranks have the same bits.
//
// The first connections stay open. Over them ranks tell rank 0 that they live, that they failed or that they are done,
// and rank 0 tells all others. Where a rank ends without a word, or does not answer for as long as the timeout, the
// lowest of the others prints one line that names it, and all end with the exit code 1.
#pragma once

#include <memory>

#include "core/communicator.h"
#include "core/rank_place.h"

namespace engine {

// Returns when all ranks are there. An Error names those that did not come within `seconds`, or what does not fit.
std::unique_ptr<Communicator> make_socket_communicator(const RankPlace& place, double seconds);

}  // namespace engine
