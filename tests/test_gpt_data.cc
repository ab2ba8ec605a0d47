#include <doctest/doctest.h>

#include <algorithm>
#include <set>

#include "tasks/documents.h"
#include "tasks/gpt/gpt.h"
#include "tasks/gpt/permutation.h"
#include "tests/task_settings.h"

namespace engine::test::test_gpt_data {

namespace {

const std::string tiny = R"(
task = "gpt"
[data]
block_size = 8
shuffle = false
tokenizer = "characters"
[model]
hidden_size = 16
num_layers = 1
num_heads = 2
max_positions = 32
[training]
batch_size = 3
[generation]
max_new_tokens = 12
)";

std::string repeated(const std::string& text, size_t times) {
  std::string all;
  for (size_t i = 0; i < times; ++i) all += text;
  return all;
}

// The tokens of a corpus as one row: of its documents, each with its end token.
std::vector<int32_t> row_of(const Tokenizer& tokenizer, const std::vector<std::string>& documents) {
  std::vector<int32_t> row;
  for (const std::string& document : documents) {
    tokenizer.encode(document, row);
    row.push_back(tokenizer.end_token());
  }
  return row;
}

std::vector<int32_t> slice(const std::vector<int32_t>& row, int64_t begin, int64_t count) {
  return {row.begin() + begin, row.begin() + begin + count};
}

// A byte-level BPE whose texts begin with a space. It knows <x>, which takes the white space before it, and <y>, which
// takes that behind it.
const char prefixing[] = R"({"added_tokens": [
  {"id": 13, "content": "<x>", "special": false, "lstrip": true, "rstrip": false, "single_word": false,
   "normalized": false},
  {"id": 14, "content": "<y>", "special": false, "lstrip": false, "rstrip": true, "single_word": false,
   "normalized": false}],
  "normalizer": null, "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": true}, "post_processor": null,
  "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "c": 2, "Ġ": 3, "Ċ": 4, "ab": 5, "Ġab": 6, "Ġa": 7, ".": 8,
  "'": 9, "s": 10, "'s": 11, "ĊĊ": 12}, "merges": ["a b", "Ġ ab", "Ġ a", "' s", "Ċ Ċ"]}})";

}  // namespace

TEST_CASE("gpt data: block k covers the tokens kB ... kB+B, files in order, each a document") {
  TaskSettings settings(tiny);
  const std::string a = repeated("abcdefg ", 7), b = "Ünï " + repeated("hijk\n", 5);  // 56 + 1 and 29 + 1 tokens
  settings.config.data.train = {settings.write("a.txt", a), settings.write("b.txt", b)};
  const auto task = settings.task();
  const auto row = row_of(causal(*task).tokenizer(), {a, b});
  REQUIRE(row.size() == 87);
  // 10 whole blocks of 8 and the token after them: steps of 3, 3, 3 and 1 blocks.
  CHECK(task->steps_per_epoch() == 4);
  SequenceBatch batch;
  for (int64_t step = 0; step < 8; ++step) {  // two epochs
    task->batch_of(step, batch);
    const int64_t first = step % 4 * 3, count = std::min<int64_t>(3, 10 - first);
    REQUIRE(batch.sequences() == count);
    CHECK(batch.tokens == slice(row, first * 8, count * 8));
    CHECK(batch.targets.labels == slice(row, first * 8 + 1, count * 8));
    for (int64_t s = 0; s <= count; ++s) CHECK(batch.offsets[static_cast<size_t>(s)] == s * 8);
  }
}

TEST_CASE("gpt data: shuffled, every epoch has each block once, in an order of its own") {
  TaskSettings settings(tiny);
  settings.config.data.shuffle = true;
  std::string text;  // each block begins with its own characters
  for (char c = 'A'; c <= 'Z'; ++c) text += c + std::string(7, '.');
  settings.config.data.train = {settings.write("a.txt", text)};
  const auto task = settings.task();
  const int64_t steps = task->steps_per_epoch();
  CHECK(steps == 9);
  std::set<std::vector<int32_t>> orders;
  SequenceBatch batch;
  for (int64_t epoch = 0; epoch < 3; ++epoch) {
    std::vector<int32_t> order;
    for (int64_t step = 0; step < steps; ++step) {
      task->batch_of(epoch * steps + step, batch);
      for (int64_t s = 0; s < batch.sequences(); ++s) order.push_back(batch.tokens[static_cast<size_t>(s * 8)]);
    }
    CHECK(order.size() == 26);
    CHECK(std::set<int32_t>(order.begin(), order.end()).size() == 26);
    orders.insert(order);
  }
  CHECK(orders.size() == 3);
}

