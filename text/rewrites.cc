#include "text/rewrites.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"
#include "text/base64.h"
#include "text/replace_pattern.h"
#include "text/unicode.h"

namespace engine {

using nlohmann::json;
using nlohmann::ordered_json;

namespace {

using Text = std::vector<PlacedCharacter>;

class Replace final : public Rewrite {
 public:
  Replace(ReplacePattern pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)), characters_(characters_of(content_)) {}

  // A replacement has the place of the match's last character.
  void apply(Text& text) const override {
    Text result;
    size_t kept = 0;
    for (size_t i = 0; i < text.size();) {
      const size_t length = pattern_.match_at(text, i);
      if (length == 0) {
        ++i;
        continue;
      }
      result.insert(result.end(), text.begin() + static_cast<std::ptrdiff_t>(kept),
                    text.begin() + static_cast<std::ptrdiff_t>(i));
      const PlacedCharacter& last = text[i + length - 1];
      for (const char32_t character : characters_) result.push_back({character, last.begin, last.end});
      kept = i += length;
    }
    if (kept == 0) return;
    result.insert(result.end(), text.begin() + static_cast<std::ptrdiff_t>(kept), text.end());
    text.swap(result);
  }

  ordered_json to_json() const override {
    return {{"type", "Replace"},
            {"pattern", {{pattern_.is_regex() ? "Regex" : "String", pattern_.text()}}},
            {"content", content_}};
  }

  Reach reach() const override {
    const bool writes_spaces = std::any_of(characters_.begin(), characters_.end(), is_space);
    if (pattern_.collapses_spaces() && content_ == " ") return Reach::collapses_spaces;
    if (pattern_.is_regex() || pattern_.may_match_space()) return Reach::far;
    return writes_spaces ? Reach::makes_spaces : Reach::local;
  }

 private:
  ReplacePattern pattern_;
  std::string content_;
  std::u32string characters_;
};

class Strip final : public Rewrite {
 public:
  Strip(bool left, bool right) : left_(left), right_(right) {}
  void apply(Text& text) const override {
    const auto is_text = [](const PlacedCharacter& placed) { return !is_space(placed.character); };
    if (left_) text.erase(text.begin(), std::find_if(text.begin(), text.end(), is_text));
    if (right_) text.erase(std::find_if(text.rbegin(), text.rend(), is_text).base(), text.end());
  }
  ordered_json to_json() const override {
    return {{"type", "Strip"}, {"strip_left", left_}, {"strip_right", right_}};
  }
  Reach reach() const override { return Reach::far; }

 private:
  bool left_, right_;
};

// Drops control characters, and makes spaces of some others, as the tools of neural machine translation did.
class Nmt final : public Rewrite {
 public:
  void apply(Text& text) const override {
    std::erase_if(text, [](const PlacedCharacter& placed) {
      const char32_t character = placed.character;
      return (character >= 1 && character <= 8) || character == 0xb || (character >= 0xe && character <= 0x1f) ||
             character == 0x7f || character == 0x8f || character == 0x9f;
    });
    constexpr char32_t spaces[] = {0x9, 0xa, 0xc, 0xd, 0x1680, 0x2028, 0x2029, 0x2581, 0xfeff, 0xfffd};
    for (PlacedCharacter& placed : text) {
      const bool is_joiner = placed.character >= 0x200b && placed.character <= 0x200f;
      if (is_joiner || std::find(std::begin(spaces), std::end(spaces), placed.character) != std::end(spaces))
        placed.character = U' ';
    }
  }
  ordered_json to_json() const override { return {{"type", "Nmt"}}; }
  Reach reach() const override { return Reach::makes_spaces; }
};

class Prepend final : public Rewrite {
 public:
  explicit Prepend(std::string content) : content_(std::move(content)), characters_(characters_of(content_)) {}
  void apply(Text& text) const override {
    if (text.empty()) return;
    Text front;
    for (const char32_t character : characters_) front.push_back({character, text[0].begin, text[0].end});
    text.insert(text.begin(), front.begin(), front.end());
  }
  ordered_json to_json() const override { return {{"type", "Prepend"}, {"prepend", content_}}; }
  Reach reach() const override { return Reach::far; }

 private:
  std::string content_;
  std::u32string characters_;
};

std::shared_ptr<const Rewrite> read_replace(const json& normalizer, const std::string& where) {
  const json& pattern = json_member(normalizer, "pattern", where);
  const bool is_regex = json_has(pattern, "Regex", where);
  const std::string text = json_string(pattern, is_regex ? "Regex" : "String", where);
  const std::string content = json_string(normalizer, "content", where);
  // The content of a regular expression's replacement may name groups.
  if (is_regex && content.find('$') != std::string::npos)
    fail(where, ": the normalizer Replace puts in groups (\"", content.substr(0, 60), "\"), which is not supported");
  return std::make_shared<Replace>(is_regex ? ReplacePattern::regex(text, where) : ReplacePattern::string(text, where),
                                   content);
}

}  // namespace

std::shared_ptr<const Rewrite> read_rewrite(const json& normalizer, const std::string& where) {
  const std::string type = json_string(normalizer, "type", where);
  if (type == "Precompiled") {
    const auto bytes = bytes_of_base64(json_string(normalizer, "precompiled_charsmap", where));
    if (!bytes) fail(where, ": \"precompiled_charsmap\" of the normalizer is no base64");
    return make_charsmap(*bytes, where);
  }
  if (type == "Replace") return read_replace(normalizer, where);
  if (type == "Strip")
    return std::make_shared<Strip>(json_bool(normalizer, "strip_left", where),
                                   json_bool(normalizer, "strip_right", where));
  if (type == "Nmt") return std::make_shared<Nmt>();
  if (type == "Prepend") return std::make_shared<Prepend>(json_string(normalizer, "prepend", where));
  return nullptr;
}

std::shared_ptr<const Rewrite> make_replace(std::string_view from, std::string_view to) {
  return std::make_shared<Replace>(ReplacePattern::string(std::string(from), "Replace"), std::string(to));
}

std::shared_ptr<const Rewrite> make_space_collapse() {
  return std::make_shared<Replace>(ReplacePattern::regex(" {2,}", "Replace"), " ");
}

bool is_local(const Normalizer& normalizer, bool drops_spaces) {
  bool may_have_made_spaces = false;
  for (const auto& [step, rewrite] : normalizer.actions()) {
    const bool lowers = step == Normalizer::Step::lowercase;
    const Rewrite::Reach reach = rewrite  ? rewrite->reach()
                                 : lowers ? Rewrite::Reach::local
                                          : Rewrite::Reach::makes_spaces;
    if (reach == Rewrite::Reach::far) return false;
    if (reach == Rewrite::Reach::collapses_spaces && may_have_made_spaces && !drops_spaces) return false;
    may_have_made_spaces = may_have_made_spaces || reach == Rewrite::Reach::makes_spaces;
  }
  return true;
}

}  // namespace engine
