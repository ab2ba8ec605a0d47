// The standard streams of a program that was started with some of them closed.
#pragma once

namespace engine {

// Fills the file descriptors 0 to 2 that are closed, so that no file that is opened later gets one of them and receives
// what is printed. Reading such a stream gives its end, writing to it fails as it does where it is closed.
void fill_standard_streams();

}  // namespace engine
