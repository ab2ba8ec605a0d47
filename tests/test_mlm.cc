#include "tasks/mlm/mlm.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>

#include "tests/task_settings.h"
#include "text/vocabulary_training.h"

namespace engine::test::test_mlm {

namespace {

// Writes a WordPiece vocabulary of a text into a folder.
std::string vocabulary_of(const TaskSettings& settings, const std::string& text) {
  VocabularyTrainer trainer(VocabularyTrainer::Kind::wordpiece, {.vocab_size = 400, .min_frequency = 1});
  trainer.add(text);
  const std::filesystem::path folder = settings.folder.path() / "vocabulary";
  std::filesystem::create_directories(folder);
  trainer.train()->save(folder);
  return folder.string();
}

std::string walk() { return read_text("tests/data/walk.txt"); }

const std::string tiny = R"(
task = "mlm"
[data]
block_size = 16
[model]
architecture = "bert"
hidden_size = 32
num_layers = 1
num_heads = 2
max_positions = 32
[training]
batch_size = 8
max_steps = 6
learning_rate = 3e-3
scheduler = "constant"
eval_every = 0
save_every = 0
)";

// `lines` are options, a section each.
struct MlmSettings : TaskSettings {
  explicit MlmSettings(const std::string& lines = "", const std::string& text = walk()) : TaskSettings(tiny + lines) {
    config.data.tokenizer = vocabulary_of(*this, text);
    config.data.train = {write("train.txt", text)};
  }
};

using Ids = std::vector<int32_t>;

Ids slice(const SequenceBatch& batch, const Ids& values, int64_t s) {
  return {values.begin() + batch.offsets[static_cast<size_t>(s)],
          values.begin() + batch.offsets[static_cast<size_t>(s) + 1]};
}

// Returns a batch's tokens before they were masked.
Ids unmasked(const SequenceBatch& batch) {
  Ids tokens = batch.tokens;
  for (size_t i = 0; i < tokens.size(); ++i)
    if (batch.targets.labels[i] != -100) tokens[i] = batch.targets.labels[i];
  return tokens;
}

// Trains silently, and returns the task as it is then, or null where the training did not come to its end.
std::unique_ptr<Task> trained(MlmSettings& settings) {
  auto task = settings.task();
  std::FILE* const nowhere = std::fopen("/dev/null", "w");
  const int code = train_task(settings.config, settings.options, *task, settings.machine, nowhere).exit_code();
  std::fclose(nowhere);
  return code == 0 ? std::move(task) : nullptr;
}

}  // namespace

TEST_CASE("mlm masks: their number, distinct places, 80/10/10, and nothing special") {
  const TaskSettings settings(tiny);
  const auto tokenizer = load_tokenizer(vocabulary_of(settings, walk()));
  Masking masking(*tokenizer, 0.15);
  const int32_t cls = *tokenizer->id_of("[CLS]"), sep = *tokenizer->id_of("[SEP]"), mask = tokenizer->mask_token();
  double masked = 0, random_tokens = 0, kept = 0;
  std::vector<double> chosen(42, 0.0);
  std::set<int32_t> drawn;
  for (uint64_t round = 0; round < 4000; ++round) {
    Random random(3, round);
    Ids before{cls};
    for (int i = 0; i < 40; ++i) before.push_back(100 + i);
    before.push_back(sep);
    Ids tokens = before, labels(tokens.size());
    masking.apply(tokens, labels, random);
    int count = 0;
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (labels[i] == -100) {
        CHECK(tokens[i] == before[i]);
        continue;
      }
      ++count;
      ++chosen[i];
      CHECK(labels[i] == before[i]);
      if (tokens[i] == mask) ++masked;
      else if (tokens[i] == before[i]) ++kept;
      else ++random_tokens, drawn.insert(tokens[i]);
    }
    CHECK(count == 6);  // 0.15 of 40, and distinct
  }
  CHECK(chosen.front() == 0);
  CHECK(chosen.back() == 0);
  // With 24,000 draws shares are within 5 standard deviations, at most 0.0026. A random token may be the old one.
  const double all = 24000, same = 0.1 / tokenizer->vocab_size();
  CHECK(std::abs(masked / all - 0.8) <= 0.013);
  CHECK(std::abs(random_tokens / all - (0.1 - same)) <= 0.01);
  CHECK(std::abs(kept / all - (0.1 + same)) <= 0.01);
  for (size_t i = 1; i <= 40; ++i) CHECK(std::abs(chosen[i] - 600) <= 5 * std::sqrt(600 * 0.85));
  for (const int32_t token : drawn) CHECK_FALSE(tokenizer->is_special(token));
  CHECK(drawn.size() > 300);

  for (const auto& [length, expected] : {std::pair{1, 1}, {6, 1}, {13, 1}, {14, 2}, {20, 3}, {100, 15}}) {
    Ids tokens(static_cast<size_t>(length), 100), labels(tokens.size());
    Random random(1, 1);
    masking.apply(tokens, labels, random);
    CHECK(std::count(labels.begin(), labels.end(), 100) == expected);
  }
  Ids special{cls, sep}, labels(2);
  Random random(1, 1);
  masking.apply(special, labels, random);
  CHECK(special == Ids{cls, sep});
  CHECK(labels == Ids{-100, -100});
}

