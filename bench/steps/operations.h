// Every operation once, at the shape that it has in the work that it is most often part of.
#pragma once

#include "kernels/ops.h"

namespace engine {

// On a backend that counts: nothing is computed, and no argument holds anything but where sequences begin.
void run_every_operation(Ops& ops);

}  // namespace engine
