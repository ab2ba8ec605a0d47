#include "text/added_tokens.h"

#include <algorithm>
#include <functional>

#include "core/error.h"
#include "text/unicode.h"

namespace engine {

namespace {

bool stands_alone(std::string_view text, size_t begin, size_t end) {
  if (begin > 0) {
    const char* place = text.data() + begin;
    if (is_word_character(previous_character(place))) return false;
  }
  if (end < text.size()) {
    const char* place = text.data() + end;
    if (is_word_character(next_character(place))) return false;
  }
  return true;
}

size_t before_spaces(std::string_view text, size_t end, size_t least) {
  while (end > least) {
    const char* place = text.data() + end;
    if (class_of(previous_character(place)) != CharacterClass::space) break;
    end = static_cast<size_t>(place - text.data());
  }
  return std::max(end, least);
}

size_t behind_spaces(std::string_view text, size_t begin) {
  while (begin < text.size()) {
    const char* place = text.data() + begin;
    if (class_of(next_character(place)) != CharacterClass::space) break;
    begin = static_cast<size_t>(place - text.data());
  }
  return begin;
}

}  // namespace

void AddedTokens::add(AddedToken token) {
  require(!token.content.empty(), "the added token with the id ", token.id, " has no content");
  require(ids_.insert(token.id).second, "two added tokens have the id ", token.id);
  require(!plain_.index.contains(token.content) && !normalized_.index.contains(token.content), "the added token \"",
          token.content, "\" comes twice");
  Group& group = token.normalized ? normalized_ : plain_;
  const auto first = static_cast<unsigned char>(token.content[0]);
  std::vector<size_t>& lengths = group.lengths[first];
  if (lengths.empty()) group.first_bytes.push_back(first);
  const auto place = std::lower_bound(lengths.begin(), lengths.end(), token.content.size(), std::greater<>());
  if (place == lengths.end() || *place != token.content.size()) lengths.insert(place, token.content.size());
  group.index.emplace(token.content, static_cast<int>(tokens_.size()));
  tokens_.push_back(std::move(token));
}

size_t AddedTokens::next_candidate(std::string_view text, size_t from, const Group& group) {
  if (group.first_bytes.size() == 1) return text.find(static_cast<char>(group.first_bytes[0]), from);
  for (; from < text.size(); ++from)
    if (!group.lengths[static_cast<unsigned char>(text[from])].empty()) return from;
  return std::string_view::npos;
}

int AddedTokens::match_at(std::string_view text, size_t place, const Group& group) {
  for (const size_t length : group.lengths[static_cast<unsigned char>(text[place])]) {
    if (length > text.size() - place) continue;
    const auto found = group.index.find(text.substr(place, length));
    if (found != group.index.end()) return found->second;
  }
  return -1;
}

void AddedTokens::split(std::string_view text, const Group& group, std::vector<Piece>& pieces) const {
  size_t done = 0, place = 0;
  while (!group.first_bytes.empty() && (place = next_candidate(text, place, group)) != std::string_view::npos) {
    const int index = match_at(text, place, group);
    if (index < 0) {
      ++place;
      continue;
    }
    const AddedToken& token = tokens_[static_cast<size_t>(index)];
    size_t begin = place, end = place + token.content.size();
    place = end;
    if (token.passed_over) continue;
    if (token.single_word && !stands_alone(text, begin, end)) continue;
    if (token.strip_left) begin = before_spaces(text, begin, done);
    if (token.strip_right) end = behind_spaces(text, end);
    if (begin >= end) continue;  // the token before it took all of it
    if (begin > done) pieces.push_back({text.substr(done, begin - done), -1});
    const size_t shared = begin < done ? count_characters(text.substr(begin, done - begin)) : 0;
    pieces.push_back({text.substr(begin, end - begin), index, static_cast<int32_t>(shared)});
    done = end;
  }
  if (done < text.size()) pieces.push_back({text.substr(done), -1});
}

std::vector<AddedTokens::Piece> AddedTokens::split(std::string_view text) const {
  std::vector<Piece> pieces;
  split(text, plain_, pieces);
  if (normalized_.first_bytes.empty()) return pieces;
  std::vector<Piece> all;
  for (const Piece& piece : pieces) {
    if (piece.token >= 0)
      all.push_back(piece);
    else
      split(piece.text, normalized_, all);
  }
  return all;
}

}  // namespace engine
