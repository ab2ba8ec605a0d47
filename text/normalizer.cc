#include "text/normalizer.h"

#include <utf8proc.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"
#include "text/character_kinds.h"
#include "text/rewrites.h"
#include "text/unicode.h"

namespace engine {

using nlohmann::json;

namespace {

using Text = std::vector<PlacedCharacter>;

void remove_kind(Text& text, uint8_t kind) {
  std::erase_if(text, [&](const PlacedCharacter& placed) { return (kinds_of(placed.character) & kind) != 0; });
}

void clean(Text& text) {
  remove_kind(text, CharacterKind::control);
  for (PlacedCharacter& placed : text)
    if (kinds_of(placed.character) & CharacterKind::space) placed.character = U' ';
}

void space_chinese(Text& text) {
  const auto is_chinese = [](const PlacedCharacter& placed) {
    return (kinds_of(placed.character) & CharacterKind::chinese) != 0;
  };
  if (std::none_of(text.begin(), text.end(), is_chinese)) return;
  Text spaced;
  spaced.reserve(3 * text.size());
  for (const PlacedCharacter& placed : text) {
    const PlacedCharacter space{U' ', placed.begin, placed.end};
    if (is_chinese(placed)) spaced.insert(spaced.end(), {space, placed, space});
    else spaced.push_back(placed);
  }
  text.swap(spaced);
}

// ---- decomposition and composition (Unicode 3.11), of Unicode 9 as the reference's ----

// The places of the result follow from the changes as in the reference.
struct Change : CharacterChange {
  int combining_class;
};

int combining_class(char32_t character) {
  const bool is_mark = (kinds_of(character) & CharacterKind::mark) != 0;
  return is_mark ? utf8proc_get_property(static_cast<utf8proc_int32_t>(character))->combining_class : 0;
}

// Says whether a character decomposes only since later versions of Unicode.
bool decomposes_later(char32_t character) {
  constexpr std::pair<char32_t, char32_t> ranges[] = {
      {0x32ff, 0x32ff},   {0xa7f1, 0xa7f4},   {0xab69, 0xab69},   {0x105c9, 0x105e4}, {0x10781, 0x107ba},
      {0x11383, 0x113c8}, {0x11938, 0x11938}, {0x16121, 0x16128}, {0x16d68, 0x16d6a}, {0x1ccd6, 0x1ccf9},
      {0x1e030, 0x1e06d}, {0x1f16c, 0x1f16c}, {0x1fbf0, 0x1fbf9}};
  return std::any_of(std::begin(ranges), std::end(ranges),
                     [&](const auto& range) { return character >= range.first && character <= range.second; });
}

std::vector<Change> decomposed(const Text& text, bool compat) {
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | (compat ? UTF8PROC_COMPAT : 0));
  std::vector<Change> changes;
  changes.reserve(text.size() + text.size() / 2);
  for (const PlacedCharacter& placed : text) {
    utf8proc_int32_t pieces[32];
    int boundary = 0;
    const bool is_whole = placed.character < 0xa0 || decomposes_later(placed.character);
    const auto count = is_whole ? 0
                                : utf8proc_decompose_char(static_cast<utf8proc_int32_t>(placed.character), pieces, 32,
                                                          options, &boundary);
    if (count <= 0 || count > 32) {
      changes.push_back({{placed.character, 0}, combining_class(placed.character)});
      continue;
    }
    for (utf8proc_ssize_t i = 0; i < count; ++i) {
      const auto piece = static_cast<char32_t>(pieces[i]);
      changes.push_back({{piece, i > 0}, combining_class(piece)});
    }
  }
  for (auto place = changes.begin(); place != changes.end();) {
    const auto is_base = [](const Change& change) { return change.combining_class == 0; };
    const auto first = std::find_if_not(place, changes.end(), is_base);
    place = std::find_if(first, changes.end(), is_base);
    std::stable_sort(first, place,
                     [](const Change& a, const Change& b) { return a.combining_class < b.combining_class; });
  }
  return changes;
}

// Returns two characters as one, or 0.
char32_t composite(char32_t first, char32_t second) {
  const bool may_follow = (kinds_of(second) & CharacterKind::mark) || (second >= 0x1161 && second <= 0x11c2);
  if (!may_follow) return 0;
  utf8proc_int32_t pair[] = {static_cast<utf8proc_int32_t>(first), static_cast<utf8proc_int32_t>(second)};
  const auto count =
      utf8proc_normalize_utf32(pair, 2, static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE));
  return count == 1 ? static_cast<char32_t>(pair[0]) : 0;
}

