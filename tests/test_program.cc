// The program as its user meets it.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/version.h"
#include "tests/letters.h"
#include "tests/program.h"

namespace engine::test::test_program {

namespace {

const char* const task_config = R"(task = "scratchpad"
name = "small"
threads = 1
precision = "f32"
[model]
hidden_size = 16
num_layers = 1
num_heads = 2
max_positions = 128
[scratchpad]
max_depth = 1
mixture = ["1:1"]
eval_quantity = 4
[training]
batch_size = 4
max_steps = 3
[generation]
max_new_tokens = 3
)";

}  // namespace

TEST_CASE("program: what cannot be right ends with 2 and says what would be") {
  const Program program;
  CHECK(program.run({}).code == 2);
  program.fails({"trian"}, 2, "there is no command trian; the nearest is train");
  program.fails({"generat", "folder"}, 2, "the nearest is generate");
  program.fails({"--train"}, 2, "there is no command --train; the nearest is train");
  program.fails({"--versoin"}, 2, "there is no command --versoin; the nearest is --version");
  CHECK(program.run({"train"}).code == 2);
  const std::string config = program.write("task.cfg", task_config);
  program.fails({"train", config, "--lr", "1"}, 2, "there is no flag --lr; the nearest is --training.learning_rate");
  program.fails({"train", config, "--training.num_train_epochs", "1"}, 2, "the nearest is --training.epochs");
  program.fails({"train", config, "--validation_file", "a"}, 2, "the nearest is --data.eval");
  program.fails({"train", "--sed", "5", config}, 2, "there is no flag --sed; the nearest is --seed");
  program.fails({"train", config, "--trainig.batch_size=5"}, 2, "the nearest is --training.batch_size");
  program.fails({"train", config, "more"}, 2, "unexpected argument more");
  program.fails({"train", config, "--threads", "-1"}, 2, "--threads");
  program.fails({"train", config, "--threads", "100000"}, 2, "at most 1024");
  program.fails({"train", config, "--model.hidden_size", "9223372036854775807"}, 2, "model.hidden_size");
  program.fails({"train", config, "--training.best_metric", "f1"}, 2, "it measures exact_match");
  for (const char* attention : {"--cuda.attention", "--attention"})
    program.fails({"train", config, "--device", "cpu", attention, "cudnn"}, 2, "needs device = \"cuda\"");
  program.fails({"train", config, "--seed"}, 2, "--seed needs a value behind it");
  program.fails({"train", config, "--seed", "--resume"}, 2, "--seed needs a value behind it");
  program.fails({"train", config, "--seed", "1", "--seed", "2"}, 2, "--seed is given twice");
  program.fails({"train"}, 2, "train needs task.cfg");
  program.fails({"score", "folder"}, 2, "score needs --input");
  program.fails({"eval", "folder", "--split", "all"}, 2, "--split is \"all\": it must be train, eval or test");
  program.fails({"expressions", "file", "--quantity", "many"}, 2, "--quantity is \"many\": it must be an integer");
  program.fails({"generate", "folder", "--promt", "1"}, 2, "the nearest is --prompt");
  program.fails({"generate", "folder"}, 2, "--prompt TEXT or");
  program.fails({"generate", "folder", "--prompt", "1", "--input", "file"}, 2, "give one of them");
  program.fails({"embed", "folder", "--input", "file", "--training.batch_size", "5"}, 2,
                "--training.batch_size: embed does not read this option");
  program.fails({"score", "folder", "--input", "file", "--seed=5"}, 2, "--seed: score does not read this option");
  program.fails({"expressions", "file", "--device", "cpu"}, 2, "--device: expressions does not read this option");
  program.fails({"train", config, "--training.initial_learning_rate", "1e-3"}, 2,
                "training.initial_learning_rate is \"1e-3\": nothing reads it here, it needs training.warmup_steps");
  for (const std::string name : {"..", "a/b"})
    program.fails({"train", config, "--output_dir", program.file("runs"), "--name", name}, 2,
                  "name is \"" + name + "\": it is the name of one folder");
  program.fails({"train", config, "--output_dir", program.file("runs"), "--name", std::string(300, 'n')}, 2,
                "name has 300 bytes");
  CHECK_FALSE(std::filesystem::exists(program.file("runs")));
  program.write("wrong.cfg", "task = \"gpt\"\n[training]\nbatchsize = 3\n");
  program.fails({"train", program.file("wrong.cfg")}, 2, "wrong.cfg:3: there is no option training.batchsize");
}

