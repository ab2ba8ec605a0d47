// For kernels/cuda_intrinsics.h: the bodies that its functions have on the simulated device.
#pragma once

#include "tests/cudasim/intrinsics.h"