TEST_CASE("mlm sequences: blocks are the whole text, in templates; the last one is shorter") {
  const TaskSettings settings(tiny);
  const auto tokenizer = load_tokenizer(vocabulary_of(settings, walk()));
  const std::vector<std::string> files{settings.write("a.txt", walk()),
                                       settings.write("b.jsonl", "{\"text\": \"The gate.\"}\n")};
  const Sequences blocks(settings.file("a.tokens"), files, *tokenizer, {.length = 16});
  Ids all = tokenizer->encode(walk()), read;
  const Ids last = tokenizer->encode("The gate.");
  all.insert(all.end(), last.begin(), last.end());
  for (int64_t i = 0; i < blocks.size(); ++i) {
    Ids one;
    blocks.append(i, one);
    CHECK(static_cast<int32_t>(one.size()) == blocks.length(i));
    CHECK(one.front() == *tokenizer->id_of("[CLS]"));
    CHECK(one.back() == *tokenizer->id_of("[SEP]"));
    CHECK((one.size() == 16 || i == blocks.size() - 1));
    read.insert(read.end(), one.begin() + 1, one.end() - 1);
  }
  CHECK(read == all);
  CHECK(blocks.size() == (static_cast<int64_t>(all.size()) + 13) / 14);
  CHECK_THROWS_WITH_AS(Sequences(settings.file("a.tokens"), files, *tokenizer, {.length = 2}),
                       doctest::Contains("a sequence of 2 tokens has no room"), Error);
}

TEST_CASE("mlm sequences: a line each; blank ones are skipped, long ones cut, and both counted") {
  const TaskSettings settings(tiny);
  const auto tokenizer = load_tokenizer(vocabulary_of(settings, walk()));
  const std::string text = "the mill\n\n  \nthe gate and the dog and the hedge\nthe [SEP] stones\nthe wood";
  const std::vector<std::string> files{settings.write("a.txt", text)};
  Sequences lines(settings.file("a.tokens"), files, *tokenizer, {.length = 7, .lines = true});
  const auto framed = [&](const std::string& line) {
    return encode_framed(*tokenizer, line, {.max_length = 7}).ids;
  };
  const auto read = [](const Sequences& sequences, int64_t i) {
    Ids one;
    sequences.append(i, one);
    return one;
  };
  REQUIRE(lines.size() == 4);
  CHECK(lines.skipped() == 2);
  CHECK(lines.cut() == 1);
  CHECK(read(lines, 0) == framed("the mill"));
  CHECK(read(lines, 1) == framed("the gate and the dog and the hedge"));
  CHECK(read(lines, 2) == framed("the [SEP] stones"));
  CHECK(read(lines, 3) == framed("the wood"));
  // The file keeps uncut tokens, so another length reads the same file.
  const auto changed = std::filesystem::last_write_time(settings.file("a.tokens"));
  const Sequences longer(settings.file("a.tokens"), files, *tokenizer, {.length = 30, .lines = true});
  CHECK(longer.cut() == 0);
  CHECK(std::filesystem::last_write_time(settings.file("a.tokens")) == changed);
  const Sequences last = lines.split_off(1);
  CHECK(lines.size() == 3);
  REQUIRE(last.size() == 1);
  CHECK(read(last, 0) == framed("the wood"));
}

TEST_CASE("mlm sequences: cleaned text") {
  CHECK(cleaned_text("  A\t\t\"word\" (and) a\n\nÜber-all; it's 5% — no?  ") ==
        "A \"word\" and a Über-all it's 5 no?");
  CHECK(cleaned_text("…—§") == "");
  const TaskSettings settings(tiny);
  const auto tokenizer = load_tokenizer(vocabulary_of(settings, walk()));
  const std::vector<std::string> files{settings.write("a.txt", "the (mill)\n\n*gate*\n")};
  for (const bool by_line : {false, true}) {
    const Sequences cleaned(settings.file("a.tokens"), files, *tokenizer,
                            {.length = 30, .lines = by_line, .clean = true});
    REQUIRE(cleaned.size() == (by_line ? 2 : 1));
    Ids one;
    cleaned.append(0, one);
    CHECK(one == encode_framed(*tokenizer, by_line ? "the mill" : "the mill gate").ids);
  }
}

