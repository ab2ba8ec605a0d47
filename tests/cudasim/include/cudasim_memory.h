// Tells the simulated device of arenas, for core/cuda/memory.cc.
#pragma once

#include "tests/cudasim/memory.h"
