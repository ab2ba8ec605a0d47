#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "commands/generate.h"
#include "commands/score.h"
#include "commands/tokenize.h"
#include "core/json.h"
#include "kernels/sampling/rank_ref.h"
#include "models/bart.h"
#include "tests/task_settings.h"
#include "training/loss_step.h"

namespace engine::test::test_commands {

namespace {

using nlohmann::json;

constexpr int64_t positions = 12;

// A small model of arithmetic that knows nothing, and what it runs on.
struct Untrained : OwnMachine {
  TemporaryFolder folder;
  LanguageModel language;

  Untrained() {
    set_threads(1);
    language.tokenizer = make_arithmetic_tokenizer();
    language.model = make_model({.hidden_size = 16,
                                        .num_layers = 1,
                                        .num_heads = 2,
                                        .vocab_size = language.tokenizer->vocab_size(),
                                        .max_positions = positions,
                                        .initializer_range = 0.3f});
    language.model->parameters().allocate(ops->memory(), /*with_gradients=*/false);
    language.model->parameters().initialise(5);
  }
  ~Untrained() { set_threads(0); }

  std::string write(const std::string& content) const {
    write_file(folder.path() / "lines.txt", content);
    return (folder.path() / "lines.txt").string();
  }
  std::string scored(const std::string& content) {
    std::ostringstream out;
    score_lines(machine, language, write(content), out);
    return out.str();
  }
  std::string generated(const GenerateRequest& request) {
    std::ostringstream out;
    generate_text(machine, language, request, out);
    return out.str();
  }
};

std::vector<json> lines_of(const std::string& text) {
  std::vector<json> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(json::parse(line));
  return lines;
}

// A stream that takes nothing, as a full disk.
struct Full : std::ostream {
  struct Buffer : std::streambuf {
  } buffer;
  Full() : std::ostream(&buffer) {}
};

}  // namespace

TEST_CASE("commands: tokenize gives ids and offsets of each line, in order") {
  const Untrained untrained;
  const Tokenizer& tokenizer = *untrained.language.tokenizer;
  std::ostringstream out;
  tokenize_lines(tokenizer, untrained.write("1 + 2\r\n\n<start>7"), {}, out);
  CHECK(out.str().starts_with("{\"ids\":["));
  const std::vector<json> lines = lines_of(out.str());
  REQUIRE(lines.size() == 3);
  CHECK(lines[0]["ids"] == json(tokenizer.encode("1+2")));
  CHECK(lines[0]["offsets"] == json::parse("[[0,1],[2,3],[4,5]]"));
  CHECK(lines[1] == json::parse(R"({"ids": [], "offsets": []})"));
  CHECK(lines[2]["offsets"] == json::parse("[[0,7],[7,8]]"));
  const std::string file = untrained.write("1\n2\n3\xFF\n");
  CHECK_THROWS_WITH_AS(tokenize_lines(tokenizer, file, {}, out), doctest::Contains((file + ":3: ").c_str()), Error);
  Full full;
  CHECK_THROWS_WITH_AS(tokenize_lines(tokenizer, untrained.write("1\n"), {}, full),
                       doctest::Contains("cannot be written"), Error);
}

TEST_CASE("commands: a folder or UTF-16 is no file of lines, and a byte order mark is no part of the first") {
  const Untrained untrained;
  const Tokenizer& tokenizer = *untrained.language.tokenizer;
  std::ostringstream out;
  tokenize_lines(tokenizer, untrained.write("\xEF\xBB\xBF" "1\n2\n"), {}, out);
  CHECK(lines_of(out.str())[0]["offsets"] == json::parse("[[0,1]]"));
  const std::string folder = untrained.folder.path().string();
  CHECK_THROWS_WITH_AS(tokenize_lines(tokenizer, folder, {}, out),
                       ("cannot read " + folder + ": this is a folder").c_str(), Error);
  CHECK_THROWS_WITH_AS(tokenize_lines(tokenizer, untrained.write(std::string("1\0\n\0", 4)), {}, out),
                       doctest::Contains("lines.txt: looks like UTF-16"), Error);
}

TEST_CASE("commands: tokenize writes the bytes that a JSON library writes, and the ids alone as int32") {
  const std::unique_ptr<Tokenizer> tokenizer = load_tokenizer("tests/data/gpt2");
  const Untrained untrained;
  std::string content;
  for (int i = 0; i < 5000; ++i) content += "the cat " + std::to_string(i) + " \xC3\xA9t\xC3\xA9\n";
  const std::string file = untrained.write(content);
  std::ostringstream text, bytes;
  tokenize_lines(*tokenizer, file, {}, text);
  tokenize_lines(*tokenizer, file, {.format = TokensFormat::bin}, bytes);
  std::istringstream lines(text.str());
  std::vector<int32_t> ids;
  size_t count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    const auto parsed = nlohmann::ordered_json::parse(line);
    CHECK(parsed.dump() == line);
    for (const auto& id : parsed["ids"]) ids.push_back(id);
  }
  CHECK(count == 5000);
  REQUIRE(bytes.str().size() == ids.size() * sizeof(int32_t));
  CHECK(std::memcmp(bytes.str().data(), ids.data(), bytes.str().size()) == 0);
}