TEST_CASE("program: each verb has its help, and info says what there is") {
  const Program program;
  for (const char* verb : {"train", "eval", "predict", "generate", "score", "embed", "tokenize", "info"}) {
    CAPTURE(verb);
    const Ended help = program.run({verb, "--help"});
    CHECK(help.code == 0);
    CHECK(help.out.find("--help") != std::string::npos);
    const bool has_task = verb == std::string("train") || verb == std::string("eval") || verb == std::string("predict");
    CHECK(help.out.find("--training.micro_batch_size") == std::string::npos);
    CHECK(std::count(help.out.begin(), help.out.end(), '\n') < 40);
    CHECK(help.out.find(std::string("Example: engine ") + verb) != std::string::npos);
    const Ended all = program.run({verb, "--help-all"});
    CHECK(all.code == 0);
    CHECK((all.out.find("--training.micro_batch_size") != std::string::npos) == has_task);
    const bool computes = verb != std::string("tokenize") && verb != std::string("info");
    CHECK((help.out.find("--precision") != std::string::npos) == computes);
  }
  CHECK(program.run({"--version"}).out == std::string("engine ") + version + "\n");
  const Ended all = program.run({"--help"});
  CHECK(all.code == 0);
  CHECK(all.out.find("  generate ") != std::string::npos);
  const std::string generate = program.run({"generate", "--help"}).out;
  CHECK(generate.find("--seed") != std::string::npos);
  CHECK(generate.find("--num_beams") != std::string::npos);
  CHECK(generate.find("--generation.num_beams") == std::string::npos);
  CHECK(generate.find("Every option of a task.cfg") == std::string::npos);
  CHECK(program.run({"generate", "--help-all"}).out.find("--generation.num_beams") != std::string::npos);
  const Ended section = program.run({"options", "generation"}), one = program.run({"options", "mlm.copies"});
  CHECK(section.out.starts_with("generation.temperature  (number, default 0.0, at least 0)\n    below 1 sharpens"));
  CHECK(section.out.find("    It needs generation.temperature above 0.\n") != std::string::npos);
  CHECK(section.out.find("training.") == std::string::npos);
  CHECK(one.out.starts_with("mlm.copies  (integer, "));
  CHECK(std::count(one.out.begin(), one.out.end(), '\n') == 3);
  CHECK(program.run({"options"}).out.find("Sections: model, data, training") != std::string::npos);
  program.fails({"options", "trainig"}, 2, "there is no section or option trainig; the nearest is training");
  const Ended info = program.run({"info"});
  CHECK(info.code == 0);
  CHECK(info.out.find("instruction set: ") != std::string::npos);
  CHECK(program.run({"info", "--options"}).out.find("learning_rate") != std::string::npos);
  program.fails({"info"}, 1, "cannot be written", "/dev/full");
}

