// Tells the address sanitizer of memory and stacks. Does nothing in a build without it.
#pragma once

#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace cudasim {

#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool sanitized = true;
inline void poison(void* data, size_t bytes) { ASAN_POISON_MEMORY_REGION(data, bytes); }
inline void unpoison(void* data, size_t bytes) { ASAN_UNPOISON_MEMORY_REGION(data, bytes); }
inline void start_switch(void** state, const void* bottom, size_t bytes) {
  __sanitizer_start_switch_fiber(state, bottom, bytes);
}
inline void finish_switch(void* state, const void** bottom, size_t* bytes) {
  __sanitizer_finish_switch_fiber(state, bottom, bytes);
}
#else
inline constexpr bool sanitized = false;
inline void poison(void*, size_t) {}
inline void unpoison(void*, size_t) {}
inline void start_switch(void**, const void*, size_t) {}
inline void finish_switch(void*, const void**, size_t*) {}
#endif

}  // namespace cudasim
