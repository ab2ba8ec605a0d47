// Compares a tokenizer with what the reference implementation gave for some texts.
#pragma once

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/files.h"
#include "core/json.h"
#include "tests/temporary.h"
#include "text/tokenizer.h"

namespace engine::test {

// Returns [b0, e0, b1, e1, ...].
inline std::vector<int32_t> flat(const std::vector<std::pair<int32_t, int32_t>>& offsets) {
  std::vector<int32_t> numbers;
  for (const auto& [begin, end] : offsets) numbers.insert(numbers.end(), {begin, end});
  return numbers;
}

// Checks the "cases" of a variant: texts with ids and offsets.
inline void check_cases(const Tokenizer& tokenizer, const nlohmann::json& variant, size_t least_compared) {
  size_t compared = 0;
  for (const nlohmann::json& expected : variant["cases"]) {
    const std::string text = expected["text"];
    CAPTURE(text);
    const Encoding encoding = tokenizer.encode_with_offsets(text);
    CHECK(encoding.ids == expected["ids"].get<std::vector<int32_t>>());
    CHECK(flat(encoding.offsets) == expected["offsets"].get<std::vector<int32_t>>());
    CHECK(tokenizer.encode(text) == encoding.ids);
    compared += encoding.ids.size();
  }
  CHECK(compared > least_compared);
}

// Checks the tokenizer as it is, which is the first variant, then with every variant's edits of its tokenizer.json,
// each also after it was saved.
inline void check_variants(const Tokenizer& plain, const nlohmann::json& variants, size_t least_of_plain,
                           size_t least_compared) {
  check_cases(plain, variants[0], least_of_plain);
  const TemporaryFolder folder;
  plain.save(folder.path());
  const nlohmann::json file = parse_json_file(folder.path() / "tokenizer.json");
  for (const nlohmann::json& variant : variants) {
    CAPTURE(variant["name"].get<std::string>());
    nlohmann::json edited = file;
    edited.update(variant["edits"]);
    write_file(folder.path() / "tokenizer.json", edited.dump());
    const auto tokenizer = load_tokenizer(folder.path());
    check_cases(*tokenizer, variant, least_compared);
    const TemporaryFolder copy;
    tokenizer->save(copy.path());
    check_cases(*load_tokenizer(copy.path()), variant, least_compared);
  }
}

}  // namespace engine::test
