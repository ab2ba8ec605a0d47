// Prints profiles, and what is different between two.
#pragma once

#include <iosfwd>

#include "training/profile.h"

namespace engine {

// Prints the tables of phases, operations, layers and memory.
void print_profile(const Profile& profile, std::ostream& out);

// Tells how near an operation comes to the roofline, by the nearer of its bounds.
struct Roofline {
  bool is_compute = false;  // else memory
  double share = 0;         // of that peak; data in a cache may be faster than the copy that measured memory's
};
Roofline roofline_of(const OperationProfile& operation, const Peaks& peaks);

// Prints which operations, layers and phases became slower or faster since `before`, those that changed most first.
void print_changes(const Profile& now, const Profile& before, std::ostream& out);

}  // namespace engine
