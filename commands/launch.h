// Starts several ranks of this program on this machine: `engine VERB ... --ranks N`. They find one another as under
// torchrun (core/rank_place.h), and each has its part of the processors. Signals that this process gets are passed on.
// Ten seconds after one rank has ended with an error, the others are killed. They know of it by themselves, and have
// ended by then. Stopped ranks are killed at once then, and ten seconds after all others have ended well.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace engine {

// Takes --ranks N out of the arguments. Absent: it is not there. A wrong number is a UsageError, and so is a process
// that is one of several ranks already.
std::optional<int> take_ranks(std::vector<std::string>& arguments);

// Runs as many ranks with these arguments. Returns the exit code of the first that failed (1 where a signal killed it),
// or 0.
int launch(const std::vector<std::string>& arguments, int ranks);

}  // namespace engine
