// Rows: from "problem=step=...=answer" to the tokens that the model reads. A model with blotch tokens reads one first.
//   <blotch_2> 3*4=4+4+4=12 <eos>
// A row lacks steps by being shorter: "12+34=4+12+30=2+4+10+30=46" without its first step is
// "12+34=2+4+10+30=46". The label of the = before the hole is the first token behind it.
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "tasks/blotching/blotches.h"
#include "text/tokenizer.h"
#include "training/batch.h"

namespace engine {

// The places of the = in a row. Step i lies between those of i and i+1, its = at i+1 included.
std::vector<size_t> equal_signs(std::string_view row);
inline size_t steps_of(const std::vector<size_t>& equal_signs) { return equal_signs.size() - 1; }
// The text behind the last =.
std::string_view answer_of(std::string_view row);
// The row without the steps that are left out.
std::string without_steps(std::string_view row, const std::vector<bool>& left_out);

class RowFormat {
 public:
  // Throws a UsageError where the tokenizer has no tokens for problems or for the levels.
  RowFormat(const Tokenizer& tokenizer, const BlotchLevels& levels, const BlotchingConfig& config);

  // Appends the row with the token of its level (where there are tokens) and without the steps that are left out.
  // left_out is empty where it has all. Labels are those of the solution, or of the problem, too, where the
  // configuration says so, and the end. Positions are those in the whole row unless they count the tokens that are
  // there.
  void append(std::string_view row, int level, const std::vector<bool>& left_out, SequenceBatch& batch) const;
  // Returns the tokens up to the problem's =, which a solution goes on from.
  std::vector<int32_t> prompt(std::string_view problem, int level) const;
  // Returns the characters of generated tokens up to the end. A token without a character is a '?', and so is a missing
  // end.
  std::string text_of(std::span<const int32_t> tokens) const;

  // How many tokens the model reads of a whole row of so many characters.
  size_t tokens_of(size_t characters) const { return characters + (levels_.empty() ? 0 : 1); }
  int32_t end_token() const { return end_; }
  bool counts_present() const { return counts_present_; }

 private:
  int32_t id_of(char c) const { return ids_[static_cast<size_t>(c)]; }

  std::array<int32_t, 128> ids_{};
  std::vector<char> characters_;   // of each token, '?' where it has none
  std::vector<int32_t> levels_;    // tokens of the levels
  int32_t end_ = 0;
  bool counts_present_, scores_problem_;
};

}  // namespace engine