TEST_CASE("gpt data: the permutation is one, for every count") {
  for (int64_t count : {1, 2, 3, 4, 5, 16, 17, 63, 64, 65, 1000, 4097})
    for (uint64_t epoch : {0, 1}) {
      std::set<int64_t> places;
      for (int64_t i = 0; i < count; ++i) places.insert(permuted(i, count, 9, epoch));
      CHECK(places.size() == static_cast<size_t>(count));
      CHECK(*places.begin() == 0);
      CHECK(*places.rbegin() == count - 1);
    }
}

TEST_CASE("gpt data: .jsonl holds a document a line") {
  TaskSettings settings(tiny);
  const std::string first = repeated("first\n", 4), second = "zw\u00e9i";
  settings.config.data.train = {settings.write(
      "a.jsonl", "{\"id\": 1, \"text\": \"" + repeated("first\\n", 4) + "\"}\r\n\n{\"text\": \"zw\\u00e9i\"}")};
  const auto task = settings.task();
  SequenceBatch batch;
  task->batch_of(0, batch);
  const auto row = row_of(causal(*task).tokenizer(), {first, second});
  CHECK(batch.tokens == slice(row, 0, 24));
  CHECK(row.size() == 24 + 1 + 4 + 1);
}

TEST_CASE("gpt data: samples need a beginning before a training begins") {
  const auto task = [](const std::string& own) {
    TaskSettings settings(tiny + own);
    settings.write("vocab.json", R"({"a": 0, "b": 1, "c": 2})");
    settings.write("merges.txt", "#version: 0.2\n");
    settings.config.data.tokenizer = settings.folder.path().string();
    settings.config.data.train = {settings.write("a.txt", repeated("abc", 40))};
    settings.task();
  };
  CHECK_THROWS_WITH_AS(task(""),
                       "gpt.sample_prompt is empty, and the vocabulary has no token that begins or ends a document: "
                       "give some text, or set gpt.samples = 0",
                       Error);
  task("[gpt]\nsample_prompt = \"ab\"\n");
  task("[gpt]\nsamples = 0\n");
}

TEST_CASE("gpt data: evaluation scores every token but the first once") {
  TaskSettings settings(tiny + "[gpt]\nsamples = 1\nsample_prompt = \"ab\"\n");
  const std::string text = repeated("abcdefg ", 4) + "abcd";  // 36 + 1 tokens: 4 blocks of 8, and 4 labels more
  settings.config.data.train = settings.config.data.eval = {settings.write("a.txt", text)};
  const auto task = settings.task();
  std::string samples;
  const Metrics metrics = task->evaluate(settings.machine, samples);
  const auto row = row_of(causal(*task).tokenizer(), {text});
  double sum = 0;
  for (int64_t begin = 0; begin < 36; begin += 8) {
    const int64_t count = std::min<int64_t>(8, 36 - begin);
    const std::vector<std::vector<int32_t>> sequence{slice(row, begin, count + 1)};
    sum -= score(settings.machine, causal(*task).model(), sequence)[0].log_likelihood;
  }
  CHECK(metric(metrics, "loss") == doctest::Approx(sum / 36).epsilon(1e-5));
  CHECK(metric(metrics, "perplexity") == doctest::Approx(std::exp(sum / 36)).epsilon(1e-5));
  CHECK(samples.starts_with("--- sample 1 ---\nab"));
}