std::vector<Change> composed(const std::vector<Change>& pieces) {
  std::vector<Change> result;
  size_t base = SIZE_MAX;  // in `result`, may take the next into itself
  for (const Change& piece : pieces) {
    // A mark between them that is not of a lower class blocks the composition.
    const bool adjacent = base == result.size() - 1;
    const bool reaches = base != SIZE_MAX && (adjacent || result.back().combining_class < piece.combining_class);
    const char32_t whole = reaches ? composite(result[base].character, piece.character) : 0;
    if (whole) {
      result[base].character = whole;
      result[base].change += piece.change - 1;
      continue;
    }
    if (piece.combining_class == 0) base = result.size();
    result.push_back(piece);
  }
  return result;
}

template <class One>
void place(const std::vector<One>& changes, Text& text) {
  Text result;
  result.reserve(changes.size());
  size_t next = 0;
  for (const CharacterChange& change : changes) {
    const PlacedCharacter& original = text[change.change > 0 ? std::max<size_t>(next, 1) - 1 : next];
    result.push_back({change.character, original.begin, original.end});
    if (change.change <= 0) next += static_cast<size_t>(1 - change.change);
  }
  text.swap(result);
}

void normalize(Text& text, bool compose, bool compat) {
  const char32_t first_changed = compat ? 0xa0 : compose ? 0x300 : 0xc0;
  const auto may_change = [&](const PlacedCharacter& placed) { return placed.character >= first_changed; };
  if (std::none_of(text.begin(), text.end(), may_change)) return;
  const std::vector<Change> changes = decomposed(text, compat);
  place(compose ? composed(changes) : changes, text);
}

// Returns the lower case of Unicode 17. The library may know an older one.
char32_t lower(char32_t character) {
  if (character < 0x80) return character >= U'A' && character <= U'Z' ? character + 32 : character;
  if (character >= 0x10d50 && character <= 0x10d65) return character + 0x20;
  if (character >= 0x16ea0 && character <= 0x16eb8) return character + 0x1b;
  switch (character) {
    case 0xa7cb: return 0x264;
    case 0xa7dc: return 0x19b;
    case 0x1c89:
    case 0xa7cc:
    case 0xa7ce:
    case 0xa7d2:
    case 0xa7d4:
    case 0xa7da: return character + 1;
    default: return static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(character)));
  }
}

void lowercase(Text& text) {
  constexpr char32_t dotted_i = 0x130, dot_above = 0x307;  // the only one that becomes two
  const auto is_dotted = [](const PlacedCharacter& placed) { return placed.character == dotted_i; };
  if (std::any_of(text.begin(), text.end(), is_dotted)) {
    Text split;
    for (const PlacedCharacter& placed : text) {
      split.push_back(placed);
      if (is_dotted(placed)) split.push_back({dot_above, placed.begin, placed.end});
    }
    text.swap(split);
  }
  for (PlacedCharacter& placed : text) placed.character = is_dotted(placed) ? U'i' : lower(placed.character);
}

std::vector<Normalizer::Action> bert_steps(bool clean, bool space_chinese, bool strip_accents, bool lowercase) {
  std::vector<Normalizer::Action> steps;
  if (clean) steps.push_back(Normalizer::Step::clean);
  if (space_chinese) steps.push_back(Normalizer::Step::space_chinese);
  if (strip_accents) steps.insert(steps.end(), {Normalizer::Step::decompose, Normalizer::Step::strip_nonspacing});
  if (lowercase) steps.push_back(Normalizer::Step::lowercase);
  return steps;
}

void read_steps(const json& normalizer, const std::string& where, bool rewrites,
                std::vector<Normalizer::Action>& steps) {
  using Step = Normalizer::Step;
  const std::string type = json_string(normalizer, "type", where);
  if (type == "Sequence") {
    const json& list = json_member(normalizer, "normalizers", where);
    if (!list.is_array()) fail(where, ": \"normalizers\" should be a list");
    for (const json& one : list) read_steps(one, where, rewrites, steps);
  } else if (type == "BertNormalizer") {
    const bool lowers = json_bool(normalizer, "lowercase", where, true);
    const auto more = bert_steps(json_bool(normalizer, "clean_text", where, true),
                                 json_bool(normalizer, "handle_chinese_chars", where, true),
                                 json_bool(normalizer, "strip_accents", where, lowers), lowers);
    steps.insert(steps.end(), more.begin(), more.end());
  } else if (auto rewrite = rewrites ? read_rewrite(normalizer, where) : nullptr) {
    steps.emplace_back(std::move(rewrite));
  } else {
    constexpr std::pair<const char*, Step> simple[] = {{"NFC", Step::compose},
                                                       {"NFD", Step::decompose},
                                                       {"NFKC", Step::compose_compat},
                                                       {"NFKD", Step::decompose_compat},
                                                       {"StripAccents", Step::strip_marks},
                                                       {"Lowercase", Step::lowercase}};
    const auto found =
        std::find_if(std::begin(simple), std::end(simple), [&](const auto& known) { return known.first == type; });
    if (found == std::end(simple))
      fail(where, ": the normalizer \"", type.substr(0, 60), "\" is not supported: BertNormalizer, NFC, NFD, NFKC, ",
           "NFKD, StripAccents, Lowercase and Sequence are",
           rewrites ? ", and Precompiled, Replace, Strip, Nmt and Prepend" : "");
    steps.emplace_back(found->second);
  }
}

}  // namespace

