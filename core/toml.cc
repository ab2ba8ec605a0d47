// The TOML library, compiled once.
#define TOML_IMPLEMENTATION
#include "core/toml.h"
