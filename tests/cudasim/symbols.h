#pragma once

#include <string>

namespace cudasim {

// Returns the name of the function at this address of the program, as the source has it, and the address in digits
// where the program was stripped of its symbols. (dladdr does not know functions of unnamed namespaces.)
std::string symbol_name(const void* function);

}  // namespace cudasim