TEST_CASE("gpt data: a share of the training tokens is kept for evaluation") {
  TaskSettings settings(tiny + "[gpt]\neval_share = 0.25\nsamples = 0\n");
  const std::string text = repeated("abcdefgh", 7) + "uvw";  // 59 + 1 tokens: 45 to train on, 15 to evaluate on
  settings.config.data.train = {settings.write("a.txt", text)};
  const auto task = settings.task();
  const auto row = row_of(causal(*task).tokenizer(), {text});
  CHECK(task->steps_per_epoch() == 2);  // 5 blocks
  SequenceBatch batch;
  task->batch_of(1, batch);
  CHECK(batch.targets.labels == slice(row, 25, 16));
  std::string samples;
  const double loss = metric(task->evaluate(settings.machine, samples), "loss");
  double sum = 0;
  for (const auto& [begin, count] : {std::pair<int64_t, int64_t>{45, 8}, {53, 6}}) {
    const std::vector<std::vector<int32_t>> sequence{slice(row, begin, count + 1)};
    sum -= score(settings.machine, causal(*task).model(), sequence)[0].log_likelihood;
  }
  CHECK(loss == doctest::Approx(sum / 14).epsilon(1e-5));
  CHECK(samples.empty());
}

TEST_CASE("gpt data: the token file is used again while its sources stay, else made anew") {
  TaskSettings settings(tiny);
  const std::string source = settings.write("a.txt", repeated("abcdefg ", 6));
  settings.config.data.train = {source};
  const std::filesystem::path cache = settings.folder.path() / "run" / "cache" / "train.tokens";
  const auto made_at = [&] { return std::filesystem::last_write_time(cache); };
  settings.task();
  const auto first = made_at();
  settings.task();
  CHECK(made_at() == first);
  // Damage: too short, or with another end.
  std::string content = read_text(cache);
  const std::string whole = content;
  write_file(cache, std::string_view(content).substr(0, content.size() - 5));
  settings.task();
  CHECK(read_text(cache) == whole);
  // Another text of the same size and name.
  std::filesystem::last_write_time(source, std::filesystem::file_time_type::clock::now() - std::chrono::hours(1));
  settings.task();
  CHECK(read_text(cache) != whole);
  // Another tokenizer: a new character gives every one behind it another id.
  settings.write("a.txt", "Z" + repeated("abcdefg ", 6));
  settings.config.model.vocab_size = 0;
  const auto task = settings.task();
  SequenceBatch batch;
  task->batch_of(0, batch);
  CHECK(batch.tokens == slice(row_of(causal(*task).tokenizer(), {"Z" + repeated("abcdefg ", 6)}), 0, 24));
  // An id that the vocabulary does not have.
  content = read_text(cache);
  content[0] = '\xff';
  content[1] = '\x7f';
  write_file(cache, content);
  CHECK_THROWS_WITH_AS(settings.task()->batch_of(0, batch), doctest::Contains("remove the file"), Error);
}

TEST_CASE("gpt data: long files in pieces give the tokens of the whole") {
  TaskSettings settings(tiny);
  std::string text;
  Random random(4, 4);
  while (text.size() < 3u << 20) {
    text += std::string(1 + random.below(60), static_cast<char>('a' + random.below(26)));
    text += random.below(8) ? "\n" : " \n\n \n";
  }
  const std::string file = settings.write("long.txt", text);
  std::string together;
  size_t pieces = 0, ends = 0;
  for_each_piece({file}, [&](const DocumentPiece& piece) {
    CHECK(piece.begins == together.empty());
    CHECK(piece.line == static_cast<size_t>(std::count(together.begin(), together.end(), '\n')) + 1);
    together += piece.text;
    ++pieces;
    ends += piece.ends;
    CHECK(piece.text.front() > ' ');
  });
  CHECK(together == text);
  CHECK(pieces == 3);
  CHECK(ends == 1);
}

TEST_CASE("gpt data: the cut into pieces does not change a token, whatever the tokenizer takes of its surroundings") {
  const TemporaryFolder folder;
  write_file(folder.path() / "tokenizer.json", prefixing);
  const auto tokenizer = load_tokenizer(folder.path());
  CHECK(tokenizer->encode("ab") == std::vector<int32_t>{6});
  const std::string file = (folder.path() / "text.txt").string();
  const std::vector<std::string> parts{"ab", "a", "c.", "'s", "<x>", "<y>", " ", "\n", "\n", "\n"};
  Random random(7, 7);
  for (int round = 0; round < 50; ++round) {
    std::string text;
    for (int i = 0; i < 200; ++i) text += parts[random.below(static_cast<uint32_t>(parts.size()))];
    write_file(file, text);
    const std::vector<int32_t> expected = tokenizer->encode(text);
    for (const size_t piece_bytes : {0, 1, 16, 100}) {
      std::vector<int32_t> ids;
      int pieces = 0;
      encode_documents({file}, *tokenizer, [&](std::span<const int32_t> of_piece) {
        ids.insert(ids.end(), of_piece.begin(), of_piece.end());
        ++pieces;
      }, piece_bytes);
      CHECK(ids == expected);
      if (piece_bytes < 100) CHECK(pieces > 2);
    }
  }
}

