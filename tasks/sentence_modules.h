// The modules of a sentence-transformers folder behind pooling: dense layers and norms.
#pragma once

#include <cstdint>
#include <vector>

#include "core/arena.h"
#include "kernels/ops.h"
#include "tasks/sentence_config.h"

namespace engine {

class SentenceModules {
 public:
  // Loads the weights into an arena that keeps them. `width` is that of the pooled vectors. A layer that does not fit
  // it is an Error.
  SentenceModules(const std::vector<SentenceConfig::Module>& modules, int64_t width, Arena& arena);

  int64_t width() const { return width_; }  // of the vectors that come out
  // Runs the modules over `count` rows, which become as wide as width().
  void apply(Ops& ops, Arena& arena, int64_t count, std::vector<float>& rows) const;

 private:
  struct Step {
    Tensor weight;    // [O, I]; none: the rows are normalised
    Tensor bias;      // [O], may be none
    Tensor residual;  // [O, I], multiplied with the input and added; may be none
    bool adds_input = false;
    Activation activation = Activation::none;
  };
  void run_dense(const Step& step, Ops& ops, Arena& arena, int64_t count, std::vector<float>& rows) const;

  std::vector<Step> steps_;
  int64_t width_;
};

}  // namespace engine
