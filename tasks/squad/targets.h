// Targets of a window: the weight of each of its tokens as an answer's first and as its last one.
//   target = (1 - s) (a onehot + (1 - a) y) + s / n,  n tokens, s the label smoothing, a the squad.jaccard_alpha
// onehot is 1 at the answer's own token. y_i is proportional to j + j^2, where j is the Jaccard of the tokens of the
// answer and of the span that would begin (or end) at token i and end (or begin) where the answer does. Tokens outside
// of the context, and those on the wrong side of the answer's other end, have y = 0.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

namespace engine {

// A window as its targets see it. Both ends of an answer are tokens, of a range the second one lies behind it.
struct WindowShape {
  size_t tokens;
  std::pair<size_t, size_t> context;  // range of its tokens in the context
  std::pair<size_t, size_t> answer;   // its first and last token; the window's first one where it holds no answer
  bool has_answer;
};

struct SoftTargetShares {
  double smoothing = 0, jaccard_alpha = 1;
};

// Return the targets of the first and of the last token, which sum to 1. A window without the answer has no y: its
// target is the first token, smoothed.
std::vector<double> first_token_targets(const WindowShape& window, const SoftTargetShares& shares);
std::vector<double> last_token_targets(const WindowShape& window, const SoftTargetShares& shares);

}  // namespace engine
