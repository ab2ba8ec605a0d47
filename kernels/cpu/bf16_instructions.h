// The unit's instructions, for the *_bf16.cc files. Both headers have the same functions.
#pragma once

#if defined(__AMX_BF16__)
#include "kernels/cpu/amx.h"
#else
#include "kernels/cpu/bf16_dots.h"
#endif