TEST_CASE("gpt data: an evaluation keeps its tokens beside what it evaluates, or nowhere") {
  TaskSettings settings(tiny + "[gpt]\nsamples = 0\n");
  settings.config.data.train = {settings.write("a.txt", repeated("abcdefg ", 8))};
  settings.config.data.eval = {settings.write("b.txt", repeated("gfedcba ", 8))};
  settings.config.data.test = {settings.write("c.txt", repeated("gagbgcg ", 8))};
  const std::filesystem::path run = settings.folder.path() / "run", plain = settings.folder.path() / "model";
  std::filesystem::create_directories(run / "best");
  std::filesystem::create_directories(plain);
  {
    const auto task = settings.task();
    task->save_model(run / "best");
    task->save_model(plain);
  }
  write_file(run / "task.cfg", settings.options.toml());
  const std::string eval_tokens = read_text(run / "cache" / "eval.tokens");
  settings.config.output_dir = "elsewhere";  // as from another folder
  settings.config.init = (run / "best").string();
  std::string samples;
  const double loss = metric(settings.task(Use::evaluation)->evaluate(settings.machine, samples), "loss");
  choose_split(settings.config, "test");
  settings.task(Use::evaluation);
  CHECK(read_text(run / "cache" / "eval.tokens") == eval_tokens);
  CHECK(std::filesystem::exists(run / "cache" / "test.tokens"));
  // A model folder alone is left as it is.
  settings.config.init = plain.string();
  settings.config.data.eval = {settings.file("b.txt")};
  CHECK(metric(settings.task(Use::evaluation)->evaluate(settings.machine, samples), "loss") == loss);
  CHECK_FALSE(std::filesystem::exists(plain / "cache"));
  CHECK_FALSE(std::filesystem::exists(settings.folder.path() / "cache"));
  CHECK_FALSE(std::filesystem::exists("elsewhere"));
}

TEST_CASE("gpt data: the fingerprint tells other data and another vocabulary, not another place or time") {
  TaskSettings settings(tiny);
  const auto fingerprint = [&](const std::string& name, const std::string& text) {
    settings.config.data.train = {settings.write(name, text)};
    settings.config.model.vocab_size = 0;
    return settings.task()->fingerprint();
  };
  const std::string first = fingerprint("a.txt", repeated("abcdefg ", 8));
  CHECK(fingerprint("other.txt", repeated("abcdefg ", 8)) == first);
  CHECK(fingerprint("a.txt", repeated("abcdegf ", 8)) != first);  // the same characters
  CHECK(fingerprint("a.txt", repeated("abcdefh ", 8)) != first);  // the same ids
}

