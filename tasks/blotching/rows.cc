#include "tasks/blotching/rows.h"

#include "core/error.h"

namespace engine {

std::vector<size_t> equal_signs(std::string_view row) {
  std::vector<size_t> places;
  for (size_t at = row.find('='); at != std::string_view::npos; at = row.find('=', at + 1)) places.push_back(at);
  require(!places.empty(), "a row without =: ", row.substr(0, 80));
  return places;
}

std::string_view answer_of(std::string_view row) { return row.substr(row.rfind('=') + 1); }

std::string without_steps(std::string_view row, const std::vector<bool>& left_out) {
  const std::vector<size_t> places = equal_signs(row);
  require(left_out.size() == steps_of(places), "a row of ", steps_of(places), " steps, of which ", left_out.size(),
          " may be left out");
  std::string text(row.substr(0, places[0] + 1));
  for (size_t step = 0; step < left_out.size(); ++step)
    if (!left_out[step]) text += row.substr(places[step] + 1, places[step + 1] - places[step]);
  return text.append(answer_of(row));
}

RowFormat::RowFormat(const Tokenizer& tokenizer, const BlotchLevels& levels, const BlotchingConfig& config)
    : counts_present_(config.pad_pos_skip), scores_problem_(config.incl_intl_prob) {
  end_ = tokenizer.end_token();
  characters_.assign(static_cast<size_t>(tokenizer.vocab_size()), '?');
  const auto id_in = [&](std::string_view token) {
    const auto id = tokenizer.id_of(token);
    if (!id || end_ < 0)
      fail_usage("task blotching needs the tokenizer of problems with ", levels.tokens().size(),
                 " blotch tokens: this model's has no token ", end_ < 0 ? "that ends a text" : token);
    return *id;
  };
  for (const char c : std::string_view("0123456789+*()=")) {
    const int32_t id = id_in({&c, 1});
    ids_[static_cast<size_t>(c)] = id;
    characters_[static_cast<size_t>(id)] = c;
  }
  for (const std::string& token : levels.tokens()) levels_.push_back(id_in(token));
}

void RowFormat::append(std::string_view row, int level, const std::vector<bool>& left_out,
                       SequenceBatch& batch) const {
  std::vector<int32_t>& labels = batch.targets.labels;
  if (!levels_.empty()) {
    batch.tokens.push_back(levels_[static_cast<size_t>(level)]);
    labels.push_back(-100);
    if (!counts_present_) batch.positions.push_back(0);
  }
  const size_t begin = batch.tokens.size();
  const auto before = static_cast<int32_t>(tokens_of(0));
  size_t segment = 0, problem = 0;  // the problem is segment 0, step i is i + 1
  for (size_t i = 0; i < row.size(); ++i) {
    const bool is_gone = segment > 0 && segment <= left_out.size() && left_out[segment - 1];
    if (!is_gone) {
      batch.tokens.push_back(id_of(row[i]));
      if (!counts_present_) batch.positions.push_back(before + static_cast<int32_t>(i));
    }
    if (row[i] == '=' && segment++ == 0) problem = i;
  }
  // A token predicts the one behind it. Nothing follows the end token, so it is no input.
  labels.insert(labels.end(), batch.tokens.begin() + static_cast<ptrdiff_t>(begin) + 1, batch.tokens.end());
  labels.push_back(end_);
  for (size_t i = 0; i < problem && !scores_problem_; ++i) labels[begin + i] = -100;
  batch.end_sequence();
}

std::vector<int32_t> RowFormat::prompt(std::string_view problem, int level) const {
  std::vector<int32_t> tokens;
  if (!levels_.empty()) tokens.push_back(levels_[static_cast<size_t>(level)]);
  for (const char c : problem) tokens.push_back(id_of(c));
  tokens.push_back(id_of('='));
  return tokens;
}

std::string RowFormat::text_of(std::span<const int32_t> tokens) const {
  std::string text;
  for (const int32_t token : tokens) {
    if (token == end_) return text;
    text += static_cast<size_t>(token) < characters_.size() ? characters_[static_cast<size_t>(token)] : '?';
  }
  return text + '?';
}

}  // namespace engine
