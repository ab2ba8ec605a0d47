#include "commands/child.h"

#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "core/error.h"

namespace engine {

pid_t start_child(const std::vector<std::string>& arguments, int death_signal, const std::string& what,
                  const std::function<void()>& prepare) {
  std::vector<std::string> texts{"engine"};
  texts.insert(texts.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& text : texts) argv.push_back(text.data());
  argv.push_back(nullptr);
  const pid_t parent = getpid(), child = fork();
  if (child < 0) fail(what, " cannot be started: ", std::generic_category().message(errno));
  if (child > 0) return child;
  prctl(PR_SET_PDEATHSIG, death_signal);
  if (getppid() != parent) _exit(1);
  prepare();
  execv("/proc/self/exe", argv.data());
  _exit(127);
}

}  // namespace engine