TEST_CASE("program: trains, and its run folder is evaluated, goes on from prompts, scores and tokenizes") {
  const Program program;
  const std::string config = program.write("task.cfg", task_config), runs = program.file("runs"), run = runs + "/small";
  const Ended trained = program.run({"train", config, "--output_dir", runs});
  CAPTURE(trained.error);
  REQUIRE(trained.code == 0);
  CHECK(trained.out.find("eval at step 3") != std::string::npos);
  CHECK(program.run({"train", config, "--output_dir", runs}).out.find("has finished") != std::string::npos);

  const Ended evaluated = program.run({"eval", run});
  CHECK(evaluated.code == 0);
  CHECK(evaluated.out.find("exact_match_level_1 ") != std::string::npos);
  program.fails({"eval", run, "--split", "test"}, 2, "--split test");
  program.fails({"eval", program.file("nowhere")}, 1, "there is no such folder");
  const std::string long_name(300, 'x');
  program.fails({"generate", long_name, "--prompt", "a"}, 1, "engine: " + long_name + ": File name too long");
  program.fails({"score", run, "--input", long_name}, 1, "engine: " + long_name + ": File name too long");
  for (const std::string name : {"no-such-gpt2", "google/no-such-bert"})
    program.fails({"generate", name, "--prompt", "a"}, 1, "`hf download " + name + " --local-dir no-such-");
  program.fails({"score", run, "--input", "-"}, 1, "the standard input is /dev/stdin");
  program.fails({"eval", config}, 1, "task.cfg: is a file, not a folder");
  program.fails({"eval", run + "/best"}, 2, "task is missing, in the configuration or as --task");
  program.fails({"predict", run, "--input", config, "--output", program.file("out")}, 2, "this one is scratchpad");

  const std::string lines = program.write("lines.txt", "(1+2)\n(3*4)\n");
  const Ended tokenized = program.run({"tokenize", run, "--input", lines}),
              scored = program.run({"score", run, "--input", lines});
  CHECK(tokenized.code == 0);
  CHECK(nlohmann::json::parse(tokenized.out.substr(0, tokenized.out.find('\n')))["ids"].size() == 5);
  CHECK(scored.code == 0);
  CHECK(nlohmann::json::parse(scored.out.substr(0, scored.out.find('\n')))["tokens"] == 5);
  program.fails({"score", run, "--input", lines}, 1, "cannot be written", "/dev/full");
  program.fails({"score", run, "--input", program.file("nowhere.txt")}, 1, "nowhere.txt");
  for (const char* verb : {"score", "generate"})
    program.fails({verb, run, "--input", lines, "--device", "cpu", "--attention", "cudnn"}, 2, "needs device = ");
  program.fails({"tokenize", run, "--input", program.write("bad.txt", "1\n\xFF\n")}, 1, "bad.txt:2: ");

  // The run's task.cfg counts unless a flag says something else: three new tokens, or one.
  const Ended three = program.run({"generate", run, "--prompt", "(1+2)"});
  const Ended one = program.run({"generate", run, "--prompt", "(1+2)", "--max_new_tokens", "1"});
  CHECK(three.code == 0);
  CHECK(three.out.starts_with("(1+2)"));
  CHECK(three.out.size() <= 5 + 3 + 1);
  CHECK(one.out.size() <= 5 + 1 + 1);
  CHECK(one.out.starts_with("(1+2)"));
  // An option that does nothing is an error on the command line, whatever the run's task.cfg says of it.
  program.fails({"generate", run, "--prompt", "1", "--top_k", "5"}, 2,
                "--top_k: generation.top_k is \"5\": nothing reads it here, it needs generation.temperature above 0");
  CHECK(program.run({"generate", run, "--prompt", "1", "--top_k", "5", "--temperature", "1"}).code == 0);
  program.fails({"generate", run, "--prompt", "1", "--num_beams", "2"}, 2, "beam search is for encoder-decoders");
  CHECK(one.error == "");
  const std::string full(127, '1');  // <start> is the last of 128 positions
  CHECK(program.run({"generate", run, "--prompt", full}).error ==
        "1 text ends before generation.max_new_tokens = 3 tokens, at the model's 128 positions; its prompt fills all "
        "of them, so that there is no room for a new token\n");
  const std::string long_file = program.write("long.txt", full + "\n1\n" + full);
  const Ended long_lines = program.run({"generate", run, "--input", long_file});
  CHECK(long_lines.error.find("2 texts end before") == 0);
  CHECK(long_lines.error.find("2 prompts fill") != std::string::npos);

  const Ended many = program.run({"generate", run, "--input", lines});
  CHECK(many.code == 0);
  CHECK(nlohmann::json::parse(many.out.substr(0, many.out.find('\n')))["prompt"] == "(1+2)");
  write_file(run + "/task.cfg", "generation.max_tokens = 3\n");
  for (const char* verb : {"eval", "generate", "score"}) {
    std::vector<std::string> arguments{verb, run};
    if (verb != std::string("eval")) arguments.insert(arguments.end(), {"--input", lines});
    program.fails(arguments, 2, "task.cfg:1: there is no option generation.max_tokens");
  }
}

