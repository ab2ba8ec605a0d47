// Says how work that takes long shows that it advances.
#pragma once

#include <cstdio>
#include <string>

namespace engine {

enum class ProgressStyle { bar, lines, none };

// Returns the style that the option progress names. Behind "auto" stands a bar where `out` is a terminal, else lines. A
// process that mpirun started gets lines there, too: mpirun gives its processes terminals whatever becomes of their
// output.
ProgressStyle progress_style(const std::string& asked, std::FILE* out);

// Returns the columns of a terminal, or 80 where it does not tell.
int columns_of(std::FILE* out);

// Holds text of a fixed length, because a step that is shown allocates nothing.
struct ShortText {
  char characters[32] = {};
};
// Returns seconds as "1:02:03" or "2:03", or "?" where they are no duration.
ShortText duration_text(double seconds);
// Returns bytes as "512 MiB" or "1.5 GiB".
ShortText memory_text(double bytes);

// Is a mean of a speed over about the last `window` seconds, in which later ones weigh more.
class RunningSpeed {
 public:
  explicit RunningSpeed(double window = 30) : window_(window) {}
  void add(double count, double seconds);
  // Returns the count a second, or 0 before the first time that took any.
  double value() const { return seconds_ > 0 ? count_ / seconds_ : 0; }

 private:
  double window_, count_ = 0, seconds_ = 0;
};

}  // namespace engine
