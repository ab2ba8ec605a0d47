// Gives kernels/cuda/intrinsics.h its bodies on the simulated device.
#pragma once

#include "tests/cudasim/intrinsics.h"