TEST_CASE("gpt data: errors say which file and where") {
  TaskSettings settings(tiny);
  const auto fails = [&](const std::string& name, const std::string& content, const std::string& message) {
    settings.config.data.train = {settings.write(name, content)};
    CHECK_THROWS_WITH_AS(settings.task(), doctest::Contains(message.c_str()), Error);
  };
  fails("empty.txt", "", "empty.txt: is empty");
  fails("bad.txt", repeated("text ", 10) + "\xff more", "bad.txt: line 1: byte 50 of the file is not UTF-8");
  fails("bad.txt", repeated("text\n", 10) + "\xff more", "bad.txt: line 11: byte 50 of the file is not UTF-8");
  fails("no_text.jsonl", "{\"text\": \"a\"}\n{\"texts\": \"b\"}\n", "no_text.jsonl: line 2");
  fails("number.jsonl", "{\"text\": \"a\"}\n\n{\"text\": 3}\n", "number.jsonl: line 3");
  fails("torn.jsonl", "{\"text\": \"a\"}\n{\"text\": \"b", "torn.jsonl: line 2");
  fails("blank.jsonl", "\n \n", "blank.jsonl: holds no line");
  fails("short.txt", "abcdefg", "at least 9");
  settings.config.data.train = {settings.file("absent.txt")};
  CHECK_THROWS_WITH_AS(settings.task(), doctest::Contains("absent.txt"), Error);
  settings.config.data.train = {};
  CHECK_THROWS_WITH_AS(settings.task(), doctest::Contains("data.train"), UsageError);
  settings.config.data.train = {settings.write("good.txt", repeated("text ", 10))};
  settings.config.data.block_size = 33;
  CHECK_THROWS_WITH_AS(settings.task(), doctest::Contains("data.block_size is 33"), UsageError);
  settings.config.data.block_size = 8;
  settings.config.data.tokenizer = "";
  CHECK_THROWS_WITH_AS(settings.task(), doctest::Contains("data.tokenizer"), UsageError);
}

TEST_CASE("gpt: a model folder is finetuned with its own tokenizer, and [model] may not say otherwise") {
  TaskSettings first(tiny);
  first.config.data.train = {first.write("a.txt", repeated("abcdefg ", 6))};
  const std::filesystem::path folder = first.folder.path() / "model";
  std::filesystem::create_directories(folder);
  first.task()->save_model(folder);

  TaskSettings again("task = \"gpt\"\n[data]\nblock_size = 8\n");
  again.config.init = folder.string();
  again.config.data.train = {again.write("b.txt", repeated("gfedcba ", 6))};
  const auto task = again.task();
  CHECK(again.config.model.hidden_size == 16);
  CHECK(again.config.model.vocab_size == causal(*task).tokenizer().vocab_size());
  again.config.data.train = {again.write("c.txt", repeated("XYZ ", 12))};
  // Characters that the tokenizer does not have.
  CHECK_THROWS_WITH_AS(again.task(), doctest::Contains("c.txt: line 1: the character \"X\" (U+0058) in column 1"),
                       Error);
  again.config.data.train = {again.write("d.txt", repeated("abcdefg \n", 99) + "abc Q")};
  CHECK_THROWS_WITH_AS(again.task(), doctest::Contains("d.txt: line 1: the character U+000A in column 9"), Error);
  again.config.data.train = {again.write("e.jsonl", "{\"text\": \"abc\"}\n{\"text\": \"abQ\"}\n")};
  CHECK_THROWS_WITH_AS(again.task(), doctest::Contains("e.jsonl: line 2: the character \"Q\" (U+0051) in column 3"),
                       Error);

  // Dropout is no part of the weights.
  const std::string data = again.write("f.txt", repeated("gfedcba ", 6));
  const std::string sections = "task = \"gpt\"\n[data]\nblock_size = 8\n[model]\n";
  TaskSettings dropping(sections + "dropout = 0.25\nattention_dropout = 0.5\n");
  dropping.config.init = folder.string();
  dropping.config.data.train = {data};
  const auto dropping_task = dropping.task();
  CHECK(causal(*dropping_task).model().config().dropout == 0.25f);
  CHECK(causal(*dropping_task).model().config().attention_dropout == 0.5f);
  TaskSettings initialising(sections + "initializer_range = 0.5\n");
  initialising.config.init = folder.string();
  initialising.config.data.train = {data};
  CHECK_THROWS_WITH_AS(initialising.task(), doctest::Contains("model.initializer_range is 0.5"), UsageError);

  TaskSettings other("task = \"gpt\"\n[data]\nblock_size = 8\n[model]\nhidden_size = 32\n");
  other.config.init = folder.string();
  other.config.data.train = again.config.data.train;
  CHECK_THROWS_WITH_AS(other.task(), doctest::Contains("model.hidden_size is 32"), UsageError);
  TaskSettings characters(tiny);
  characters.config.init = folder.string();
  characters.config.data.train = again.config.data.train;
  CHECK_THROWS_WITH_AS(characters.task(), doctest::Contains("characters"), UsageError);
}

}  // namespace engine::test::test_gpt_data
