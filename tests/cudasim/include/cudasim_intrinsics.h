// For kernels/cuda/intrinsics.h: the bodies that its functions have on the simulated device.
#pragma once

#include "tests/cudasim/intrinsics.h"
