// The rank of a token among a row's logits l: how often the model would have taken another before it.
//
//   rank = 1 + |{v : l_v > l_token}|,   1 at the top
//
// Equal logits share the best rank among them, so a rank does not depend on the order of the vocabulary. A NaN stands
// below every number, -infinity too, and beside other NaNs: it is never counted, and a token whose own logit is one
// comes behind all that are numbers.
//
// Written: ranks. Counts are whole numbers, the same in any order. The operation costs one read of the logits, 4 or 2
// bytes a token. A token that is not in 0 ... V-1 is an error that names its row; on a device its rank is 0, and the
// error comes when results are next read.
#pragma once

#include "kernels/arguments.h"

namespace engine {

struct RankArgs {
  Tensor logits;  // f32 or bf16 [R, V]
  Tensor tokens;  // i32 [R]
  Tensor ranks;   // i32 [R], =

  template <class Each>
  void each_tensor(const Each& each) {
    each("logits", logits, Role::input);
    each("tokens", tokens, Role::input);
    each("ranks", ranks, Role::output);
  }
};

// Checks that the arguments fit one another.
void check_rank(const RankArgs&);

}  // namespace engine