TEST_CASE("program: classifies sentences, predicts and embeds") {
  const Program program;
  const std::string tokenizer = program.file("tokenizer"), run = program.file("runs") + "/small";
  write_letters(tokenizer);
  const std::string config = program.write("task.cfg", R"(task = "sst2"
name = "small"
threads = 1
model = {architecture = "distilbert", hidden_size = 16, num_layers = 1, num_heads = 2, max_positions = 12}
training = {batch_size = 2, max_steps = 2}
)");
  const std::string data = program.write("data.tsv", "sentence\tlabel\na b\t1\nc d\t0\n");
  const std::vector<std::string> train{"train",        config, "--output_dir", program.file("runs"),
                                       "--data.train", data,   "--data.eval",  data};
  program.fails(train, 2, "data.tokenizer is missing");
  std::vector<std::string> with_tokenizer = train;
  with_tokenizer.insert(with_tokenizer.end(), {"--data.tokenizer", tokenizer});
  const Ended trained = program.run(with_tokenizer);
  CAPTURE(trained.error);
  REQUIRE(trained.code == 0);
  const Ended evaluated = program.run({"eval", run});
  CHECK(evaluated.out.find("matthews ") != std::string::npos);
  CHECK(evaluated.error == "");
  // The run has its own tokenizer: the folder that it came from may be gone.
  const std::string moved = tokenizer + "_moved";
  std::filesystem::rename(tokenizer, moved);
  CHECK(program.run({"eval", run}).out == evaluated.out);
  std::filesystem::rename(moved, tokenizer);
  // The standard output holds a name and a number a line, and samples are in a file where they are wanted.
  std::istringstream metrics(evaluated.out);
  for (std::string line; std::getline(metrics, line);) {
    std::istringstream words(line);
    std::string name, rest;
    double value = 0;
    CHECK((words >> name >> value));
    CHECK_FALSE((words >> rest));
  }
  CHECK(program.run({"eval", run, "--samples", program.file("samples.txt")}).out == evaluated.out);
  CHECK(read_text(program.file("samples.txt")).find(" (it is ") != std::string::npos);
  const std::string long_line = "a b c d e f g h i j k l m\n";
  const std::string long_data = program.write("long.tsv", "sentence\tlabel\n \t1\na\t0\n" + long_line.substr(0, 25) +
                                                              "\t1\n");
  CHECK(program.run({"eval", run, "--data.eval", long_data}).error ==
        "data.eval: 1 empty sentences are left out\ndata.eval: 1 sentences are cut to 12 tokens\n");

  const std::string input = program.write("input.tsv", "index\tsentence\n5\ta\n"), output = program.file("out.tsv");
  CHECK(program.run({"predict", run, "--input", input, "--output", output}).code == 0);
  CHECK(read_text(output).starts_with("index\tprediction\n5\t"));
  const std::string list = program.write("list.txt", "a b\n\nc\n");
  CHECK(program.run({"predict", run, "--input", list, "--output", output}).code == 0);
  const std::string predictions = read_text(output);
  CHECK(std::count(predictions.begin(), predictions.end(), '\n') == 4);
  CHECK(predictions.find("\n2\t") != std::string::npos);
  CHECK(program.run({"predict", run, "--input", input}).code == 2);
  std::string renamed = read_text(run + "/best/config.json");
  for (const auto& [from, to] : {std::pair<std::string, std::string>{"negative", "neg"}, {"positive", "pos"}})
    while (renamed.find(from + "\"") != std::string::npos) renamed.replace(renamed.find(from + "\""), from.size(), to);
  const std::string best = read_text(run + "/best/config.json");
  write_file(run + "/best/config.json", renamed);
  program.fails({"predict", run, "--input", list, "--output", output}, 2,
                "has the classes (neg, pos), task sst2 has (negative, positive)");
  write_file(run + "/best/config.json", best);
  program.fails({"predict", run, "--input", program.file("none.tsv"), "--output", output}, 1, "none.tsv");

  const std::string lines = program.write("lines.txt", "a b c\nd\n");
  const Ended embedded = program.run({"embed", run, "--input", lines});
  CHECK(embedded.code == 0);
  const auto line = nlohmann::json::parse(embedded.out.substr(0, embedded.out.find('\n')));
  CHECK(line["embedding"].size() == 16);
  CHECK(embedded.error == "");

  const std::string long_lines = program.write("long.txt", "a\n" + long_line),
                    long_input = program.write("long_input.tsv", "sentence\n" + long_line);
  CHECK(program.run({"embed", run, "--input", long_lines}).error == long_lines + ": 1 lines are cut to 12 tokens\n");
  CHECK(program.run({"predict", run, "--input", long_input, "--output", output}).error ==
        long_input + ": 1 lines are cut to 12 tokens\n");
}

TEST_CASE("program: a list of files stands behind its option, beside the configuration in any order") {
  const Program program;
  const std::string config = program.write("task.cfg", R"(task = "gpt"
name = "small"
threads = 1
model = {hidden_size = 16, num_layers = 1, num_heads = 2, max_positions = 16}
training = {batch_size = 2, max_steps = 1}
data = {tokenizer = "characters"}
gpt = {samples = 0}
)");
  const std::string a = program.write("a.txt", "the cat and the hat and the cap\n"),
                    b = program.write("b.txt", "the bat and the rat and the map\n"), runs = program.file("runs");
  for (const std::vector<std::string>& arguments : {std::vector<std::string>{config, "--data.train", a, b},
                                                    {"--data.train", a, b, config},
                                                    {"--data.train", a, b, config, "--resume", "false"},
                                                    {"--data.train=" + a + "," + b, config},
                                                    {"--data.train", a, "--data.train", b, config}}) {
    std::vector<std::string> all{"train", "--output_dir", runs};
    all.insert(all.end(), arguments.begin(), arguments.end());
    const Ended trained = program.run(all);
    CAPTURE(trained.error);
    CHECK(trained.code == 0);
    CHECK(read_text(runs + "/small/task.cfg").find("train = [\"" + a + "\", \"" + b + "\"]") != std::string::npos);
    std::filesystem::remove_all(runs);
  }
  program.fails({"train", config, a, "--data.train", b}, 2, "unexpected argument " + a);
}

