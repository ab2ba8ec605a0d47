// Which places of a list of indices hold which index: a stable order by counting, for sums that belong to an index.
//
// An order by counting takes the indices' digits, 9 bits each, from the lowest: counts of every digit in every tile of
// the list, running sums of the counts, and each place goes where its digit and tile begin plus how many of the tile's
// earlier places have that digit. One round puts 512 different indices in order, two 262144: as many as a vocabulary
// has. A round reads and writes 24 bytes a place, next to nothing beside the rows that the places stand for, and three
// small launches, which serve up to three lists at once. Nothing depends on which thread came first.
#pragma once

#include "core/arena.h"
#include "kernels/cuda/block.h"

namespace engine::cuda {

struct IndexList {
  const int32_t* index;
  int limit;       // what indices have to be below
  FaultKind kind;  // what an index outside is
};
struct IndexLists {
  IndexList list[3];
  int lists;
  int count;  // of indices in each list

  // By comparisons, since what is indexed by a number that is not known beforehand would be copied to memory.
  __device__ __forceinline__ IndexList of(unsigned l) const { return l == 0 ? list[0] : l == 1 ? list[1] : list[2]; }
};

// For list l the elements l count ... (l + 1) count - 1: the indices in rising order, and where in the list each was;
// of equal ones the earlier first. An index outside its table is noted as a fault and comes last, as its limit.
struct IndexOrder {
  const int *index, *place;
};

// In memory of `workspace`.
IndexOrder order_indices(const IndexLists& lists, Arena& workspace, Fault* fault, cudaStream_t stream);

}  // namespace engine::cuda
