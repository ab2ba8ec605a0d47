#include "tasks/squad/place_tokens.h"

#include <algorithm>
#include <array>

#include "core/error.h"
#include "tasks/squad/passages.h"
#include "text/unicode.h"

namespace engine {

namespace {

constexpr std::array<int64_t, 12> bounds{0, 10, 20, 50, 100, 200, 400, 1000, 2000, 4000, 10000, 25000};
constexpr int64_t shortest_part = 9;  // characters of a line that has a token

std::string token_of(const char* name, int64_t bound) {
  return std::string("[").append(name).append("=").append(std::to_string(bound)).append("]");
}

int64_t bound_of(int64_t characters) { return *(std::upper_bound(bounds.begin(), bounds.end(), characters) - 1); }

}  // namespace

std::vector<std::string> place_tokens(const SquadConfig& config) {
  std::vector<std::string> tokens;
  if (config.word_tokens != "none")
    for (const int64_t bound : bounds) tokens.push_back(token_of("WORD", bound));
  if (config.context_token)
    for (const int64_t bound : bounds) tokens.push_back(token_of("CONTEXT", bound));
  return tokens;
}

Encoding encode_with_places(const Tokenizer& tokenizer, const Context& context, const SquadConfig& config) {
  Encoding all;
  const auto add_token = [&](const std::string& token, int32_t place) {
    const std::optional<int32_t> id = tokenizer.id_of(token);
    require(id.has_value(), "the tokenizer has no token ", token, ", which squad.word_tokens or squad.context_token ",
            "ask for: it was not trained with them");
    all.ids.push_back(*id);
    all.offsets.emplace_back(place, place);
  };
  const std::string_view text = context.text;
  const auto own = static_cast<int64_t>(count_characters(text));
  if (config.context_token) add_token(token_of("CONTEXT", bound_of(context.document ? context.document : own)), 0);
  std::vector<ByteRange> parts{{0, text.size()}};
  if (config.word_tokens == "sentences") parts = sentences_of(text);
  if (config.word_tokens == "lines") parts = lines_of(text);
  int32_t passed = 0;  // characters of the context
  for (auto [begin, end] : parts) {
    const auto characters = static_cast<int64_t>(count_characters(text.substr(begin, end - begin)));
    if (config.word_tokens != "none" && characters >= shortest_part)
      add_token(token_of("WORD", bound_of(context.begin + passed)), passed);
    if (config.word_tokens == "lines" && end < text.size()) ++end;  // the line end belongs to its line
    const std::string_view part = text.substr(begin, end - begin);
    const Encoding encoding = tokenizer.encode_with_offsets(part);
    all.ids.insert(all.ids.end(), encoding.ids.begin(), encoding.ids.end());
    for (const auto& [first, last] : encoding.offsets) all.offsets.emplace_back(first + passed, last + passed);
    passed += static_cast<int32_t>(count_characters(part));
  }
  return all;
}

}  // namespace engine
