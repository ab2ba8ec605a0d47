#include "tasks/blotching/row_cache.h"

#include <charconv>
#include <numeric>

#include "core/error.h"
#include "core/random.h"

namespace engine {

namespace {

// Tells whether a line may be a problem, statements and a number with = between them.
bool is_row(std::string_view line) {
  const size_t equal = line.rfind('=');
  return equal != std::string_view::npos && equal > 0 && line.front() != '=' && equal + 1 < line.size() &&
         line.find("==") == std::string_view::npos &&
         line.find_first_not_of("0123456789+*()=") == std::string_view::npos &&
         line.find_first_not_of("0123456789", equal + 1) == std::string_view::npos;
}

}  // namespace

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
          where, ":1: is damaged: the first line should be a place in the cache");
  for (size_t at = end + 1; at < text.size();) {
    const size_t newline = text.find('\n', at);
    const size_t line = rows_.size() + 2;
    require(newline != std::string_view::npos && is_row(text.substr(at, newline - at)), where, ":", line,
            ": is damaged: the line is no row such as 1+2*3=3+3+1=7");
    require(rows_.size() < capacity_, where, ":", line, ": is damaged: there are more rows than ", capacity_);
    rows_.emplace_back(text.substr(at, newline - at));
    at = newline + 1;
  }
  require(!rows_.empty(), where, ":2: is damaged: there are no rows");
}

}  // namespace engine
