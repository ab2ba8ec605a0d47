// A part of some data is spread evenly over all of it. Of `all` things `kept` are used, and the i-th of them is floor(i
// all / kept). That is i where all are kept.
#pragma once

#include <algorithm>
#include <cstdint>

namespace engine {

inline int64_t spread_index(int64_t i, int64_t kept, int64_t all) { return i * all / kept; }

// Tells of all things, one after the other, which are kept.
class Spread {
 public:
  Spread(int64_t kept, int64_t all) : kept_(kept), all_(all) {}
  bool keeps_next() {
    const bool is_kept = next_ < kept_ && spread_index(next_, kept_, all_) == passed_++;
    next_ += is_kept;
    return is_kept;
  }

 private:
  int64_t kept_, all_, next_ = 0, passed_ = 0;  // next_: of those that are kept
};

// Applies data.train_share. Keeps at least one where there are any.
inline int64_t kept_of_share(double share, int64_t all) {
  return std::min(all, std::max<int64_t>(1, static_cast<int64_t>(share * static_cast<double>(all))));
}
// Applies data.eval_sequences.
inline int64_t kept_at_most(int64_t most, int64_t all) { return most > 0 ? std::min(most, all) : all; }

}  // namespace engine
