#pragma once

#include "models/config.h"

namespace engine {

struct SinusoidalOptions final : OptionsOf<SinusoidalOptions> {
  bool doubled_position_angles = false;  // positions with 10000^(4i/C) for 10000^(2i/C)

  void declare(Options& options) override;
};

}  // namespace engine
