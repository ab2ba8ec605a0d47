#pragma once

#include "models/config.h"

namespace engine {

struct BertOptions final : OptionsOf<BertOptions> {
  int64_t type_vocab_size = 2;  // token types: first and second text

  void declare(Options&) override {}
};

}  // namespace engine