TEST_CASE("mlm data: every epoch has each sequence once; dynamic masks are new each epoch, static ones come again") {
  for (const std::string masking : {"dynamic", "static"}) {
    CAPTURE(masking);
    MlmSettings settings("[mlm]\nmasking = \"" + masking + "\"\n" + (masking == "static" ? "copies = 2\n" : ""));
    const auto task = settings.task();
    const int64_t steps = task->steps_per_epoch();
    std::vector<std::set<std::pair<Ids, Ids>>> epochs;  // of masked sequences and their labels
    std::set<std::multiset<Ids>> texts;
    for (int64_t epoch = 0; epoch < 4; ++epoch) {
      epochs.emplace_back();
      std::multiset<Ids> sequences;
      for (int64_t step = epoch * steps; step < (epoch + 1) * steps; ++step) {
        SequenceBatch batch;
        task->batch_of(step, batch);
        CHECK(batch.scored() > 0);
        const Ids text = unmasked(batch);
        for (int64_t s = 0; s < batch.sequences(); ++s) {
          epochs.back().emplace(slice(batch, batch.tokens, s), slice(batch, batch.targets.labels, s));
          sequences.insert(slice(batch, text, s));
        }
      }
      texts.insert(sequences);
    }
    CHECK(texts.size() == 1);
    CHECK(epochs[0] != epochs[1]);
    CHECK((epochs[0] == epochs[2]) == (masking == "static"));
    CHECK((epochs[1] == epochs[3]) == (masking == "static"));
  }
}

TEST_CASE("mlm data: parts of the sequences are spread over the text") {
  MlmSettings settings;
  settings.config.training.batch_size = 1;
  settings.config.data.shuffle = false;
  const auto all = settings.task();
  const int64_t sequences = all->steps_per_epoch();
  settings.config.data.train_share = 0.25;
  const auto part = settings.task();
  const int64_t kept = sequences / 4;
  REQUIRE(part->steps_per_epoch() == kept);
  SequenceBatch a, b;
  for (const int64_t i : {int64_t{0}, kept / 2, kept - 1}) {
    part->batch_of(i, a);
    all->batch_of(i * sequences / kept, b);
    CHECK(unmasked(a) == unmasked(b));
  }
  settings.config.data.eval = settings.config.data.train;
  settings.config.data.eval_sequences = 1;
  std::string samples;
  settings.task()->evaluate(settings.machine, samples);
  CHECK(samples.find("--- sample 1") != std::string::npos);
  CHECK(samples.find("--- sample 2") == std::string::npos);
}

TEST_CASE("mlm data: a batch is a function of the step; another seed masks otherwise") {
  MlmSettings settings;
  const auto first = settings.task(), second = settings.task();
  SequenceBatch a, b;
  first->batch_of(0, a);
  for (int64_t step : {0, 7, 30}) {
    first->batch_of(step, a);
    second->batch_of(29 - step % 7, b);  // whatever came before
    second->batch_of(step, b);
    CHECK(a.tokens == b.tokens);
    CHECK(a.targets.labels == b.targets.labels);
  }
  CHECK(first->fingerprint() == second->fingerprint());
  settings.config.data.shuffle = false;
  settings.config.model = Config().model;
  settings.config.model.architecture = "bert";
  settings.task()->batch_of(0, a);
  settings.config.seed = 2;
  settings.task()->batch_of(0, b);
  CHECK(unmasked(a) == unmasked(b));
  CHECK(a.targets.labels != b.targets.labels);
}

TEST_CASE("mlm: evaluation has the same masks every time, shows samples, and changes nothing") {
  MlmSettings settings("[mlm]\neval_share = 0.3\nsamples = 2\n");
  const auto task = settings.task();
  std::string samples, again;
  const Metrics metrics = task->evaluate(settings.machine, samples);
  CHECK(task->evaluate(settings.machine, again) == metrics);
  CHECK(samples == again);
  CHECK(samples.find("--- sample 2 ---\n[CLS] ") != std::string::npos);
  CHECK(samples.find("[MASK]: guess ") != std::string::npos);
  CHECK(metric(metrics, "perplexity") == doctest::Approx(std::exp(metric(metrics, "loss"))));
  // A new model guesses, so its loss is about that of equal chances.
  CHECK(metric(metrics, "loss") == doctest::Approx(std::log(settings.config.model.vocab_size)).epsilon(0.05));
  CHECK(task->start_report().find("training data: ") != std::string::npos);
}

