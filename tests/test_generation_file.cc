// A folder's generation_config.json, as generate takes it.
#include "commands/generation_file.h"

#include <doctest/doctest.h>

#include "core/error.h"
#include "core/files.h"
#include "tests/temporary.h"

namespace engine::test::test_generation_file {

namespace {

struct Folder : TemporaryFolder {
  GenerationConfig read(const std::string& text, bool is_encoder_decoder = true,
                        const std::vector<std::pair<std::string, std::string>>& given = {},
                        const std::vector<std::string>& ignored = {}, const char* file = "generation_config.json") {
    write_file(path() / file, text);
    Config config;
    Options options;
    config.declare(options);
    for (const auto& [name, value] : given) options.set(name, value, "--" + name);
    take_generation_file(path(), is_encoder_decoder, options, ignored, config.generation);
    return config.generation;
  }
};

}  // namespace

TEST_CASE("generation file: sampling, beams and lengths are obeyed as transformers obeys them") {
  Folder folder;
  CHECK(folder.read("{}").temperature == 0);
  // Without do_sample the likeliest token is taken, whatever the temperature says.
  CHECK(folder.read(R"({"temperature": 0.7, "top_p": 0.5})").temperature == 0);
  const GenerationConfig sampled = folder.read(R"({"do_sample": true, "temperature": 0.75, "top_p": 0.5})");
  CHECK(sampled.temperature == 0.75f);
  CHECK(sampled.top_k == 50);
  CHECK(sampled.top_p == 0.5f);
  CHECK(folder.read(R"({"do_sample": true, "top_k": 0})").top_k == 0);
  CHECK(folder.read(R"({"do_sample": true})").temperature == 1);
  const GenerationConfig beams =
      folder.read(R"({"num_beams": 4, "length_penalty": 2.0, "early_stopping": true, "max_length": 142})");
  CHECK(beams.num_beams == 4);
  CHECK(beams.length_penalty == 2);
  CHECK(beams.early_stopping);
  CHECK(beams.max_new_tokens == 141);
  CHECK(folder.read(R"({"max_length": 10, "max_new_tokens": 7})").max_new_tokens == 7);
  // A flag wins.
  const GenerationConfig given = folder.read(
      R"({"do_sample": true, "num_beams": 4, "max_new_tokens": 7})", true,
      {{"generation.temperature", "0"}, {"generation.num_beams", "2"}, {"generation.max_new_tokens", "9"}});
  CHECK(given.temperature == 0);
  CHECK(given.num_beams == 2);
  CHECK(given.max_new_tokens == 9);
}

TEST_CASE("generation file: without one the same keys of config.json count") {
  const std::string text = R"({"model_type": "bart", "num_beams": 4, "early_stopping": true})";
  Folder folder;
  CHECK(folder.read(text, true, {}, {}, "config.json").num_beams == 4);
  CHECK(folder.read(text, true, {}, {}, "config.json").early_stopping);
  CHECK_THROWS_WITH_AS(folder.read(R"({"no_repeat_ngram_size": 3})", true, {}, {}, "config.json"),
                       doctest::Contains("/config.json: \"no_repeat_ngram_size\" is 3, which is not obeyed"), Error);
  CHECK(folder.read("{}").num_beams == 1);  // generation_config.json alone counts
}

TEST_CASE("generation file: what is not obeyed is refused by name") {
  Folder folder;
  for (const std::string text :
       {R"({"repetition_penalty": 1.3})", R"({"no_repeat_ngram_size": 3})", R"({"min_length": 5})",
        R"({"bad_words_ids": [[3]]})", R"({"early_stopping": "never", "num_beams": 2})",
        R"({"num_return_sequences": 2})", R"({"do_sample": true, "min_p": 0.1})",
        R"({"do_sample": true, "num_beams": 2})", R"({"do_sample": true, "temperature": 0})"}) {
    CAPTURE(text);
    CHECK_THROWS_AS(folder.read(text), UsageError);
  }
  CHECK_THROWS_WITH_AS(folder.read(R"({"max_length": 20})", false), doctest::Contains("\"max_length\""), UsageError);
  CHECK(folder.read(R"({"max_length": 20})", false, {{"generation.max_new_tokens", "9"}}).max_new_tokens == 9);
  const std::string both = R"({"no_repeat_ngram_size": 3, "min_length": 56, "num_beams": 4})";
  CHECK_THROWS_WITH_AS(folder.read(both, true, {}, {"min_length"}), doctest::Contains("--ignore no_repeat_ngram_size"),
                       UsageError);
  CHECK(folder.read(both, true, {}, {"min_length", "no_repeat_ngram_size"}).num_beams == 4);
  CHECK_THROWS_WITH_AS(folder.read("{}", true, {}, {"min_length"}), doctest::Contains("no such key"), UsageError);
  // These change nothing.
  folder.read(R"({"repetition_penalty": 1, "no_repeat_ngram_size": 0, "min_length": 0, "bad_words_ids": null,
                  "suppress_tokens": [], "min_p": 0.1, "use_cache": true, "transformers_version": "5.0.0"})");
}

}  // namespace engine::test::test_generation_file
