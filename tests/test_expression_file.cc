#include "tasks/scratchpad/expression_file.h"

#include <doctest/doctest.h>

#include <set>

#include "core/files.h"
#include "tests/task_settings.h"

namespace engine::test::test_expression_file {

namespace {

ScratchpadConfig small() {
  ScratchpadConfig config;
  config.max_depth = 3;
  config.max_answer_length = 2;
  config.max_total_length = 60;
  return config;
}

std::set<std::string> inputs(const std::vector<const Expression*>& list) {
  std::set<std::string> all;
  for (const Expression* e : list) all.insert(e->input());
  return all;
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

}  // namespace

TEST_CASE("expression file: what is written is read, level by level, the splits apart") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "expressions.json";
  ExpressionFile::write(path, small(), 500, 7);
  const ExpressionFile file(path, small(), {0, 1, 2, 3});
  CHECK(inputs(file.sample(1, 1, 100000)).size() == 300);  // exhaustive
  std::set<std::string> trained;
  Random random(1, 0);
  for (int level = 2; level <= 3; ++level) {
    const auto evaluated = inputs(file.sample(1, level, 100000));
    CHECK(evaluated.size() == 500);
    for (int i = 0; i < 2000; ++i) {
      const Expression* e = file.draw(random, level);
      CHECK(e->level == level);
      CHECK(e->most_digits <= 2);
      CHECK_FALSE(evaluated.count(e->input()));
    }
    // A sample is fixed for a seed, and a part of all.
    CHECK(inputs(file.sample(1, level, 50)) == inputs(file.sample(1, level, 50)));
    CHECK(inputs(file.sample(1, level, 50)) != inputs(file.sample(2, level, 50)));
  }
  const std::string text = read_text(path);
  ExpressionFile::write(path, small(), 500, 7);
  CHECK(read_text(path) == text);
  ExpressionFile::write(path, small(), 500, 8);
  CHECK(ExpressionFile(path, small(), {1}).digest() != file.digest());
}

TEST_CASE("expression file: the splits meet where nothing is held out") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "expressions.json";
  ScratchpadConfig config = small();
  config.held_out = 0;
  config.max_depth = 2;
  ExpressionFile::write(path, config, 1 << 20, 7);
  const ExpressionFile file(path, config, {2});
  const auto evaluated = inputs(file.sample(1, 2, 1 << 20));
  Random random(1, 0);
  for (int i = 0; i < 500; ++i) CHECK(evaluated.count(file.draw(random, 2)->input()));
  // The data is that of a file that keeps them apart.
  const std::string text = read_text(path);
  write_file(path, replaced(text, "\"held_out\":0", "\"held_out\":16"));
  config.held_out = 16;
  CHECK_THROWS_WITH_AS(ExpressionFile(path, config, {2}), doctest::Contains("both for training and for evaluation"),
                       Error);
}

TEST_CASE("expression file: another digest, other limits, damage and missing levels are refused") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "expressions.json";
  ScratchpadConfig config = small();
  config.max_depth = 2;
  ExpressionFile::write(path, config, 20, 7);
  const std::string text = read_text(path);
  const auto refused = [&](const std::string& content, const char* what, const ScratchpadConfig& asked) {
    write_file(path, content);
    CHECK_THROWS_WITH_AS(ExpressionFile(path, asked, {1, 2}), doctest::Contains(what), Error);
  };
  ScratchpadConfig other = config;
  other.max_answer_length = 3;
  refused(text, "scratchpad.max_answer_length is 3, but", other);
  other = config;
  other.max_depth = 3;
  refused(text, "scratchpad.max_depth is 3, but", other);
  other = config;
  other.held_out = 4;
  refused(text, "scratchpad.held_out is 4, but", other);
  refused(replaced(text, "\"(", "\"(1+(2*3))\",\"("), "has level 2, not 1", config);
  refused(replaced(text, "\"1\":[\"(", "\"1\":[\"(0-0)\",\"("), "the digest of its data is", config);
  refused(replaced(text, "\"1\":[\"(", "\"1\":[\"(0/0)\",\"("), "data.train.1[0]", config);
  refused(text.substr(0, text.size() / 2), "expressions.json", config);
  refused("{}", "engine expressions", config);
  write_file(path, text);
  CHECK_THROWS_WITH_AS(ExpressionFile(path, config, {3}), doctest::Contains("level 3 to train on"), UsageError);
}

TEST_CASE("expression file: a task takes its expressions from it, and tells it in its fingerprint") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "expressions.json";
  ScratchpadConfig config = small();
  config.max_depth = 2;
  ExpressionFile::write(path, config, 30, 7);
  const std::string model = R"(
task = "scratchpad"
[model]
hidden_size = 32
num_layers = 1
num_heads = 2
max_positions = )";
  const std::string own = R"(
[training]
batch_size = 16
max_steps = 4
[scratchpad]
max_depth = 2
max_answer_length = 2
max_total_length = 60
eval_quantity = 20
data = ")" + path.string() + "\"\n";
  TaskSettings settings(model + "64" + own);
  const auto task = settings.task();
  CHECK(task->fingerprint().find(ExpressionFile(path, config, {1}).digest()) != std::string::npos);
  SequenceBatch batch;
  std::set<std::string> seen;
  const Tokenizer& tokenizer = causal(*task).tokenizer();
  for (int64_t step = 0; step < 200; ++step) {
    task->batch_of(step, batch);
    for (size_t s = 0; s < 16; ++s) {
      std::string text;
      for (auto i = static_cast<size_t>(batch.offsets[s]); batch.tokens[i] != tokenizer.id_of("<start>"); ++i)
        text += tokenizer.token(batch.tokens[i]);
      seen.insert(text);
    }
  }
  CHECK(seen.size() == 60);  // 30 a level
  CHECK_THROWS_WITH_AS(TaskSettings(model + "20" + own).task(), doctest::Contains("model.max_positions"), UsageError);
}

}  // namespace engine::test::test_expression_file
