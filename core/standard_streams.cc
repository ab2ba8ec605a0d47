#include "core/standard_streams.h"

#include <fcntl.h>

#include <cstdlib>

namespace engine {

void fill_standard_streams() {
  for (int descriptor = 0; descriptor <= 2; ++descriptor) {
    if (fcntl(descriptor, F_GETFD) >= 0) continue;
    // The lowest free descriptor is this one, since those below are open.
    if (open("/dev/null", O_RDONLY) != descriptor) std::abort();
  }
}

}  // namespace engine