TEST_CASE("mlm: a training that goes on ends with the same bits; a run's model is taken up, trunk and head") {
  MlmSettings settings("[mlm]\neval_share = 0.2\n");
  settings.config.name = "whole";
  REQUIRE(trained(settings));
  settings.config.model = MlmSettings().config.model;
  settings.config.name = "parts";
  settings.config.training.max_steps = 4;
  REQUIRE(trained(settings));
  settings.config.model = MlmSettings().config.model;
  settings.config.training.max_steps = 6;
  REQUIRE(trained(settings));
  const auto weights = [&](const char* run) {
    return read_text(settings.folder.path() / run / "last" / "model.safetensors");
  };
  CHECK(weights("whole") == weights("parts"));
  settings.config.init = settings.file("whole");
  settings.config.name = "more";
  settings.config.data.tokenizer = "";
  const auto task = settings.task();
  const std::string report = task->start_report();
  INFO(report);
  for (const char* part : {"loaded ", "trunk", "masked_head"}) CHECK(report.find(part) != std::string::npos);
  CHECK(report.find("new ") == std::string::npos);
  CHECK(settings.task(Use::evaluation) != nullptr);
}

TEST_CASE("mlm: small encoders of every kind learn a text that repeats") {
  std::string text;
  for (int i = 0; i < 400; ++i) text += "one two three four five six seven eight nine ten. ";
  for (const std::string architecture : {"bert", "distilbert", "sinusoidal_encoder"}) {
    CAPTURE(architecture);
    MlmSettings settings("[mlm]\neval_share = 0.1\n", text);
    settings.config.model.architecture = architecture;
    settings.config.model.num_heads = 4;
    settings.config.data.block_size = 20;  // no multiple of the text's period: a place alone tells nothing
    settings.config.training.batch_size = 16;
    settings.config.training.max_steps = 1200;
    settings.config.training.warmup_steps = 50;
    settings.config.training.scheduler = "linear";
    const auto task = trained(settings);
    REQUIRE(task);
    std::string samples;
    const Metrics metrics = task->evaluate(settings.machine, samples);
    INFO(samples);
    CHECK(metric(metrics, "accuracy") >= 0.95);
  }
}

TEST_CASE("mlm: without data.block_size a sequence is as long as the model and the tokenizer allow") {
  for (const auto& [limit, longest] :
       {std::pair{"", 32}, {R"("model_max_length": 9)", 9}, {R"("model_max_length": 64)", 32}}) {
    MlmSettings settings;
    settings.config.data.block_size = 0;
    write_file(std::filesystem::path(settings.config.data.tokenizer) / "tokenizer_config.json",
               "{" + std::string(limit) + "}");
    const auto task = settings.task();
    SequenceBatch batch;
    static_cast<MlmTask&>(*task).batch_of(0, batch);
    CHECK(batch.offsets[1] == longest);
  }
}

TEST_CASE("mlm: bad input is told") {
  MlmSettings settings;
  settings.config.data.tokenizer = "tests/data/gpt2";
  CHECK_THROWS_WITH_AS(settings.task(), doctest::Contains("the tokenizer has no mask token"), UsageError);
  MlmSettings no_text;
  no_text.config.data.train = {};
  CHECK_THROWS_WITH_AS(no_text.task(), doctest::Contains("data.train is missing"), UsageError);
  MlmSettings long_blocks;
  long_blocks.config.data.block_size = 33;
  CHECK_THROWS_WITH_AS(long_blocks.task(), doctest::Contains("data.block_size is 33, but the model has only 32"),
                       UsageError);
  long_blocks.config.data.block_size = 2;
  CHECK_THROWS_WITH_AS(long_blocks.task(), doctest::Contains("data.block_size is 2: it has no room"), UsageError);
  MlmSettings nothing("[mlm]\nlines = true\n");
  nothing.config.data.train = {nothing.write("blank.txt", "\n \n\n")};
  CHECK_THROWS_WITH_AS(nothing.task(), doctest::Contains("data.train holds no token"), Error);
  MlmSettings bad("[mlm]\nlines = true\n");
  bad.config.data.train = {bad.write("bad.txt", "good\n\xff\xff\n")};
  CHECK_THROWS_WITH_AS(bad.task(), doctest::Contains("bad.txt: line 2: byte 5 of the file is not UTF-8"), Error);
  bad.write("bad.txt", "\xFF\xFEg");
  CHECK_THROWS_WITH_AS(bad.task(), doctest::Contains("bad.txt: looks like UTF-16"), Error);
  bad.write("bad.txt", "\xEF\xBB\xBFgood\n\xff\n");
  CHECK_THROWS_WITH_AS(bad.task(), doctest::Contains("bad.txt: line 2: byte 8 of the file is not UTF-8"), Error);
  MlmSettings decoder;
  decoder.config.model.architecture = "gpt2";
  CHECK_THROWS_WITH_AS(decoder.task(), doctest::Contains("is not an encoder"), UsageError);
}

}  // namespace engine::test::test_mlm
