#include <doctest/doctest.h>

#include <set>

#include "tasks/gpt/documents.h"
#include "tasks/gpt/gpt.h"
#include "tasks/gpt/permutation.h"
#include "tests/task_settings.h"

namespace engine::test {

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

const Tokenizer& tokenizer_of(Task& task) { return static_cast<GptTask&>(task).tokenizer(); }

}  // namespace

TEST_CASE("gpt data: block k covers the tokens kB ... kB+B, files in order, each a document") {
  TaskSettings settings(tiny);
  const std::string a = repeated("abcdefg ", 7), b = "Ünï " + repeated("hijk\n", 5);  // 56 + 1 and 29 + 1 tokens
  settings.config.data.train = {settings.write("a.txt", a), settings.write("b.txt", b)};
  const auto task = settings.task();
  const auto row = row_of(tokenizer_of(*task), {a, b});
  REQUIRE(row.size() == 87);
  // 10 whole blocks of 8 and the token after them: steps of 3, 3, 3 and 1 blocks.
  CHECK(task->steps_per_epoch() == 4);
  SequenceBatch batch;
  for (int64_t step = 0; step < 8; ++step) {  // two epochs
    task->batch_of(step, batch);
    const int64_t first = step % 4 * 3, count = std::min<int64_t>(3, 10 - first);
    REQUIRE(batch.sequences() == count);
    CHECK(batch.tokens == slice(row, first * 8, count * 8));
    CHECK(batch.labels == slice(row, first * 8 + 1, count * 8));
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
  const auto row = row_of(tokenizer_of(*task), {first, second});
  CHECK(batch.tokens == slice(row, 0, 24));
  CHECK(row.size() == 24 + 1 + 4 + 1);
}

TEST_CASE("gpt data: evaluation scores every token but the first once") {
  TaskSettings settings(tiny + "[gpt]\nsamples = 1\nsample_prompt = \"ab\"\n");
  const std::string text = repeated("abcdefg ", 4) + "abcd";  // 36 + 1 tokens: 4 blocks of 8, and 4 labels more
  settings.config.data.train = settings.config.data.eval = {settings.write("a.txt", text)};
  const auto task = settings.task();
  std::string samples;
  const Metrics metrics = task->evaluate(settings.machine, samples);
  const auto row = row_of(tokenizer_of(*task), {text});
  double sum = 0;
  for (int64_t begin = 0; begin < 36; begin += 8) {
    const int64_t count = std::min<int64_t>(8, 36 - begin);
    const std::vector<std::vector<int32_t>> sequence{slice(row, begin, count + 1)};
    sum -= score(settings.machine, static_cast<GptTask&>(*task).model(), sequence)[0].log_likelihood;
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
  const auto row = row_of(tokenizer_of(*task), {text});
  CHECK(task->steps_per_epoch() == 2);  // 5 blocks
  SequenceBatch batch;
  task->batch_of(1, batch);
  CHECK(batch.labels == slice(row, 25, 16));
  std::string samples;
  const double loss = metric(task->evaluate(settings.machine, samples), "loss");
  double sum = 0;
  for (const auto& [begin, count] : {std::pair<int64_t, int64_t>{45, 8}, {53, 6}}) {
    const std::vector<std::vector<int32_t>> sequence{slice(row, begin, count + 1)};
    sum -= score(settings.machine, static_cast<GptTask&>(*task).model(), sequence)[0].log_likelihood;
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
  CHECK(batch.tokens == slice(row_of(tokenizer_of(*task), {"Z" + repeated("abcdefg ", 6)}), 0, 24));
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
  for_each_piece({file}, [&](std::string_view piece, bool end) {
    together += piece;
    ++pieces;
    ends += end;
    CHECK(piece.front() > ' ');
  });
  CHECK(together == text);
  CHECK(pieces == 3);
  CHECK(ends == 1);
}

TEST_CASE("gpt data: errors say which file and where") {
  TaskSettings settings(tiny);
  const auto fails = [&](const std::string& name, const std::string& content, const std::string& message) {
    settings.config.data.train = {settings.write(name, content)};
    CHECK_THROWS_WITH_AS(settings.task(), doctest::Contains(message.c_str()), Error);
  };
  fails("empty.txt", "", "empty.txt: is empty");
  fails("bad.txt", repeated("text ", 10) + "\xff more", "bad.txt: byte 50 is not UTF-8");
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
  CHECK(again.config.model.vocab_size == tokenizer_of(*task).vocab_size());
  again.config.data.train = {again.write("c.txt", repeated("XYZ ", 12))};
  CHECK_THROWS_AS(again.task(), Error);  // characters that the tokenizer does not have

  TaskSettings other("task = \"gpt\"\n[data]\nblock_size = 8\n[model]\nhidden_size = 32\n");
  other.config.init = folder.string();
  other.config.data.train = again.config.data.train;
  CHECK_THROWS_WITH_AS(other.task(), doctest::Contains("model.hidden_size is 32"), UsageError);
  TaskSettings characters(tiny);
  characters.config.init = folder.string();
  characters.config.data.train = again.config.data.train;
  CHECK_THROWS_WITH_AS(characters.task(), doctest::Contains("characters"), UsageError);
}

}  // namespace engine::test
