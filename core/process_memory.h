// Tells how much memory this process has.
#pragma once

#include <cstddef>

namespace engine {

// Returns the most memory that this process had so far, in bytes, or 0 where the system does not tell. A device's own
// memory is not part of it.
size_t peak_memory();

}  // namespace engine
