#include "training/shards.h"

#include <algorithm>
#include <numeric>
#include <span>
#include <string>

namespace engine {

namespace {

Tensor flat_part(const Tensor& whole, int64_t begin, int64_t end) {
  return {static_cast<char*>(whole.data) + static_cast<size_t>(begin) * size_of(whole.dtype), whole.dtype,
          {end - begin}};
}

Communicator* ranks_that_divide(const TrainingConfig& config, Communicator* ranks) {
  return config.shard_optimizer && ranks && ranks->size() > 1 ? ranks : nullptr;
}

int64_t parts_of(const TrainingConfig& config, const Communicator* dividing) {
  if (config.reduction_shards > 0) return config.reduction_shards;
  return dividing ? dividing->size() : 1;
}

}  // namespace

Shards::Shards(const Parameters& parameters, const TrainingConfig& config, Communicator* ranks)
    : Shards(parameters, parts_of(config, ranks_that_divide(config, ranks)), ranks_that_divide(config, ranks)) {}

Shards::Shards(const Parameters& parameters, int64_t parts, Communicator* ranks)
    : parts_(parts), last_part_(parts), ranks_(ranks) {
  if (ranks) {
    first_part_ = parts * ranks->rank() / ranks->size();
    last_part_ = parts * (ranks->rank() + 1) / ranks->size();
  }
  // The blocks that are left over when each part has equally many go to the parts with the fewest elements so far.
  std::vector<int64_t> elements(static_cast<size_t>(parts)), order(elements.size());
  for (const Parameter& p : parameters.all()) {
    const int64_t count = p.shape.count(), blocks = TouchedBlocks::count(count);
    std::vector<int64_t> shares(elements.size(), blocks / parts);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
      return elements[static_cast<size_t>(a)] < elements[static_cast<size_t>(b)];
    });
    for (int64_t i = 0; i < blocks % parts; ++i) ++shares[static_cast<size_t>(order[static_cast<size_t>(i)])];
    std::vector<int64_t>& cuts = cuts_.emplace_back(1, 0);
    int64_t end = 0;
    for (size_t part = 0; part < elements.size(); ++part) {
      end += shares[part];
      cuts.push_back(std::min(end * TouchedBlocks::block, count));
      elements[part] += cuts[part + 1] - cuts[part];
    }
  }
}

Tensor Shards::own(const Parameter& parameter, const Tensor& whole) const {
  if (!is_divided() || !whole) return whole;
  return flat_part(whole, begin(parameter), end(parameter));
}

Tensor Shards::part(const Parameter& parameter, const Tensor& whole, int64_t part) const {
  const std::vector<int64_t>& cuts = cuts_of(parameter);
  return flat_part(whole, cuts[static_cast<size_t>(part)], cuts[static_cast<size_t>(part) + 1]);
}

Tensor Shards::own_blocks(const Parameter& parameter, const Tensor& blocks) const {
  if (!is_divided() || !blocks) return blocks;
  return flat_part(blocks, TouchedBlocks::count(begin(parameter)), TouchedBlocks::count(end(parameter)));
}

std::vector<int64_t> Shards::begins_of_ranks(const Parameter& parameter, int64_t units) const {
  const std::vector<int64_t>& cuts = cuts_of(parameter);
  std::vector<int64_t> begins;
  for (const int64_t part : ranks_->begins_of_shares(parts_))
    begins.push_back(cuts[static_cast<size_t>(part)] * units);
  return begins;
}

void Shards::start_gather(const Parameter& parameter) const {
  if (!is_divided()) return;
  for (const Tensor& tensor : {parameter.value, parameter.rounded()})
    if (tensor)
      ranks_->start_all_gather({static_cast<std::byte*>(tensor.data), tensor.bytes()},
                               begins_of_ranks(parameter, static_cast<int64_t>(size_of(tensor.dtype))));
}

void Shards::gather_values(const Parameters& parameters) const {
  if (!is_divided()) return;
  for (const Parameter& p : parameters.all()) start_gather(p);
  ranks_->wait();
}

void check_reduction_shards(const TrainingConfig& config, const Communicator& ranks) {
  const int64_t shards = config.reduction_shards;
  if (shards == 0) return;
  if ((shards & (shards - 1)) != 0)
    fail_usage("training.reduction_shards is ", shards, ": a power of two is right, such as 8");
  if (shards % ranks.size() != 0) {
    std::string right;
    for (int64_t size = 1; size <= shards; size *= 2) right.append(size > 1 ? ", " : "").append(std::to_string(size));
    fail_usage("training.reduction_shards is ", shards, ", which ", ranks.size(),
               " ranks cannot share equally: these numbers of ranks can: ", right);
  }
  if (config.batch_tokens == 0 && config.batch_size < shards)
    fail_usage("training.reduction_shards is ", shards, ", and training.batch_size ", config.batch_size,
               ": a step needs a sequence for each shard at least");
}

}  // namespace engine