TEST_CASE("commands: tokenize frames, cuts and pairs as the reference does") {
  // RoBERTa's framing, with GPT-2's vocabulary (tests/golden/make_framed_cases.py).
  const TemporaryFolder roberta, input;
  json vocabulary = parse_json_file("tests/data/gpt2/vocab.json");
  for (const char* token : {"<s>", "<pad>", "</s>", "<unk>", "<mask>"})
    vocabulary[token] = static_cast<int>(vocabulary.size());
  write_file(roberta.path() / "vocab.json", vocabulary.dump());
  std::filesystem::copy("tests/data/gpt2/merges.txt", roberta.path() / "merges.txt");
  std::map<std::string, std::unique_ptr<Tokenizer>> tokenizers;
  tokenizers["bert"] = load_tokenizer("tests/data/bert");
  tokenizers["gpt2"] = load_tokenizer("tests/data/gpt2");
  tokenizers["roberta"] = load_tokenizer(roberta.path());

  size_t compared = 0;
  const json all = parse_json_file("tests/data/tokenizer/framed_cases.json");
  for (const json& expected : all["cases"]) {
    std::string content;
    for (const json& texts : expected["texts"])
      content += texts[0].get<std::string>() + (texts.size() > 1 ? "\t" + texts[1].get<std::string>() : "") + "\n";
    const std::string name = expected["tokenizer"], file = (input.path() / "lines.txt").string();
    write_file(file, content);
    const size_t length = expected["max_length"];
    const bool pairs = expected["texts"][0].size() > 1;
    CAPTURE(name);
    CAPTURE(length);
    CAPTURE(pairs);
    std::ostringstream out;
    tokenize_lines(*tokenizers.at(name), file,
                   {.special_tokens = expected["special_tokens"],
                    .pairs = pairs,
                    .max_length = length ? length : SIZE_MAX},
                   out);
    const std::vector<json> lines = lines_of(out.str());
    REQUIRE(lines.size() == expected["lines"].size());
    for (size_t i = 0; i < lines.size(); ++i) CHECK(lines[i] == expected["lines"][i]);
    compared += lines.size();
  }
  CHECK(compared == 3 * 2 * 6 * (9 + 8));
}

TEST_CASE("commands: tokenize names the line of a pair that is none, and of special tokens that have no room") {
  const Untrained untrained;
  const Tokenizer& tokenizer = *untrained.language.tokenizer;
  std::ostringstream out;
  const std::string file = untrained.write("1\t2\n3\n");
  CHECK_THROWS_WITH_AS(tokenize_lines(tokenizer, file, {.pairs = true}, out),
                       (file + ":2: has 0 tabs: with --pairs each line is text<TAB>text").c_str(), Error);
  untrained.write("1\t2\t3\n");
  CHECK_THROWS_WITH_AS(tokenize_lines(tokenizer, file, {.pairs = true}, out),
                       doctest::Contains((file + ":1: has 2 tabs").c_str()), Error);
  const std::unique_ptr<Tokenizer> bert = load_tokenizer("tests/data/bert");
  CHECK_THROWS_WITH_AS(tokenize_lines(*bert, file, {.special_tokens = true, .max_length = 1}, out),
                       doctest::Contains((file + ":1: a length of 1 tokens has no room").c_str()), Error);
}

