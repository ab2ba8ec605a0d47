// UTF-8 against the definition of well-formed byte sequences, and the classes that words are split by.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "core/error.h"
#include "core/random.h"
#include "text/gpt2_words.h"
#include "text/unicode.h"

namespace engine::test::test_unicode {

namespace {

std::vector<std::string> words(const std::string& text) {
  std::vector<std::string> result;
  for (const char *place = text.data(), *end = place + text.size(); place < end;) {
    const char* const word_end = gpt2_word_end(place, end);
    result.emplace_back(place, word_end);
    place = word_end;
  }
  return result;
}

using Words = std::vector<std::string>;

}  // namespace

TEST_CASE("unicode: a file's text is without a byte order mark, and UTF-16 is refused") {
  CHECK(text_of_file("\xEF\xBB\xBF" "a\n", "f") == "a\n");
  for (const char* text : {"", "a", "a\n\n", "caf\xC3\xA9", "\xC3\xA9"}) CHECK(text_of_file(text, "f") == text);
  using namespace std::string_view_literals;
  for (const std::string_view bytes : {"\xFF\xFE" "a\0"sv, "\xFE\xFF\0a"sv, "a\0b\0"sv, "\0a"sv})
    CHECK_THROWS_WITH_AS(text_of_file(bytes, "f"), doctest::Contains("f: looks like UTF-16, it should be"), Error);
  for (const std::string_view text : {"a\0b c"sv, "\0abc"sv, "ab\0"sv, "a\0\0b"sv, "\0\0\0"sv, "\0"sv})
    CHECK(text_of_file(text, "f") == text);
}

TEST_CASE("unicode: every character is written and read back") {
  for (char32_t character = 0; character < 0x110000; ++character) {
    if (character >= 0xd800 && character < 0xe000) continue;
    std::string text;
    append_utf8(text, character);
    const char* place = text.data();
    const char* back = place + text.size();
    const bool same = find_invalid_utf8(text) == text.size() && next_character(place) == character &&
                      place == text.data() + text.size() && previous_character(back) == character &&
                      back == text.data();
    if (!same) FAIL_CHECK("U+", static_cast<unsigned>(character));
  }
}

TEST_CASE("unicode: bad UTF-8 is found where it begins, and repaired by maximal pieces") {
  const struct {
    std::string bad, repaired;
  } cases[] = {{"\x80", "?"},         {"\xc0\xaf", "??"},          {"\xc1\xbf", "??"},      {"\xe0\x80\xaf", "???"},
               {"\xe0\x9f\xbf", "???"}, {"\xf0\x8f\xbf\xbf", "????"}, {"\xed\xa0\x80", "???"}, {"\xed\xbf\xbf", "???"},
               {"\xf4\x90\x80\x80", "????"}, {"\xf5", "?"},             {"\xff\xfe", "??"},      {"\xe2\x82", "?"},
               {"\xf0\x9f\x98", "?"},   {"\xc3", "?"},               {"\xe2\x28\xa1", "?(?"}};
  for (const auto& [bad, repaired] : cases) {
    for (const std::string& before : {std::string(), std::string("abcdefghij"), std::string("\xc3\xa9")}) {
      const std::string text = before + bad;
      CHECK(find_invalid_utf8(text) == before.size());
      std::string expected = before;
      for (const char c : repaired) expected += c == '?' ? std::string("\xef\xbf\xbd") : std::string(1, c);
      CHECK(repair_utf8(text) == expected);
    }
  }
  CHECK_THROWS_WITH_AS(require_utf8("ab\xff"), "the text is not valid UTF-8: byte 0xff at byte 2 begins no character",
                       Error);
}

TEST_CASE("unicode: any bytes are repaired to valid text") {
  Random random(5, 0);
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (int i = 0; i < 40; ++i)
      text += static_cast<char>(random.below(4) ? 0x80 + random.below(128) : random.below(256));
    const std::string repaired = repair_utf8(text);
    CHECK(find_invalid_utf8(repaired) == repaired.size());
  }
}

TEST_CASE("unicode: classes of characters") {
  for (const char32_t c : {U'a', U'Z', U'é', U'я', U'ह', U'中', U'ʰ', U'ª', char32_t{0x1d400}, char32_t{0x1c89}})
    CHECK(class_of(c) == CharacterClass::letter);
  for (const char32_t c : {U'0', U'٣', U'½', U'Ⅷ', U'²', U'〇', char32_t{0x1d7d8}, char32_t{0x1e5f1}})
    CHECK(class_of(c) == CharacterClass::number);
  for (const char32_t c : {U' ', U'\t', U'\n', U'\v', U'\f', U'\r', char32_t{0x85}, char32_t{0xa0}, char32_t{0x1680},
                           char32_t{0x2003}, char32_t{0x2028}, char32_t{0x2029}, char32_t{0x202f}, char32_t{0x205f},
                           char32_t{0x3000}})
    CHECK(class_of(c) == CharacterClass::space);
  for (const char32_t c : {U'_', U'-', U'\0', char32_t{0x1c}, char32_t{0x301}, char32_t{0x200b}, char32_t{0xfeff},
                           char32_t{0x180e}, char32_t{0x1f600}, char32_t{0x10ffff}, char32_t{0xe000}, char32_t{0x378}})
    CHECK(class_of(c) == CharacterClass::other);
}

TEST_CASE("unicode: GPT-2's words") {
  CHECK(words("Hello  world's \n end ") == Words{"Hello", " ", " world", "'s", " \n", " end", " "});
  CHECK(words("I'll 'll I'LL x''s") == Words{"I", "'ll", " '", "ll", " I", "'", "LL", " x", "''", "s"});
  CHECK(words("a1 b2  3c\n\n4") == Words{"a", "1", " b", "2", " ", " 3", "c", "\n", "\n", "4"});
  CHECK(words("   ") == Words{"   "});
  CHECK(words("  \tx") == Words{"  ", "\t", "x"});
  CHECK(words("x\u00a0\u00a0y") == Words{"x", "\u00a0", "\u00a0", "y"});
  CHECK(words("'") == Words{"'"});
  CHECK(words("'r") == Words{"'", "r"});
}

}  // namespace engine::test::test_unicode
