// The tasks cola and sst2 learn a language of letters, in which a sentence has class 1 when it has an x.
#include "tasks/classification/classification.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <map>

#include "tests/letters.h"
#include "tests/task_settings.h"

namespace engine::test::test_classification {

namespace fs = std::filesystem;

namespace {

std::string sentence(Random& random, bool positive) {
  std::string text;
  const uint32_t words = 2 + random.below(6), at = random.below(words);
  for (uint32_t i = 0; i < words; ++i) {
    if (i) text += ' ';
    text += positive && i == at ? 'x' : static_cast<char>('a' + random.below(20));
  }
  return text;
}

std::string sst2_file(uint64_t seed, int rows) {
  Random random(seed, 1);
  std::string file = "sentence\tlabel\n";
  for (int i = 0; i < rows; ++i) {
    const bool positive = random.below(2) == 1;
    file += sentence(random, positive);
    file += positive ? " \t1\n" : " \t0\n";
  }
  return file;
}

std::string configuration(const std::string& task) {
  return "task = \"" + task + "\"\n[model]\narchitecture = \"bert\"\nhidden_size = 16\nnum_layers = 1\nnum_heads = 2\n"
         "max_positions = 16\ninitializer_range = 0.2\n[training]\nbatch_size = 16\nmax_steps = 120\n"
         "learning_rate = 1e-2\neval_every = 0\nsave_every = 0\n";
}

struct Language : TaskSettings {
  explicit Language(const std::string& task = "sst2", int rows = 200) : TaskSettings(configuration(task)) {
    config.data.tokenizer = file("tokenizer");
    write_letters(config.data.tokenizer);
    config.data.train = {write("train.tsv", sst2_file(1, rows))};
    config.data.eval = {write("dev.tsv", sst2_file(2, 80))};
  }
  ClassificationTask& made() {
    task_ = task();
    return static_cast<ClassificationTask&>(*task_);
  }