TEST_CASE("program: closed standard streams are no place for the files of a run") {
  const Program program;
  const std::string config = program.write("task.cfg", task_config), runs = program.file("runs");
  const std::string command = program.path() + " train " + config + " --output_dir " + runs;
  CHECK(std::system((command + " --training.log_every 1 <&- >&- 2>&-").c_str()) == 0);
  const std::string metrics = read_text(runs + "/small/metrics.jsonl");
  std::istringstream lines(metrics);
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) CHECK(nlohmann::json::accept(line));
  CHECK(count == 4);  // three steps and an evaluation
  CHECK(std::system((command + " --training.max_steps 5 > /dev/null").c_str()) == 0);
  CHECK(read_text(runs + "/small/metrics.jsonl").starts_with(metrics));
  CHECK(std::system((program.path() + " info >&- 2>/dev/null").c_str()) != 0);
}

TEST_CASE("program: a folder that cannot be written ends training with 1") {
  const Program program;
  const std::string config = program.write("task.cfg", task_config);
  program.fails({"train", config, "--output_dir", config}, 1, "cannot make the folder");
}

TEST_CASE("program: vocabularies are trained, and tokenize") {
  const Program program;
  const std::string text = program.write("text.txt", "the cat and the hat\nThe cat and the cap\n"),
                    more = program.write("more.jsonl", "{\"text\": \"the bat\"}\n");
  for (const std::string kind : {"wordpiece", "bpe"}) {
    CAPTURE(kind);
    const std::string folder = program.file(kind);
    const Ended made = program.run(
        {"tokenize", "--train", kind, "--input", text, more, "--output", folder, "--vocab_size", "270", "--cased"});
    CHECK(made.code == 0);
    CHECK(made.out.starts_with(folder + ": "));
    CHECK(made.out.ends_with(" tokens from 47 bytes of text\n"));
    const Ended tokenized = program.run({"tokenize", folder, "--input", text});
    CHECK(tokenized.code == 0);
    const auto line = nlohmann::json::parse(tokenized.out.substr(0, tokenized.out.find('\n')));
    CHECK(line["ids"].size() < 12);
    CHECK(line["offsets"][0] == nlohmann::json{0, 3});
    const std::string pair = program.write("pair.txt", "the cat\tthe hat\n");
    const Ended framed =
        program.run({"tokenize", folder, "--input", pair, "--pairs", "--special_tokens", "--max_length", "4"});
    CHECK(framed.code == 0);
    CHECK(nlohmann::json::parse(framed.out)["type_ids"].size() == 4);
  }
  const std::string folder = program.file("wordpiece");
  program.fails({"tokenize", "--input", text}, 2, "takes a folder with a tokenizer before --input");
  program.fails({"tokenize", folder, "--train", "bpe", "--input", text, "--output", folder}, 2, "--train KIND");
  program.fails({"tokenize", "--train", "bpe", "--input", text}, 2, "--train needs --output");
  for (const char* option : {"--pairs", "--special_tokens", "--max_length=3"})
    CHECK(program.run({"tokenize", "--train", "bpe", "--input", text, "--output", folder, option}).code == 2);
  program.fails({"tokenize", folder, "--input", text, "--pairs"}, 1, "text.txt:1: has 0 tabs");
  program.fails({"tokenize", "--train", "bpe", "--input", text, "--output", folder, "--vocab_size", "100"}, 2,
                "257 in all");
  for (const std::string option : {"--min_frequency", "--most_characters"}) {
    const Ended refused = program.run({"tokenize", "--train", "bpe", "--input", text, "--output", folder, option, "0"});
    CHECK(refused.code == 2);
    CHECK(refused.error.find(option) != std::string::npos);
  }
  program.fails({"tokenize", "--train", "bpe", "--input", "none.txt", "--output", folder}, 1, "none.txt");
}

}  // namespace engine::test::test_program
