// Puts the places of a list of indices in the order of their indices, stable and by counting, for sums that belong to
// an index.
//
// Counting takes the indices' digits, 9 bits each, from the lowest. It counts every digit in every tile of the list and
// takes running sums of the counts. Each place goes behind its digit's and tile's first place by the number of the
// tile's earlier places with that digit. One round puts 512 different indices in order, and two put 262144, as many as
// a vocabulary has. A round reads and writes 24 bytes a place, which is little beside the rows that the places stand
// for, in three small launches for up to three lists at once. The order of threads has no influence.
#pragma once

#include "core/arena.h"
#include "kernels/cuda/block.h"

namespace engine::cuda {

struct IndexList {
  const int32_t* index;
  int limit;       // number of rows of the table
  FaultKind kind;  // fault of an index outside
};
struct IndexLists {
  IndexList list[3];
  int lists;
  int count;  // indices in each list

  // Compares, since the compiler would copy an array to memory that is indexed by an unknown number.
  __device__ __forceinline__ IndexList of(unsigned l) const { return l == 0 ? list[0] : l == 1 ? list[1] : list[2]; }
};

// Holds, for list l, the elements l count ... (l + 1) count - 1: the indices in rising order, and the place in the list
// that each had. The earlier of equal ones comes first. An index outside its table is a fault and comes last, as its
// limit.
struct IndexOrder {
  const int *index, *place;
};

// Takes the results' memory from `workspace`.
IndexOrder order_indices(const IndexLists& lists, Arena& workspace, FaultReport fault, cudaStream_t stream);

}  // namespace engine::cuda
