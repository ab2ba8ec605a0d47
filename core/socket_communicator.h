// A communicator over TCP, for ranks that are started without MPI (rank_place.h).
//
// Rank 0 listens where the place says. The others connect to it, and each says what it is (Hello). Once all are there,
// rank 0 tells everyone where everyone listens, and the ranks close a ring: each has a connection to the next one.
// Sums go around it in pieces, one for each rank: in size - 1 steps every rank has the sum of one piece, and in as many
// more all have all. So each element is added up in one order, and all ranks have the same bits. A thread of its own
// takes exchanges one after another, while the caller computes.
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
