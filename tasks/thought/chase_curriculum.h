// The number of hops that problems are drawn with. A curriculum has stages from 1 to the most hops. Half of a stage's
// problems have as many hops as it, the others any number up to it, evenly; all of the last stage's have any. A stage
// ends where the running accuracy of problems with as many hops (decay .95, from 0) is above .9 after 20 steps or more,
// and after 300 steps in any case.
#pragma once

#include <cstdint>
#include <string>

#include "core/random.h"

namespace engine {

class ChaseCurriculum {
 public:
  // Without stages the last one is there from the beginning.
  ChaseCurriculum(int most_hops, bool has_stages) : most_(most_hops), stage_(has_stages ? 1 : most_hops) {}

  int stage() const { return stage_; }
  double accuracy() const { return accuracy_; }
  int draw(Random& random) const;
  // Comes after a step, with the accuracy that the step's model had on its problems of the stage; below 0: it had none.
  void step_done(double accuracy_of_stage);

  std::string state() const;
  void set_state(const std::string& text, const std::string& where);

 private:
  int most_, stage_;
  int64_t steps_ = 0;    // of this stage
  double accuracy_ = 0;  // running
};

}  // namespace engine