TEST_CASE("commands: score gives each line's log likelihood, whatever stands beside it") {
  Untrained untrained;
  // More lines than are worked on together.
  std::string content = "1+2\n\n7\n(3*4)\n";
  for (int i = 0; i < 300; ++i) content += std::to_string(i) + "+1\n";
  const std::string text = untrained.scored(content);
  CHECK(text.starts_with("{\"tokens\":3,\"log_likelihood\":-"));
  const std::vector<json> lines = lines_of(text);
  REQUIRE(lines.size() == 304);
  for (const size_t unscored : {1, 2}) {
    CHECK(lines[unscored]["tokens"] == static_cast<int>(unscored) - 1);
    CHECK(lines[unscored]["log_likelihood"] == 0);
    CHECK(lines[unscored]["perplexity"] == 1);
  }
  CHECK(lines[3]["tokens"] == 5);
  CHECK(lines[303]["tokens"] == 5);  // 299+1
  const double alone = lines_of(untrained.scored("(3*4)\n"))[0]["log_likelihood"];
  CHECK(lines[3]["log_likelihood"].get<double>() == doctest::Approx(alone));
  CHECK(lines[3]["perplexity"].get<double>() == doctest::Approx(std::exp(-alone / 4)));
  // The chain rule: what one more token adds is its own.
  CHECK(alone < lines_of(untrained.scored("(3*4\n"))[0]["log_likelihood"].get<double>());
}

TEST_CASE("commands: score gives each token's log probability and its rank among the logits") {
  Untrained untrained;
  const std::string content = "1+2\n\n(3*4)\n7\n";
  const std::vector<json> lines = lines_of(untrained.scored(content));
  REQUIRE(lines.size() == 4);
  for (const size_t unscored : {1, 3}) {
    CHECK(lines[unscored]["log_probability"].empty());
    CHECK(lines[unscored]["rank"].empty());
  }
  int others = 0;
  for (const auto& [line, text] : {std::pair{0, "1+2"}, {2, "(3*4)"}}) {
    const std::vector<int32_t> ids = untrained.language.tokenizer->encode(text);
    const json& result = lines[static_cast<size_t>(line)];
    REQUIRE(result["rank"].size() == ids.size() - 1);
    REQUIRE(result["log_probability"].size() == ids.size() - 1);
    // The logits behind each beginning of the line, one by one.
    double sum = 0;
    for (size_t end = 1; end < ids.size(); ++end) {
      const ArenaScope scope(untrained.arena);
      SequenceBatch batch{.tokens = {ids.begin(), ids.begin() + static_cast<int64_t>(end)},
                          .targets = {.labels = std::vector<int32_t>(end, -100)}};
      batch.targets.labels.back() = ids[end];
      batch.end_sequence();
      Model& model = *untrained.language.model;
      BatchUpload upload;
      const DeviceBatch all = upload.send(untrained.arena, model, batch, 0, 1);
      Pass pass(Run{.ops = *untrained.ops, .arena = untrained.arena, .compute = DType::f32, .keep = false}, all.layout);
      const auto saved = model.make_saved();
      const Tensor logits = model_logits(pass, model, all.tokens, all.outputs.index, *saved);
      const std::vector<float> row(logits.as<float>(), logits.as<float>() + logits.count());
      const int rank = reference::rank(row, static_cast<size_t>(ids[end]));
      CHECK(result["rank"][end - 1] == rank);
      others += rank > 1;
      double total = 0;
      for (const float logit : row) total += std::exp(static_cast<double>(logit));
      const double expected = static_cast<double>(row[static_cast<size_t>(ids[end])]) - std::log(total);
      CHECK(result["log_probability"][end - 1].get<double>() == doctest::Approx(expected).epsilon(1e-5));
      sum += result["log_probability"][end - 1].get<double>();
    }
    CHECK(result["log_likelihood"].get<double>() == doctest::Approx(sum));
  }
  CHECK(others > 3);
}

