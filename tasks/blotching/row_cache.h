// The rows that a training draws from: a ring of fixed capacity, in which a new row overwrites the oldest once it is
// full. An epoch goes through the rows in an order of its own.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace engine {

class RowCache {
 public:
  explicit RowCache(size_t capacity) : capacity_(capacity) {}

  size_t size() const { return rows_.size(); }
  const std::string& operator[](size_t i) const { return rows_[i]; }
  void add(std::string row);
  void replace(size_t i, std::string row) { rows_[i] = std::move(row); }
  double mean_length() const;  // in characters

  // Returns an order of the rows, which is a function of these and the number of rows.
  std::vector<uint32_t> order(uint64_t seed, uint64_t stream) const;

  // The rows as text, a line each, the oldest's place first.
  std::string text() const;
  // Takes the rows of such a text. Throws an Error that begins with `where` and a line where one is no
  // row, or there are more than the capacity.
  void set_text(std::string_view text, const std::string& where);

 private:
  size_t capacity_, next_ = 0;  // next_ is the oldest where the ring is full
  std::vector<std::string> rows_;
};

}  // namespace engine
