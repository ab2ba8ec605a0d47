#pragma once

#include <string>

namespace cudasim {

// The name of the function at this address of the program, as it is written in the source; its address in digits where
// the program was stripped of its symbols. (dladdr does not know functions of unnamed namespaces.)
std::string symbol_name(const void* function);

}  // namespace cudasim
