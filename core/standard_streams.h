// The standard streams of a program that was started with some of them closed.
#pragma once

namespace engine {

// Fills the file descriptors 0 to 2 that are closed, so that no file that is opened later gets one of them and receives
// what is printed. Reading such a stream gives its end, writing to it fails as it does where it is closed.
void fill_standard_streams();

// Throws an Error where a piece of what was printed is lost, after everything is printed. A stream that was closed from
// the beginning is wanted so, where nothing but the progress of a training goes to it.
void require_printed();
// Throws the Error of a standard output that takes nothing more.
[[noreturn]] void fail_to_print();

}  // namespace engine
