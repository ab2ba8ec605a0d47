// Starts this program again, as a child.
#pragma once

#include <sys/types.h>

#include <csignal>
#include <functional>
#include <string>
#include <vector>

namespace engine {

// Runs `prepare` in the child and then this program with these arguments. The child gets death_signal where this
// process ends. An Error says that `what` cannot be started.
pid_t start_child(const std::vector<std::string>& arguments, int death_signal, const std::string& what,
                  const std::function<void()>& prepare);

}  // namespace engine
