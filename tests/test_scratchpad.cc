#include "tasks/scratchpad/scratchpad.h"

#include <doctest/doctest.h>

#include <map>

#include "tests/task_settings.h"

namespace engine::test::test_scratchpad {

namespace {

const std::string tiny = R"(
task = "scratchpad"
[model]
hidden_size = 32
num_layers = 2
num_heads = 2
max_positions = 64
[training]
batch_size = 64
max_steps = 10
)";

// Returns the text of a sequence's tokens, and of its labels, with ignored ones as dots.
std::pair<std::string, std::string> texts_of(const Tokenizer& tokenizer, const SequenceBatch& batch, size_t s) {
  std::string tokens, labels;
  for (auto i = static_cast<size_t>(batch.offsets[s]); i < static_cast<size_t>(batch.offsets[s + 1]); ++i) {
    tokens += tokenizer.token(batch.tokens[i]);
    labels += batch.targets.labels[i] == -100 ? "." : tokenizer.token(batch.targets.labels[i]);
  }
  return {tokens, labels};
}

size_t open_at_once(const std::string& text) {
  size_t open = 0, most = 0;
  for (char c : text) {
    open += c == '(' ? 1u : c == ')' ? size_t(-1) : 0u;
    if (open < 1000) most = std::max(most, open);
  }
  return most;
}

}  // namespace

TEST_CASE("scratchpad: an example is input, <start>, oracle; the target and <eos> are scored") {
  for (const std::string explanation : {"oracle", "none"}) {
    TaskSettings settings(tiny + "[scratchpad]\nmixture = [\"1:1\", \"2:3\"]\nexplanation = \"" + explanation + "\"\n");
    const auto task = settings.task();
    const Tokenizer& tokenizer = causal(*task).tokenizer();
    SequenceBatch batch;
    task->batch_of(0, batch);
    REQUIRE(batch.sequences() == 64);
    for (size_t s = 0; s < 64; ++s) {
      const auto [tokens, labels] = texts_of(tokenizer, batch, s);
      const size_t start = tokens.find("<start>");
      REQUIRE(start != std::string::npos);
      const std::string input = tokens.substr(0, start), target = tokens.substr(start + 7);
      CHECK(labels == std::string(input.size(), '.') + target + "<eos>");
      CHECK((target.find('=') != std::string::npos) == (explanation == "oracle"));
      if (explanation == "oracle") CHECK(target.starts_with(input.substr(0, 2)));
    }
  }
}

TEST_CASE("scratchpad: batches are a function of seed and step, and hold the levels in their parts") {
  const std::string text = tiny + "[scratchpad]\nmixture = [\"0:1\", \"1:1\", \"2:2\"]\n";
  TaskSettings settings(text), same(text), other("seed = 2\n" + text);
  const auto task = settings.task(), task_again = same.task(), task_of_other_seed = other.task();
  const Tokenizer& tokenizer = causal(*task).tokenizer();
  SequenceBatch batch, again;
  std::map<size_t, int> levels;
  for (int64_t step = 0; step < 30; ++step) {
    task->batch_of(step, batch);
    for (size_t s = 0; s < 64; ++s) ++levels[open_at_once(texts_of(tokenizer, batch, s).first)];
  }
  task_again->batch_of(29, again);
  CHECK(again.tokens == batch.tokens);
  CHECK(again.targets.labels == batch.targets.labels);
  task->batch_of(28, again);
  CHECK(again.tokens != batch.tokens);
  task_of_other_seed->batch_of(29, again);
  CHECK(again.tokens != batch.tokens);
  // In 1920 draws five standard deviations are about 100.
  CHECK(std::abs(levels[0] - 480) < 100);
  CHECK(std::abs(levels[1] - 480) < 100);
  CHECK(std::abs(levels[2] - 960) < 110);
}

TEST_CASE("scratchpad: the fingerprint tells other expressions") {
  const auto fingerprint = [](const std::string& own) { return TaskSettings(tiny + own).task()->fingerprint(); };
  CHECK(fingerprint("") == fingerprint("[scratchpad]\nmax_depth = 2\n"));
  CHECK(fingerprint("") != fingerprint("[scratchpad]\nheld_out = 4\n"));
}

