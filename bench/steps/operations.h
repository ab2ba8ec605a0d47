// Runs every operation once, at the shape that it has in its most frequent use.
#pragma once

#include "kernels/ops.h"

namespace engine {

// `ops` is a backend that counts. Nothing is computed, and no argument holds values but where sequences begin.
void run_every_operation(Ops& ops);

}  // namespace engine
