// Runs the targets of tests/fuzz without a fuzzer: over their corpora, cut, and changed at random.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <set>

#include "core/files.h"
#include "core/random.h"
#include "tests/fuzz/targets.h"

namespace engine::test::test_fuzz_corpus {

namespace fs = std::filesystem;
using fuzz::Target;

namespace {

std::vector<std::string> corpus_of(const Target& target) {
  std::vector<fs::path> files = entries_of(fs::path("tests/fuzz/corpus") / target.name);
  std::sort(files.begin(), files.end());
  std::vector<std::string> inputs;
  for (const fs::path& file : files) inputs.push_back(read_text(file));
  return inputs;
}

// Returns what is wrong with how a target takes an input, or nothing.
std::string finding_of(const Target& target, const std::string& input) {
  try {
    fuzz::run_target(target, input);
  } catch (const std::exception& finding) {
    return std::string(target.name) + ": " + finding.what() + "\n" + input;
  }
  return "";
}

// Changes, removes, repeats or moves some bytes, or takes some of another input.
std::string changed(std::string text, const std::string& other, Random& random) {
  const uint32_t changes = 1 + random.below(4);
  for (uint32_t i = 0; i < changes && !text.empty(); ++i) {
    const uint32_t at = random.below(static_cast<uint32_t>(text.size()));
    const size_t count = 1 + random.below(8);
    switch (random.below(6)) {
      case 0: text[at] = static_cast<char>(random.below(256)); break;
      case 1: text.erase(at, count); break;
      case 2: text.insert(at, text.substr(at, 4 * count)); break;
      case 3: text.insert(at, 1, "\"{}[],:\n\t0-9.eE\\'=#"[random.below(19)]); break;
      case 4: text[at] = static_cast<char>(text[at] ^ 1 << random.below(8)); break;
      default:
        if (other.empty()) break;
        text.replace(at, count, other.substr(random.below(static_cast<uint32_t>(other.size())), 16));
    }
  }
  return text;
}

}  // namespace

TEST_CASE("fuzz: each target has a corpus, and no corpus lacks a target") {
  std::set<std::string> names;
  for (const Target& target : fuzz::targets()) {
    CHECK(names.insert(target.name).second);
    CHECK_FALSE(corpus_of(target).empty());
  }
  for (const fs::path& folder : entries_of("tests/fuzz/corpus")) CHECK(names.count(folder.filename().string()) == 1);
}

TEST_CASE("fuzz: at least one input of each corpus is taken without an error") {
  for (const Target& target : fuzz::targets()) {
    INFO(std::string(target.name));
    const std::vector<std::string> inputs = corpus_of(target);
    const auto is_taken = [&](const std::string& input) {
      try {
        target.run(input);
        return true;
      } catch (const Error& error) {
        MESSAGE(std::string(target.name), ": ", std::string(error.what()));
        return false;
      }
    };
    CHECK(std::count_if(inputs.begin(), inputs.end(), is_taken) > 0);
  }
}

TEST_CASE("fuzz: inputs, cut and changed at random, are taken or refused") {
  const char* const wanted = std::getenv("ENGINE_TEST_FUZZ");
  const int changes = wanted ? std::atoi(wanted) : 40;
  for (const Target& target : fuzz::targets()) {
    INFO(std::string(target.name));
    const std::vector<std::string> inputs = corpus_of(target);
    Random random(1, 7);
    int findings = 0;
    const auto check = [&](const std::string& input) {
      const std::string finding = finding_of(target, input);
      if (!finding.empty() && ++findings <= 3) FAIL_CHECK(finding);
    };
    for (const std::string& input : inputs) {
      check(input);
      const size_t step = 1 + input.size() / 60;
      for (size_t length = 0; length < input.size(); length += step) check(input.substr(0, length));
      for (int i = 0; i < changes; ++i)
        check(changed(input, inputs[random.below(static_cast<uint32_t>(inputs.size()))], random));
    }
  }
}

}  // namespace engine::test::test_fuzz_corpus
