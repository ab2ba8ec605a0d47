#include "text/framing.h"

#include <algorithm>

#include "core/error.h"
#include "text/tokenizer.h"

namespace engine {

namespace {

// The part of an encoding that a window keeps.
struct Part {
  const Encoding* encoding;
  size_t begin, end;
};

// Returns the first tokens of an encoding, or the last if the tokenizer truncates on the left.
Part kept_part(const Tokenizer& tokenizer, const Encoding& encoding, size_t kept) {
  const size_t all = encoding.ids.size(), begin = tokenizer.truncates_left() ? all - kept : 0;
  return {&encoding, begin, begin + kept};
}

Framed framed(const std::vector<Framing::Piece>& pieces, const Part& first, const Part& second) {
  Framed result;
  for (const Framing::Piece& piece : pieces) {
    if (piece.text < 0) {
      result.ids.push_back(piece.token);
      result.offsets.emplace_back(0, 0);
    } else {
      const Part& part = piece.text == 0 ? first : second;
      const auto begin = static_cast<std::ptrdiff_t>(part.begin), end = static_cast<std::ptrdiff_t>(part.end);
      const Encoding& encoding = *part.encoding;
      result.ids.insert(result.ids.end(), encoding.ids.begin() + begin, encoding.ids.begin() + end);
      result.offsets.insert(result.offsets.end(), encoding.offsets.begin() + begin, encoding.offsets.begin() + end);
    }
    result.types.resize(result.ids.size(), piece.type);
    result.texts.resize(result.ids.size(), static_cast<int8_t>(piece.text));
  }
  return result;
}

size_t room_of(const Framing& framing, bool is_pair, size_t max_length) {
  const size_t special = framing.special_tokens(is_pair);
  require(max_length >= special, "a length of ", max_length, " tokens has no room for the ", special,
          " special tokens that the tokenizer adds");
  return max_length - special;
}

Framed encode_cut(const Tokenizer& tokenizer, std::string_view first, const std::string_view* second,
                  const Limit& limit) {
  const Framing framing = limit.special_tokens ? tokenizer.framing() : tokenizer.framing().without_special_tokens();
  const Encoding a = tokenizer.encode_with_offsets(first);
  const Encoding b = second ? tokenizer.encode_with_offsets(*second) : Encoding{};
  const auto [kept_first, kept_second] =
      truncated_lengths(a.ids.size(), b.ids.size(), second != nullptr,
                        room_of(framing, second != nullptr, limit.max_length), limit.truncation);
  return framed(second ? framing.pair : framing.single, kept_part(tokenizer, a, kept_first),
                kept_part(tokenizer, b, kept_second));
}

}  // namespace

Framing Framing::bert(int32_t classifier, int32_t separator) {
  const Piece begin{classifier, -1, 0}, end{separator, -1, 0};
  return {{begin, {-1, 0, 0}, end}, {begin, {-1, 0, 0}, end, {-1, 1, 1}, {separator, -1, 1}}};
}

Framing Framing::roberta(int32_t classifier, int32_t separator) {
  const Piece begin{classifier, -1, 0}, end{separator, -1, 0};
  return {{begin, {-1, 0, 0}, end}, {begin, {-1, 0, 0}, end, end, {-1, 1, 0}, end}};
}

size_t Framing::special_tokens(bool is_pair) const {
  const std::vector<Piece>& pieces = is_pair ? pair : single;
  return static_cast<size_t>(
      std::count_if(pieces.begin(), pieces.end(), [](const Piece& piece) { return piece.text < 0; }));
}

Framing Framing::without_special_tokens() const {
  Framing texts = *this;
  for (std::vector<Piece>* pieces : {&texts.single, &texts.pair})
    std::erase_if(*pieces, [](const Piece& piece) { return piece.text < 0; });
  return texts;
}

std::pair<size_t, size_t> truncated_lengths(size_t first, size_t second, bool is_pair, size_t room,
                                            Truncation truncation) {
  const size_t total = first + second;
  if (total <= room) return {first, second};
  const auto require_room = [&](bool fits, const char* which) {
    require(fits, total, " tokens do not fit into ", room, which,
            ": a greater length, or another truncation, would do");
  };
  switch (truncation) {
    case Truncation::none: require_room(false, ""); break;
    case Truncation::only_first:
      require_room(second < room, ", and the first text alone may be cut");
      return {room - second, second};
    case Truncation::only_second:
      require_room(is_pair && first < room, ", and the second text alone may be cut");
      return {first, room - first};
    case Truncation::longest_first: break;
  }
  if (!is_pair) return {room, 0};
  // The shorter keeps half if it has that much, and an odd place goes to the longer.
  const size_t shorter = std::min({first, second, room / 2});
  return first <= second ? std::pair(shorter, room - shorter) : std::pair(room - shorter, shorter);
}

Framed encode_framed(const Tokenizer& tokenizer, std::string_view text, const Limit& limit) {
  return encode_cut(tokenizer, text, nullptr, limit);
}

Framed encode_framed(const Tokenizer& tokenizer, std::string_view first, std::string_view second, const Limit& limit) {
  return encode_cut(tokenizer, first, &second, limit);
}

Framed frame_pair(const Framing& framing, const Encoding& first, const Encoding& second, size_t begin, size_t end) {
  return framed(framing.pair, {&first, 0, first.ids.size()}, {&second, begin, end});
}

std::vector<std::pair<size_t, size_t>> window_parts(const Tokenizer& tokenizer, size_t first, size_t second,
                                                    size_t max_length, size_t stride) {
  const size_t room = room_of(tokenizer.framing(), true, max_length);
  require(first + stride < room, "the first text's ", first, " tokens and a stride of ", stride,
          " leave no place of ", room, " for the second: shorten it, or allow a greater length");
  const size_t width = room - first;
  std::vector<std::pair<size_t, size_t>> parts;
  // If texts are truncated on the left, the first window is the last part of the text, and the others go back.
  const bool goes_back = tokenizer.truncates_left();
  for (size_t passed = 0;; passed += width - stride) {
    const size_t reached = std::min(passed + width, second);
    parts.emplace_back(goes_back ? second - reached : passed, goes_back ? second - passed : reached);
    if (reached == second) return parts;
  }
}

std::vector<Framed> encode_windows(const Tokenizer& tokenizer, std::string_view first, std::string_view second,
                                   size_t max_length, size_t stride) {
  const Encoding a = tokenizer.encode_with_offsets(first), b = tokenizer.encode_with_offsets(second);
  std::vector<Framed> windows;
  for (const auto& [begin, end] : window_parts(tokenizer, a.ids.size(), b.ids.size(), max_length, stride))
    windows.push_back(frame_pair(tokenizer.framing(), a, b, begin, end));
  return windows;
}

}  // namespace engine
