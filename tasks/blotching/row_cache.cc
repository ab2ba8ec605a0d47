#include "tasks/blotching/row_cache.h"

#include <charconv>
#include <numeric>

#include "core/error.h"
#include "core/random.h"

namespace engine {

void RowCache::add(std::string row) {
  if (rows_.size() < capacity_) {
    rows_.push_back(std::move(row));
    return;
  }
  rows_[next_] = std::move(row);
  next_ = (next_ + 1) % capacity_;
}

double RowCache::mean_length() const {
  size_t all = 0;
  for (const std::string& row : rows_) all += row.size();
  return static_cast<double>(all) / static_cast<double>(rows_.size());
}

std::vector<uint32_t> RowCache::order(uint64_t seed, uint64_t stream) const {
  Random random(seed, stream);
  std::vector<uint32_t> order(rows_.size());
  std::iota(order.begin(), order.end(), 0u);
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.below(static_cast<uint32_t>(i))]);
  return order;
}

std::string RowCache::text() const {
  std::string text = std::to_string(next_) + "\n";
  for (const std::string& row : rows_) text.append(row).append("\n");
  return text;
}

void RowCache::set_text(std::string_view text, const std::string& where) {
  rows_.clear();
  const size_t end = text.find('\n');
  const auto [rest, error] = std::from_chars(text.data(), text.data() + std::min(end, text.size()), next_);
  require(error == std::errc{} && end != std::string_view::npos && rest == text.data() + end && next_ < capacity_,
          where, " is damaged: its first line should be a place in the cache");
  for (size_t at = end + 1; at < text.size();) {
    const size_t newline = text.find('\n', at);
    require(newline != std::string_view::npos && newline > at && rows_.size() < capacity_, where,
            " is damaged: a line is not a row, or there are more than ", capacity_);
    rows_.emplace_back(text.substr(at, newline - at));
    at = newline + 1;
  }
  require(!rows_.empty(), where, " is damaged: it has no rows");
}

}  // namespace engine