TEST_CASE("commands: ranks are a token's own, however many are scored together") {
  Untrained untrained;
  std::string content;
  for (int i = 0; i < 250; ++i) content += std::to_string(1000000000000 + 7919 * i) + "\n";  // 3000 scored tokens
  const std::vector<json> together = lines_of(untrained.scored(content));
  for (const size_t line : {0, 100, 249}) {
    const std::string text = content.substr(line * 14, 14);
    CHECK(together[line]["rank"].size() == 12);
    CHECK(together[line]["rank"] == lines_of(untrained.scored(text))[0]["rank"]);
  }
}

TEST_CASE("commands: a line that is too long is named; the last token needs no position") {
  Untrained untrained;
  const std::string longest(positions + 1, '1');
  CHECK(lines_of(untrained.scored(longest))[0]["tokens"] == positions + 1);
  const std::string file = untrained.write("1\n" + longest + "1\n");
  std::ostringstream out;
  CHECK_THROWS_WITH_AS(score_lines(untrained.machine, untrained.language, file, out),
                       (file + ":2: 14 tokens: the model can score 13").c_str(), Error);
  // Here <start> ends a prompt.
  const GenerateRequest request{.input_file = untrained.write("1\n2\n" + longest.substr(1) + "\n")};
  CHECK_THROWS_WITH_AS(untrained.generated(request), (file + ":3: 13 tokens: the model can go on from 12").c_str(),
                       Error);
  CHECK_THROWS_WITH_AS(score_lines(untrained.machine, untrained.language, "/no/such/file", out),
                       doctest::Contains("/no/such/file"), Error);
}

TEST_CASE("commands: generate says which seed its tokens are drawn with, or that none are drawn") {
  CHECK(seed_text({.temperature = 0.5f}, 7, false) == "tokens are drawn with --seed 7");
  CHECK(seed_text({.temperature = 0}, 7, true) == "--seed changes nothing at temperature 0: no tokens are drawn");
  CHECK(seed_text({.temperature = 0}, 7, false) == "");
}

TEST_CASE("commands: generate goes on from each line, and streams what it gives for one prompt") {
  Untrained untrained;
  const GenerationConfig generation{.max_new_tokens = 6};
  const GenerateRequest request{.input_file = untrained.write("1+2\n(3*4)\n5-6\n"), .generation = generation};
  const std::string text = untrained.generated(request);
  CHECK(text.starts_with("{\"prompt\":\"1+2\",\"text\":\""));
  const std::vector<json> lines = lines_of(text);
  REQUIRE(lines.size() == 3);
  CHECK(lines[1]["prompt"] == "(3*4)");
  for (const json& line : lines) {
    const std::string prompt = line["prompt"];
    CHECK(untrained.generated({.prompt = prompt, .generation = generation}) ==
          prompt + line["text"].get<std::string>() + "\n");
  }
  CHECK(lines[0]["text"] != lines[1]["text"]);
  CHECK_THROWS_WITH_AS(untrained.generated({.prompt = std::string(40, '1')}), doctest::Contains("41 tokens"), Error);
  Full full;
  CHECK_THROWS_AS(generate_text(untrained.machine, untrained.language, request, full), Error);
}

