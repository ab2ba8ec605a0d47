// The version of the program, as `engine --version` says it.
#pragma once

namespace engine {

inline constexpr const char* version = "1.0";

}  // namespace engine
