#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "core/error.h"
#include "core/options.h"
#include "training/config.h"

namespace engine::test::test_options {

namespace {

struct Everything {
  bool flag = false;
  int small = 3;
  int64_t large = 1;
  uint64_t seed = 1;
  float rate = 1e-3f;
  double wide = 0.1;
  std::string name = "a", choice = "linear";
  std::vector<std::string> files;

  void declare(Options& options) {
    options.add("seed", seed, any_value(), "of everything random");
    options.add("name", name, any_value(), "of the run");
    options.add("training.flag", flag, "a flag");
    options.add("training.small", small, between(0, 100), "a small number");
    options.add("training.batch_size", large, at_least(1), "sequences | a step");
    options.add("training.rate", rate, above(0), "a rate");
    options.add("training.wide", wide, from_up_to_below(0, 1), "a share");
    options.add("training.scheduler", choice, one_of({"linear", "cosine"}), "how it falls");
    options.add("data.train", files, "files");
  }
};

// Returns the error that reading `text` gives. Empty where it is read.
std::string error_of(const std::string& text) {
  Options options;
  Everything values;
  values.declare(options);
  try {
    options.read_text(text, "task.cfg");
  } catch (const UsageError& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("options: what was changed says where, what was set to its default is not changed") {
  Options options;
  int64_t steps = 3;
  float rate = 0.5f;
  options.add("steps", steps, any_value(), "");
  options.add("rate", rate, any_value(), "");
  options.read_text("steps = 4\nrate = 0.5\n", "task.cfg");
  CHECK(options.all()[0].is_changed());
  CHECK(options.all()[0].said == "task.cfg:1: steps is 4");
  CHECK_FALSE(options.all()[1].is_changed());
  options.set("steps", "3", "--steps");
  CHECK_FALSE(options.all()[0].is_changed());
  CHECK(options.all()[0].said == "--steps: steps is \"3\"");
}

TEST_CASE("options: a file's values reach their targets, and the rest keep their defaults") {
  Options options;
  Everything values;
  values.declare(options);
  options.read_text(
      "seed = 9223372036854775807\nname = 'x \"y\"'\n[training]\nflag = true\nbatch_size = 1_000\nrate = 1\n"
      "[data]\ntrain = ['a, b', 'c']\n", "task.cfg");
  CHECK(values.seed == 9223372036854775807u);
  CHECK(values.name == "x \"y\"");
  CHECK(values.flag);
  CHECK(values.large == 1000);
  CHECK(values.rate == 1.0f);
  CHECK(values.files == std::vector<std::string>{"a, b", "c"});
  CHECK(values.small == 3);
  CHECK(options.was_set("training.batch_size"));
  CHECK_FALSE(options.was_set("training.small"));
  options.read_text("data.train = 'one'\ntraining.rate = 2.5e-4", "task.cfg");
  CHECK(values.files == std::vector<std::string>{"one"});
  CHECK(values.rate == 2.5e-4f);
}

TEST_CASE("options: an error names file, line, what is wrong and what would be right") {
  CHECK(error_of("seed = 1\n\n[training]\nbatchsize = 4\n") ==
        "task.cfg:4: there is no option training.batchsize; the nearest is training.batch_size");
  CHECK(error_of("batch_size = 4\n") ==
        "task.cfg:1: there is no option batch_size; the nearest is training.batch_size");
  CHECK(error_of("[trainig]\n") == "task.cfg:1: there is no section [trainig]; the nearest is [training]");
  CHECK(error_of("[training]\nbatch_size = 0\n") ==
        "task.cfg:2: training.batch_size is 0: it must be an integer at least 1");
  CHECK(error_of("[training]\nbatch_size = '4'\n") == "task.cfg:2: training.batch_size is '4': it must be an integer");
  CHECK(error_of("[training]\nbatch_size = 4.5\n") == "task.cfg:2: training.batch_size is 4.5: it must be an integer");
  CHECK(error_of("[training]\nbatch_size = {}\n") == "task.cfg:2: training.batch_size is {}: it must be an integer");
  CHECK(error_of("training = 3\n").starts_with("task.cfg:1: there is no option training"));
  CHECK(error_of("[training]\nrate = 0\n") == "task.cfg:2: training.rate is 0: it must be a number above 0");
  CHECK(error_of("[training]\nrate = nan\n").ends_with("it must be a number above 0"));
  CHECK(error_of("[training]\nrate = inf\n").ends_with("it must be a number above 0"));
  CHECK(error_of("[training]\nrate = 1e39\n").ends_with("it must be a number above 0"));
  CHECK(error_of("[training]\nwide = 1\n").ends_with("it must be a number at least 0 and below 1"));
  CHECK(error_of("[training]\nsmall = 3000000000\n").ends_with("it must be an integer at least 0 and at most 100"));
  CHECK(error_of("[training]\nscheduler = 'square'\n").ends_with("it must be linear or cosine"));
  CHECK(error_of("[training]\nflag = 1\n").ends_with("training.flag is 1: it must be true or false"));
  CHECK(error_of("seed = -1\n") == "task.cfg:1: seed is -1: it must be an integer at least 0");
  CHECK(error_of("[data]\ntrain = ['a', 3]\n").ends_with("it must be a string or a list of strings"));
  CHECK(error_of("seed = 1\nseed = 2\n").starts_with("task.cfg:2: "));
  CHECK(error_of("seed = \n").starts_with("task.cfg:1: "));
  CHECK(error_of("seed = 1\n\n[= 3\nseed = 2\n") == "task.cfg:3: this is no TOML");
  CHECK(error_of("name = \"\xff\"\n").starts_with("task.cfg:1: "));
  CHECK(error_of("[training]\nflag = false\n").empty());
}

TEST_CASE("options: values of the command line") {
  Options options;
  Everything values;
  values.declare(options);
  options.set("training.rate", "1e-4", "command line");
  options.set("data.train", "a,b", "command line");
  options.set("training.flag", "true", "command line");
  CHECK(values.rate == 1e-4f);
  CHECK(values.files == std::vector<std::string>{"a", "b"});
  CHECK(values.flag);
  CHECK_THROWS_WITH_AS(options.set("training.batch_size", "4x", "command line"),
                       "command line: training.batch_size is \"4x\": it must be an integer at least 1", UsageError);
  CHECK_THROWS_WITH_AS(options.set("training.batchsize", "4", "command line"),
                       "command line: there is no option training.batchsize; the nearest is training.batch_size",
                       UsageError);
  CHECK_THROWS_AS(options.set("training.rate", "", "command line"), UsageError);
  CHECK_THROWS_AS(options.set("name", "\xff", "command line"), UsageError);
  CHECK_THROWS_AS(options.read_file("/no/such/file.cfg"), UsageError);
  CHECK_THROWS_AS(options.read_file("/"), UsageError);
}

TEST_CASE("options: the resolved configuration reads back as the same values") {
  Options options, again;
  Everything values, copy;
  values.declare(options);
  copy.declare(again);
  values.rate = 0.1f + 1e-8f;
  values.wide = 1.0 / 3;
  values.name = "quote \" backslash \\ tab \t newline \n é";
  values.files = {"a, b", "c\\d"};
  values.seed = 9223372036854775807u;
  again.read_text(options.toml(), "resolved");
  CHECK(copy.rate == values.rate);
  CHECK(copy.wide == values.wide);
  CHECK(copy.name == values.name);
  CHECK(copy.files == values.files);
  CHECK(copy.seed == values.seed);
  CHECK(again.toml() == options.toml());
}

TEST_CASE("options: a declaration says what the option needs, whether a run may change it, and its former names") {
  Options options;
  bool draws = false;
  int count = 0, other = 0;
  options.add("draws", draws, "whether tokens are drawn");
  options.add("generation.count", count, any_value(), "tokens to draw from")
      .needs([&] { return draws; }, "draws = true")
      .formerly("count")
      .may_change();
  options.add("generation.other", other, any_value(), "another one")
      .needs([&] { return count > 2; }, "a count above 2");
  CHECK(options.find("count") == options.find("generation.count"));
  CHECK(options.find("nothing") == nullptr);
  CHECK(options.find("generation.count")->can_change);
  CHECK_FALSE(options.find("draws")->can_change);
  options.refuse_unread();
  options.read_text("count = 3\n", "task.cfg");
  CHECK(count == 3);
  CHECK(options.was_set("generation.count"));
  CHECK(options.toml().find("[generation]\ncount = 3\n") != std::string::npos);
  CHECK_THROWS_WITH_AS(options.refuse_unread(),
                       "task.cfg:1: count is 3: nothing reads it here, it needs draws = true", UsageError);
  options.refuse_unread({"generation.other"});
  CHECK_THROWS_AS(options.refuse_unread({"generation.count"}), UsageError);
  options.set("draws", "true", "--draws");
  options.set("generation.other", "1", "--generation.other");
  options.refuse_unread();
  options.set("count", "2", "--count");
  CHECK_THROWS_WITH_AS(options.refuse_unread(), doctest::Contains("it needs a count above 2"), UsageError);
  const std::string row = "| `count` | integer | `0` |  | may change | tokens to draw from; needs draws = true |";
  CHECK(options.markdown().find(row) != std::string::npos);
  CHECK(options.sections() == std::vector<std::string>{"", "generation"});
}

TEST_CASE("options: the GPU's options of older files are read as those of [cuda]") {
  Config config;
  Options options;
  config.declare(options);
  options.read_text("attention = \"cudnn\"\nmatmul = \"own\"\nsynchronous = true\n", "task.cfg");
  CHECK(config.device_options.attention == "cudnn");
  CHECK(config.device_options.matmul == "own");
  CHECK(config.device_options.synchronous);
  CHECK(options.toml().find("\n[cuda]\nattention = \"cudnn\"\nmatmul = \"own\"\nsynchronous = true\n") !=
        std::string::npos);
}

TEST_CASE("options: every default of the configuration is allowed and described") {
  Config config, copy;
  Options options, again;
  config.declare(options);
  copy.declare(again);
  again.read_text(options.toml(), "defaults");
  CHECK(again.toml() == options.toml());
  for (const Options::Option& option : options.all()) {
    INFO(option.name);
    CHECK(option.help.size() > 10);
    CHECK(options.markdown().find(option.key() + "` | " + option.type) != std::string::npos);
  }
  CHECK(options.markdown().find("## [training]") != std::string::npos);
}

}  // namespace engine::test::test_options