TEST_CASE("commands: an encoder-decoder reads the prompt with its encoder, with beams or without") {
  Untrained untrained;
  LanguageModel& language = untrained.language;
  const Tokenizer& tokenizer = *language.tokenizer;
  ModelConfig config{.architecture = "bart",
                     .hidden_size = 16,
                     .num_layers = 1,
                     .num_heads = 2,
                     .vocab_size = tokenizer.vocab_size(),
                     .max_positions = positions,
                     .initializer_range = 0.3f};
  config.own.get<BartOptions>().decoder_start_token = tokenizer.id_of("<start>").value();
  language.model = make_model(config);
  language.model->parameters().allocate(untrained.ops->memory(), /*with_gradients=*/false);
  language.model->parameters().initialise(5);
  CHECK(encode_source(tokenizer, "1+2").back() == tokenizer.end_token());
  CHECK(encode_source(tokenizer, "").size() == 1);
  const std::string file = untrained.write("1+2\n(3*4)\n\n");
  std::vector<std::vector<std::string>> found;
  for (const int beams : {1, 3}) {
    const GenerationConfig generation{.max_new_tokens = 5, .num_beams = beams, .length_penalty = 2};
    const std::vector<json> lines =
        lines_of(untrained.generated({.input_file = file, .generation = generation}));
    REQUIRE(lines.size() == 3);
    std::vector<std::string>& texts = found.emplace_back();
    for (const json& line : lines) {
      const std::string prompt = line["prompt"], text = line["text"];
      CHECK(untrained.generated({.prompt = prompt, .generation = generation}) == text + "\n");
      texts.push_back(text);
    }
    // The text is the one that the generator gives for the encoder's tokens and the decoder's first.
    GenerationOptions options{.max_new_tokens = 5, .end_tokens = {tokenizer.end_token()}, .beams = beams};
    options.length_penalty = 2;
    Generator generator(*untrained.ops, *language.model, DType::f32);
    std::vector<int32_t> source = tokenizer.encode("(3*4)");
    source.push_back(tokenizer.end_token());
    const std::vector<std::vector<int32_t>> sources{source}, starts{{tokenizer.id_of("<start>").value()}};
    CHECK(texts[1] == tokenizer.decode(generator.generate(starts, sources, options)[0], true));
  }
  CHECK(found[0] != found[1]);
  CHECK_THROWS_WITH_AS(untrained.generated({.prompt = std::string(positions, '1')}),
                       doctest::Contains("13 tokens: the model can read 12"), Error);
  std::ostringstream out;
  CHECK_THROWS_WITH_AS(score_lines(untrained.machine, language, file, out),
                       doctest::Contains("an encoder-decoder needs a source"), UsageError);
}

TEST_CASE("commands: beams are for encoder-decoders that draw nothing") {
  Untrained untrained;
  const std::string file = untrained.write("1+2\n");
  CHECK_THROWS_WITH_AS(untrained.generated({.input_file = file, .generation = {.num_beams = 2}}),
                       doctest::Contains("this model is a decoder alone"), UsageError);
}

TEST_CASE("commands: a folder of tokenizer files alone is one to tokenize with, and one without says so") {
  const Untrained untrained;
  untrained.language.tokenizer->save(untrained.folder.path());
  CHECK(open_tokenizer(untrained.folder.path())->encode("1+2") == untrained.language.tokenizer->encode("1+2"));
  const TemporaryFolder empty;
  CHECK_THROWS_WITH_AS(open_tokenizer(empty.path()), doctest::Contains("neither a run folder"), Error);
}

TEST_CASE("commands: the split chooses the data that is evaluated on") {
  Config config;
  config.task = "gpt";
  config.data.train = {"a"};
  config.data.eval = {"b"};
  choose_split(config, "eval");
  CHECK(config.data.eval == std::vector<std::string>{"b"});
  CHECK_THROWS_WITH_AS(choose_split(config, "test"), doctest::Contains("data.test names no file"), UsageError);
  config.data.test = {"c"};
  choose_split(config, "test");
  CHECK(config.data.eval == std::vector<std::string>{"c"});
  choose_split(config, "train");
  CHECK(config.data.eval == std::vector<std::string>{"a"});
  CHECK_THROWS_AS(choose_split(config, "all"), UsageError);
  config.task = "scratchpad";
  choose_split(config, "eval");
  CHECK_THROWS_WITH_AS(choose_split(config, "train"), doctest::Contains("makes its own"), UsageError);
}

}  // namespace engine::test::test_commands
