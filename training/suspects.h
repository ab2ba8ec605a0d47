// The examples with the highest losses, which `inspect --suspects` writes. Labels of many of them are wrong.
#pragma once

#include <functional>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "training/batch.h"

namespace engine {

class Suspects {
 public:
  // Makes the line of a batch's sequence, but for the loss.
  using Example = std::function<nlohmann::ordered_json(size_t sequence)>;

  explicit Suspects(size_t most) : most_(most) {}

  // Takes an example where its loss is one of the highest so far. `example` makes its line, but for the loss, and is
  // called for such examples alone. A loss that is not finite is passed over.
  void add(double loss, const std::function<nlohmann::ordered_json()>& example);
  // Takes the sequences of a batch, whose losses are the means of those of their scored tokens (`losses`, in the
  // batch's order). A sequence without a scored token is passed over.
  void add_sequences(const SequenceBatch& batch, std::span<const float> losses, const Example& example);
  // Returns a line of JSON for each, the highest loss first. Of equal ones the first that came is first.
  std::vector<std::string> lines() const;

 private:
  const size_t most_;
  size_t added_ = 0;
  std::map<std::pair<double, size_t>, std::string> kept_;  // by minus the loss, and when they came
};

}  // namespace engine
