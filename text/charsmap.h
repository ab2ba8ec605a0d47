// A SentencePiece model's table of replacements (Kudo and Richardson 2018): a double array of UTF-8 bytes, whose
// values are places in a list of texts, as in
//   u32 size of the array in bytes, u32 units, texts that each end with a zero byte
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/rewrites.h"

namespace engine {

class Charsmap final : public Rewrite {
 public:
  // An Error tells of a table that is cut short, or that points outside itself or at bytes that are no UTF-8.
  Charsmap(std::string bytes, const std::string& where);

  void apply(std::vector<PlacedCharacter>& text) const override;
  nlohmann::ordered_json to_json() const override;
  Reach reach() const override { return Reach::makes_spaces; }

 private:
  // Returns the replacement of the shortest entry with which the bytes begin.
  std::optional<std::string_view> find(std::string_view bytes) const;
  uint32_t unit(size_t place) const { return place < units_.size() ? units_[place] : 0; }
  std::string_view text_at(size_t place) const;
  void check_entries(const std::string& where) const;

  std::string bytes_;
  std::vector<uint32_t> units_;
  std::string_view texts_;  // the part of bytes_ behind the units
  std::array<std::optional<std::string_view>, 128> ascii_;
};

}  // namespace engine