TEST_CASE("scratchpad: batch_tokens counts tokens") {
  TaskSettings settings(tiny + "batch_tokens = 500\n");
  const auto task = settings.task();
  SequenceBatch batch;
  task->batch_of(3, batch);
  CHECK(batch.tokens.size() >= 500);
  CHECK(batch.tokens.size() < 500 + 64);
}

TEST_CASE("scratchpad: the final value of what was generated") {
  CHECK(final_value("((1+2=3)*3=9)") == "9");
  CHECK(final_value("((1-9=-8)*3=-24)") == "-24");
  CHECK(final_value("-24") == "-24");
  CHECK(final_value("((1+2=3)*3=9") == "9");
  CHECK(final_value("((1+2=3)*3=") == "");
  CHECK(final_value("((1+2=3)*3=9))") == "9)");
  CHECK(final_value("") == "");
}

TEST_CASE("scratchpad: an impossible option is a usage error that names it") {
  const auto refused = [](const std::string& text, const char* what) {
    CAPTURE(text);
    CHECK_THROWS_WITH_AS(TaskSettings(tiny + text).task(), doctest::Contains(what), UsageError);
  };
  refused("[scratchpad]\nmixture = [\"1\"]\n", "level:parts");
  refused("[scratchpad]\nmixture = [\"1:x\"]\n", "1:x");
  refused("[scratchpad]\nmixture = [\"1:0\"]\n", "1:0");
  refused("[scratchpad]\nmixture = [\"1:1\", \"1:2\"]\n", "twice");
  refused("[scratchpad]\nmixture = []\n", "empty");
  refused("[scratchpad]\nmax_total_length = 18\n", "level 3");
  refused("[scratchpad]\nmax_total_length = 12\nmixture = [\"1:1\"]\n", "level 2");
  refused("[data]\ntrain = \"x.txt\"\n", "data.train");
  refused("[gpt]\nsamples = 5\n", "gpt.samples");
  CHECK_THROWS_AS(TaskSettings(tiny + "[scratchpad]\nexplanation = \"some\"\n"), UsageError);
  CHECK_THROWS_WITH_AS(TaskSettings("task = \"scratchpads\"\n").task(), doctest::Contains("the tasks are gpt"),
                       UsageError);
  CHECK_THROWS_AS(TaskSettings(tiny).task(Use::evaluation), Error);
}

TEST_CASE("scratchpad: a tiny decoder learns level 1, saves itself, and is evaluated again alike") {
  TaskSettings settings(R"(
task = "scratchpad"
[model]
hidden_size = 64
num_layers = 2
num_heads = 2
max_positions = 32
initializer_range = 0.08
[training]
batch_size = 32
max_steps = 300
learning_rate = 4e-3
warmup_steps = 20
adam_beta2 = 0.98
eval_every = 0
save_every = 0
[scratchpad]
mixture = ["1:1"]
max_depth = 1
max_answer_length = 1
)");
  {
    const auto task = settings.task();
    CHECK(train_task(settings.config, settings.options, *task, settings.machine).exit_code() == 0);
  }
  const OpenedRun run = open_run(settings.folder.path() / "run");
  CHECK(run.config.filename() == "task.cfg");
  settings.config.init = run.model.string();
  const auto task = settings.task(Use::evaluation);
  std::string samples;
  const Metrics metrics = task->evaluate(settings.machine, samples);
  MESSAGE("exact_match ", metric(metrics, "exact_match"));
  CHECK(metric(metrics, "exact_match") >= 0.95);
  CHECK(metric(metrics, "exact_match") == metric(metrics, "exact_match_level_1"));
  CHECK(metric(metrics, "loss") < 0.1);
  CHECK(samples.find("level 1: ") != std::string::npos);
  CHECK(samples.find("of 197 right") != std::string::npos);
  CHECK(samples.find("right  (") != std::string::npos);
}

}  // namespace engine::test::test_scratchpad
