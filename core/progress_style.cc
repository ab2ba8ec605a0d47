#include "core/progress_style.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cmath>

#include "core/rank_place.h"

namespace engine {

ProgressStyle progress_style(const std::string& asked, std::FILE* out) {
  if (asked == "bar") return ProgressStyle::bar;
  if (asked == "lines") return ProgressStyle::lines;
  if (asked == "none") return ProgressStyle::none;
  const bool has_terminal = isatty(fileno(out)) == 1 && !was_started_by_mpirun(own_environment());
  return has_terminal ? ProgressStyle::bar : ProgressStyle::lines;
}

int columns_of(std::FILE* out) {
  winsize size{};
  if (ioctl(fileno(out), TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

ShortText duration_text(double seconds) {
  ShortText text;
  if (!std::isfinite(seconds) || seconds < 0 || seconds > 1e9) {
    text.characters[0] = '?';
    return text;
  }
  const long whole = std::lround(seconds);
  if (whole >= 3600)
    std::snprintf(text.characters, sizeof text.characters, "%ld:%02ld:%02ld", whole / 3600, whole / 60 % 60,
                  whole % 60);
  else
    std::snprintf(text.characters, sizeof text.characters, "%ld:%02ld", whole / 60, whole % 60);
  return text;
}

ShortText memory_text(double bytes) {
  ShortText text;
  const double mebibytes = bytes / (1 << 20);
  if (mebibytes < 1024) std::snprintf(text.characters, sizeof text.characters, "%.0f MiB", mebibytes);
  else std::snprintf(text.characters, sizeof text.characters, "%.1f GiB", mebibytes / 1024);
  return text;
}

void RunningSpeed::add(double count, double seconds) {
  if (!(seconds > 0) || count < 0) return;
  const double kept = std::exp(-seconds / window_);
  count_ = count_ * kept + count;
  seconds_ = seconds_ * kept + seconds;
}

}  // namespace engine
