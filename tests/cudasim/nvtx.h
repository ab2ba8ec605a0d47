// Keeps the regions of memory that were told to NVTX, for tests.
#pragma once

#include <cstddef>
#include <map>

namespace cudasim {

// Returns the size of each region, by its first address. A region outside its heap, or over another, ends the program.
const std::map<const char*, size_t>& nvtx_regions();

}  // namespace cudasim