 private:
  std::unique_ptr<Task> task_;
};

}  // namespace

TEST_CASE("classification: accuracy and Matthews' correlation") {
  Confusion confusion;
  // There are 5 true positives, 3 true negatives, 2 false positives and 1 false negative: (15 - 2) / sqrt(7 * 6 * 5 *
  // 4).
  for (int i = 0; i < 5; ++i) confusion.add(1, 1);
  for (int i = 0; i < 3; ++i) confusion.add(0, 0);
  for (int i = 0; i < 2; ++i) confusion.add(1, 0);
  confusion.add(0, 1);
  CHECK(confusion.accuracy() == doctest::Approx(8.0 / 11));
  CHECK(confusion.matthews() == doctest::Approx(13 / std::sqrt(840.0)));
  Confusion constant;
  constant.add(1, 1);
  constant.add(1, 0);
  CHECK(constant.matthews() == 0);
}

TEST_CASE("classification: an epoch holds every sentence once, in its template, its class at its first token") {
  Language language("sst2", 50);
  ClassificationTask& task = language.made();
  CHECK(task.steps_per_epoch() == 4);
  std::map<std::vector<int32_t>, int> seen;
  int positive = 0;
  for (int64_t step = 0; step < 4; ++step) {
    SequenceBatch batch;
    task.batch_of(step, batch);
    CHECK(batch.scored() == batch.sequences());
    for (int64_t s = 0; s < batch.sequences(); ++s) {
      const auto begin = static_cast<size_t>(batch.offsets[static_cast<size_t>(s)]),
                 end = static_cast<size_t>(batch.offsets[static_cast<size_t>(s) + 1]);
      const std::vector<int32_t> ids(batch.tokens.begin() + static_cast<ptrdiff_t>(begin),
                                     batch.tokens.begin() + static_cast<ptrdiff_t>(end));
      CHECK(ids.front() == 2);
      CHECK(ids.back() == 3);
      const bool has_x = std::find(ids.begin(), ids.end(), 5 + 'x' - 'a') != ids.end();
      CHECK(batch.targets.labels[begin] == (has_x ? 1 : 0));
      positive += has_x;
      for (size_t i = begin + 1; i < end; ++i) CHECK(batch.targets.labels[i] == -100);
      ++seen[ids];
    }
  }
  const ExampleFile file = read_examples(language.config.data.train[0], GlueFormat::sst2);
  int expected_positive = 0, all = 0;
  for (const Example& example : file.examples) expected_positive += example.label;
  for (const auto& [ids, count] : seen) all += count;
  CHECK(all == 50);
  CHECK(positive == expected_positive);
}

TEST_CASE("classification: parts of the sentences are spread over the files") {
  Language language("sst2", 50);
  language.config.data.train_share = 0.4;
  language.config.data.eval_sequences = 20;
  ClassificationTask& task = language.made();
  CHECK(task.steps_per_epoch() == 2);
  SequenceBatch batch;
  int64_t sentences = 0;
  for (int64_t step = 0; step < 2; ++step) task.batch_of(step, batch), sentences += batch.sequences();
  CHECK(sentences == 20);
  std::string samples;
  const double loss = metric(task.evaluate(language.machine, samples), "loss");
  // A quarter has every fourth of 80 sentences.
  std::string quarter = "sentence\tlabel\n";
  const ExampleFile whole = read_examples(language.config.data.eval[0], GlueFormat::sst2);
  for (size_t i = 0; i < whole.examples.size(); i += 4)
    quarter += whole.examples[i].text + '\t' + std::to_string(whole.examples[i].label) + '\n';
  language.config.data.eval = {language.write("quarter.tsv", quarter)};
  language.config.data.eval_sequences = 0;
  CHECK(metric(language.made().evaluate(language.machine, samples), "loss") == loss);
}

TEST_CASE("classification: a tiny model learns, is evaluated again as it was, and predicts in GLUE's form") {
  Language language;
  ClassificationTask& task = language.made();
  REQUIRE(train_task(language.config, language.options, task, language.machine).exit_code() == 0);
  std::string samples;
  const Metrics metrics = task.evaluate(language.machine, samples);
  CHECK(metric(metrics, "accuracy") >= 0.95);
  CHECK(metric(metrics, "matthews") >= 0.9);
  CHECK(samples.find("right  positive (it is positive): ") != std::string::npos);

  // The saved model is evaluated alone.
  TaskSettings again(configuration("sst2"));
  again.config.init = (fs::path(language.config.output_dir) / "run").string();
  again.config.data.eval = language.config.data.eval;
  const auto loaded = again.task(Use::evaluation);
  const Metrics same = loaded->evaluate(again.machine, samples);
  for (const char* name : {"loss", "accuracy", "matthews"}) CHECK(metric(same, name) == metric(metrics, name));

  const fs::path input = again.write("test.tsv", "index\tsentence\n4\ta b x\n2\ta b c\n9\t\n");
  const fs::path output = again.file("predictions.tsv");
  loaded->predict(again.machine, input, output);
  const std::string predictions = read_text(output);
  CHECK(predictions.starts_with("index\tprediction\n4\t1\n2\t0\n9\t"));
  CHECK(std::count(predictions.begin(), predictions.end(), '\n') == 4);
}

TEST_CASE("classification: packing changes no logit, whatever sentences come together") {
  Language language("sst2", 40);
  ClassificationTask& task = language.made();
  SequenceBatch all;
  task.batch_of(0, all);
  LossStep step(task.model());
  ScoredTokens scored;
  step.evaluate(language.machine, all, &scored);
  const std::vector<float> together = scored.losses;
  std::vector<float> alone;
  for (int64_t s = 0; s < all.sequences(); ++s) {
    SequenceBatch one;
    const auto begin = all.offsets[static_cast<size_t>(s)], end = all.offsets[static_cast<size_t>(s) + 1];
    one.tokens.assign(all.tokens.begin() + begin, all.tokens.begin() + end);
    one.targets.labels.assign(all.targets.labels.begin() + begin, all.targets.labels.begin() + end);
    one.end_sequence();
    step.evaluate(language.machine, one, &scored);
    alone.insert(alone.end(), scored.losses.begin(), scored.losses.end());
  }
  REQUIRE(together.size() == alone.size());
  // Sums of at most 64 terms, in a dozen products one behind another, may be added in another order.
  const float allowed = 12 * 64 * std::numeric_limits<float>::epsilon();
  for (size_t i = 0; i < alone.size(); ++i)
    CHECK(std::abs(together[i] - alone[i]) <= allowed * std::max(1.0f, alone[i]));
}

TEST_CASE("classification: switching keeps the trunk and takes a new head, the same task takes all") {
  Language first;
  first.config.training.max_steps = 2;
  ClassificationTask& trained = first.made();
  REQUIRE(train_task(first.config, first.options, trained, first.machine).exit_code() == 0);
  const std::string folder = (fs::path(first.config.output_dir) / "run").string();

  const auto start = [&](const std::string& name, bool new_head) {
    TaskSettings settings("task = \"" + name + "\"\n[training]\nmax_steps = 1\n");
    settings.config.init = folder;
    settings.config.training.new_head = new_head;
    settings.config.data.train = {settings.write(
        "train.tsv", name == "cola" ? "a\t1\t\ta b x\nb\t0\t*\ta b c\n" : "sentence\tlabel\na b x\t1\n")};
    const auto task = settings.task();
    auto& made = static_cast<ClassificationTask&>(*task);
    const auto is_same = [&](const char* parameter) {
      const Tensor ours = made.parameters().at(parameter).value, theirs = trained.parameters().at(parameter).value;
      return std::equal(ours.as<float>(), ours.as<float>() + ours.count(), theirs.as<float>());
    };
    return std::tuple(is_same("layers.0.attention.qkv.weight"), is_same("classifier.weight"), made.start_report());
  };
  auto [trunk, head, report] = start("sst2", false);
  CHECK(trunk);
  CHECK(head);
  CHECK(report.find("new") == std::string::npos);
  std::tie(trunk, head, report) = start("sst2", true);
  CHECK(trunk);
  CHECK_FALSE(head);
  CHECK(report.find("new classifier") != std::string::npos);
  std::tie(trunk, head, report) = start("cola", false);
  CHECK(trunk);
  CHECK_FALSE(head);
  CHECK(report.find("loaded pooler, trunk; new classifier") != std::string::npos);

  // A model of sst2 is none for cola.
  TaskSettings other("task = \"cola\"\n");
  other.config.init = folder;
  CHECK_THROWS_WITH_AS(other.task(Use::evaluation),
                       (folder + " is a model for another task than cola: train it for this one first").c_str(),
                       UsageError);
}

TEST_CASE("classification: what is left out or cut is counted, what cannot be is a usage error") {
  Language language;
  language.config.data.block_size = 6;
  language.config.data.train = {language.write("short.tsv", "sentence\tlabel\na\t1\n \t0\na b c d e f g\t0\n")};
  ClassificationTask& task = language.made();
  CHECK(task.start_report() == "data.train: 1 empty sentences are left out\ndata.train: 1 sentences are cut to 6 "
                               "tokens\ndata.eval: " + task.start_report().substr(task.start_report().rfind(": ") + 2));
  SequenceBatch batch;
  task.batch_of(0, batch);
  CHECK(batch.sequences() == 2);
  CHECK(batch.tokens.size() == 3 + 6);

  language.config.data.block_size = 17;
  CHECK_THROWS_AS(language.made(), UsageError);
  language.config.data.block_size = 0;
  language.config.data.train = {language.write("test.tsv", "index\tsentence\n0\ta\n")};
  CHECK_THROWS_WITH_AS(language.made(),
                       ("data.train names " + language.config.data.train[0] +
                        ", which has no labels: they are needed here; see predict").c_str(),
                       UsageError);
  // --split test reports its files as data.test.
  language.config.data.test = language.config.data.eval = language.config.data.train;
  language.config.data.train = {language.file("short.tsv")};
  CHECK_THROWS_WITH_AS(language.made(), doctest::Contains("data.test names "), UsageError);
  language.config.data.eval.clear();
  for (const int64_t length : {1, 2}) {
    language.config.data.block_size = length;
    CHECK_THROWS_WITH_AS(language.made(), doctest::Contains("it has no room beside the 2 special tokens"), UsageError);
  }
  language.config.data.train.clear();
  CHECK_THROWS_AS(language.made(), UsageError);
  // This vocabulary does not fit the weights.
  Language model;
  model.config.training.max_steps = 1;
  REQUIRE(train_task(model.config, model.options, model.made(), model.machine).exit_code() == 0);
  TaskSettings wrong("task = \"sst2\"\n");
  wrong.config.init = (fs::path(model.config.output_dir) / "run").string();
  wrong.config.data.tokenizer = "tests/data/bert";
  wrong.config.data.train = model.config.data.train;
  CHECK_THROWS_WITH_AS(wrong.task(), doctest::Contains("only 31"), UsageError);
  // Other vocabularies have as many tokens, but other ones, or fewer.
  wrong.config.data.tokenizer = wrong.file("other");
  write_letters(wrong.config.data.tokenizer);
  const std::string vocabulary = read_text(wrong.file("other/vocab.txt"));
  CHECK(wrong.task() != nullptr);
  wrong.write("other/vocab.txt", vocabulary.substr(0, vocabulary.size() - 4) + "z\ny\n");
  CHECK_THROWS_WITH_AS(wrong.task(), doctest::Contains("learned: token 29 is z, there y"), UsageError);
  wrong.write("other/vocab.txt", vocabulary.substr(0, vocabulary.size() - 2));
  CHECK_THROWS_WITH_AS(wrong.task(), doctest::Contains("token 30 is none, there z"), UsageError);
}

TEST_CASE("classification: sentences are cut to what the tokenizer allows, and data.block_size is not above it") {
  Language language;
  language.write("tokenizer/tokenizer_config.json", R"({"model_max_length": 5})");
  language.config.data.train = {language.write("short.tsv", "sentence\tlabel\na\t1\na b c d e f g\t0\n")};
  CHECK(language.made().start_report().starts_with("data.train: 1 sentences are cut to 5 tokens"));
  language.config.data.block_size = 6;
  CHECK_THROWS_WITH_AS(language.made(), doctest::Contains("the tokenizer's model_max_length is 5"), UsageError);
  language.config.data.block_size = 4;
  CHECK(language.made().start_report().starts_with("data.train: 1 sentences are cut to 4 tokens"));
}

TEST_CASE("classification: a sentence without a token is left out with its label, and refused in predict") {
  Language language;
  // Nothing goes around a sentence here.
  std::filesystem::create_directories(language.file("characters"));
  make_character_tokenizer({"abx "})->save(language.file("characters"));
  language.config.data.tokenizer = language.file("characters");
  language.config.data.train = {language.write("train.tsv", "sentence\tlabel\na b\t0\n\t1\nx a\t1\n")};
  language.config.data.eval = {language.write("dev.tsv", "sentence\tlabel\n\t1\na\t0\n \t0\nb x\t1\n")};
  language.config.training.max_steps = 1;
  ClassificationTask& task = language.made();
  CHECK(task.start_report() == "data.train: 1 empty sentences are left out\n"
                               "data.eval: 2 empty sentences are left out");
  SequenceBatch batch;
  task.batch_of(0, batch);
  CHECK(batch.sequences() == 2);
  CHECK(batch.scored() == 2);
  CHECK(batch.targets.labels.size() == batch.tokens.size());
  std::string samples;
  const double accuracy = metric(task.evaluate(language.machine, samples), "accuracy");
  CAPTURE(samples);
  CHECK(std::count(samples.begin(), samples.end(), '\n') == 2);
  int right = 0;
  for (size_t at = 0; (at = samples.find("right  ", at)) != std::string::npos; ++at) ++right;
  CHECK(right > 0);
  CHECK(accuracy == right / 2.0);
  const fs::path input = language.write("test.tsv", "sentence\nx\n\na\n"), output = language.file("out.tsv");
  CHECK_THROWS_WITH_AS(task.predict(language.machine, input, output),
                       (input.string() + ":3: the sentence has no token").c_str(), Error);
  CHECK_FALSE(fs::exists(output));
}

TEST_CASE("classification: an evaluation needs data.eval, training and predictions do not") {
  Language language;
  language.config.data.eval.clear();
  language.config.training.max_steps = 1;
  ClassificationTask& task = language.made();
  std::string samples;
  CHECK(task.evaluate(language.machine, samples).empty());
  REQUIRE(train_task(language.config, language.options, task, language.machine).exit_code() == 0);
  TaskSettings alone(configuration("sst2"));
  alone.config.init = language.file("run");
  const auto loaded = alone.task(Use::evaluation);
  CHECK_THROWS_WITH_AS(loaded->evaluate(alone.machine, samples), doctest::Contains("data.eval is missing"), UsageError);
  loaded->predict(alone.machine, alone.write("test.tsv", "sentence\na\n"), alone.file("out.tsv"));
  CHECK(read_text(alone.file("out.tsv")).starts_with("index\tprediction\n0\t"));
}

TEST_CASE("classification: an epsilon that a model's folder cannot say is refused before any training") {
  Language language;
  for (const char* architecture : {"distilbert", "bert"}) {
    language.config.model.architecture = architecture;
    language.config.model.layer_norm_epsilon = 1e-5f;
    if (architecture == std::string("bert")) CHECK_NOTHROW(language.made());
    else CHECK_THROWS_WITH_AS(language.made(), doctest::Contains("model.layer_norm_epsilon is 1e-05"), UsageError);
  }
}

}  // namespace engine::test::test_classification
