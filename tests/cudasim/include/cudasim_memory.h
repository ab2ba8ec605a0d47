// For core/cuda/memory.cc: what the simulated device wants to know of an arena.
#pragma once

#include "tests/cudasim/memory.h"