Normalizer Normalizer::bert(bool clean, bool space_chinese, bool strip_accents, bool lowercase) {
  return Normalizer(bert_steps(clean, space_chinese, strip_accents, lowercase));
}

Normalizer Normalizer::read(const json& normalizer, const std::string& where, bool rewrites) {
  std::vector<Action> steps;
  read_steps(normalizer, where, rewrites, steps);
  return Normalizer(std::move(steps));
}

nlohmann::ordered_json Normalizer::to_json() const {
  using nlohmann::ordered_json;
  constexpr std::pair<Step, const char*> simple[] = {
      {Step::compose, "NFC"},          {Step::decompose, "NFD"},      {Step::compose_compat, "NFKC"},
      {Step::decompose_compat, "NFKD"}, {Step::strip_marks, "StripAccents"}, {Step::lowercase, "Lowercase"}};
  ordered_json list = ordered_json::array();
  for (size_t i = 0; i < actions_.size();) {
    if (actions_[i].rewrite) {
      list.push_back(actions_[i++].rewrite->to_json());
      continue;
    }
    // Takes the steps of a BertNormalizer that stand here, in its order.
    size_t next = i;
    const auto take = [&](Step step) {
      const bool is_next = next < actions_.size() && actions_[next].step == step;
      next += is_next;
      return is_next;
    };
    const bool cleans = take(Step::clean), spaces = take(Step::space_chinese);
    const bool strips = next + 1 < actions_.size() && actions_[next + 1].step == Step::strip_nonspacing &&
                        take(Step::decompose) && take(Step::strip_nonspacing);
    if (cleans || spaces || strips) {
      const bool lowers = take(Step::lowercase);
      list.push_back({{"type", "BertNormalizer"},
                      {"clean_text", cleans},
                      {"handle_chinese_chars", spaces},
                      {"strip_accents", strips},
                      {"lowercase", lowers}});
      i = next;
      continue;
    }
    const auto* const found = std::find_if(std::begin(simple), std::end(simple), [&](const auto& known) {
      return known.first == actions_[i].step;
    });
    require(found != std::end(simple), "a normalizer strips accents without taking them apart");
    list.push_back({{"type", found->second}});
    ++i;
  }
  if (list.empty()) return nullptr;
  return list.size() == 1 ? list[0] : ordered_json{{"type", "Sequence"}, {"normalizers", list}};
}

Normalizer Normalizer::lowering_first() const {
  const nlohmann::ordered_json own = to_json();
  const auto lowers = [](const nlohmann::ordered_json& one) { return one.is_object() && one["type"] == "Lowercase"; };
  const bool is_sequence = own.is_object() && own["type"] == "Sequence";
  if (lowers(own) || (is_sequence && std::any_of(own["normalizers"].begin(), own["normalizers"].end(), lowers)))
    return *this;
  std::vector<Action> steps{Step::lowercase};
  steps.insert(steps.end(), actions_.begin(), actions_.end());
  return Normalizer(std::move(steps));
}

bool Normalizer::has(Step step) const {
  return std::any_of(actions_.begin(), actions_.end(), [&](const Action& action) { return action.step == step; });
}

void Normalizer::apply(Text& text) const {
  for (const auto& [step, rewrite] : actions_) {
    switch (step) {
      case Step::clean: clean(text); break;
      case Step::space_chinese: space_chinese(text); break;
      case Step::decompose: normalize(text, false, false); break;
      case Step::compose: normalize(text, true, false); break;
      case Step::decompose_compat: normalize(text, false, true); break;
      case Step::compose_compat: normalize(text, true, true); break;
      case Step::strip_nonspacing: remove_kind(text, CharacterKind::nonspacing); break;
      case Step::strip_marks: remove_kind(text, CharacterKind::mark); break;
      case Step::lowercase: lowercase(text); break;
      case Step::rewrite: rewrite->apply(text); break;
    }
  }
}

std::string Normalizer::apply(std::string_view text) const {
  Text characters;
  append_characters(text, 0, characters);
  apply(characters);
  return utf8_of(characters);
}

std::string in_lower_case(std::string_view text) {
  static const Normalizer normalizer({Normalizer::Step::lowercase});
  return normalizer.apply(text);
}

void place_changes(const std::vector<CharacterChange>& changes, Text& text) { place(changes, text); }

void append_characters(std::string_view text, int32_t first, Text& characters) {
  for (const char *place = text.data(), *end = place + text.size(); place < end; ++first)
    characters.push_back({next_character(place), first, first + 1});
}

std::string utf8_of(std::span<const PlacedCharacter> characters) {
  std::string text;
  for (const PlacedCharacter& placed : characters) append_utf8(text, placed.character);
  return text;
}

}  // namespace engine
