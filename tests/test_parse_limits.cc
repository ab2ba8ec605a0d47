// The time and the memory of a parser are bounded by the size of its input: nesting, counts that a file only claims,
// and texts that make a careless parser quadratic.
#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>

#include "core/error.h"
#include "core/process_memory.h"
#include "tests/fuzz/targets.h"

namespace engine::test::test_parse_limits {

namespace {

struct Cost {
  double seconds = 0;
  size_t bytes = 0;
  bool is_good = false;  // the parser came to an end
};

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         1e-6 * static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

// Runs a target in a process of its own, which ends after 60 seconds of work.
Cost cost_of(const fuzz::Target& target, const std::string& input) {
  int ends[2];
  require(pipe(ends) == 0, "no pipe");
  const pid_t child = fork();
  if (child == 0) {
    for (const int crash : {SIGSEGV, SIGABRT, SIGBUS, SIGFPE}) std::signal(crash, SIG_DFL);
    const rlimit limit{60, 60}, none{0, 0};
    setrlimit(RLIMIT_CPU, &limit);
    setrlimit(RLIMIT_CORE, &none);
    Cost cost;
    const size_t before = peak_memory();
    const double start = cpu_seconds();
    try {
      fuzz::run_target(target, input);
      cost.is_good = true;
    } catch (const std::exception& error) {
      static_cast<void>(!write(2, error.what(), std::strlen(error.what())));
    }
    cost.seconds = cpu_seconds() - start;
    cost.bytes = peak_memory() - before;
    _exit(write(ends[1], &cost, sizeof cost) == sizeof cost ? 0 : 1);
  }
  close(ends[1]);
  Cost cost;
  if (read(ends[0], &cost, sizeof cost) != sizeof cost) cost = {};
  close(ends[0]);
  waitpid(child, nullptr, 0);
  return cost;
}

const fuzz::Target& target_of(const std::string& name) {
  for (const fuzz::Target& target : fuzz::targets())
    if (name == target.name) return target;
  fail("no target is named ", name);
}

std::string repeated(const std::string& piece, size_t size) {
  std::string text;
  while (text.size() < size) text += piece;
  return text;
}

// Numbers stand in place of each # of a piece.
std::string numbered(const std::string& piece, size_t size) {
  std::string text;
  for (size_t i = 0; text.size() < size; ++i)
    for (const char c : piece) c == '#' ? text += std::to_string(i) : text += c;
  return text;
}

using Make = std::function<std::string(size_t size)>;

// Checks that four times the input takes less than nine times as long, and that memory is in proportion to it.
void check_cost(const char* target, const char* what, const Make& make) {
  INFO(std::string(target), ": ", std::string(what));
  constexpr size_t size = 100'000;
  const std::string small = make(size), large = make(4 * size);
  const Cost first = cost_of(target_of(target), small), second = cost_of(target_of(target), large);
  INFO(first.seconds, " s and ", second.seconds, " s, ", second.bytes, " bytes");
  CHECK(first.is_good);
  CHECK(second.is_good);
  CHECK(second.seconds < 9 * first.seconds + 0.3);
  if (std::getenv("ENGINE_TEST_COSTS"))
    std::printf("%6.3f %6.3f s %6zu MiB  %s: %s\n", first.seconds, second.seconds, second.bytes >> 20, target, what);
  CHECK(second.bytes < (size_t{64} << 20) + 200 * large.size());
}

std::string with_length(const std::string& header) {
  uint64_t length = header.size();
  std::string file(sizeof length, ' ');
  std::memcpy(file.data(), &length, sizeof length);
  return file + header;
}

}  // namespace

TEST_CASE("parse limits: JSON") {
  check_cost("json", "lists in lists", [](size_t n) { return std::string(n, '['); });
  check_cost("json", "objects in objects", [](size_t n) { return repeated("{\"a\":", n); });
  check_cost("json", "short lists", [](size_t n) { return "[" + repeated("[],", n) + "0]"; });
  check_cost("json", "keys", [](size_t n) { return "{" + numbered("\"#\":1,", n) + "\"x\":1}"; });
  check_cost("json", "a key twice", [](size_t n) { return "{" + repeated("\"a\":1,", n) + "\"a\":1}"; });
  check_cost("json", "a long number", [](size_t n) { return std::string(n, '9') + "e" + std::string(n, '9'); });
  check_cost("json", "a string without an end", [](size_t n) { return "\"" + repeated("\\u00e9", n); });
  check_cost("json", "quotes", [](size_t n) { return std::string(n, '"'); });
  check_cost("json_lines", "empty lines", [](size_t n) { return std::string(n, '\n'); });
  check_cost("json_lines", "short lines", [](size_t n) { return repeated("{\"text\":\"\"}\n", n); });
  check_cost("metrics", "lines", [](size_t n) { return numbered("{\"step\":#,\"loss\":1e9}\n", n); });
  check_cost("metrics", "names", [](size_t n) { return "{\"step\":1" + numbered(",\"a#\":1", n) + "}\n"; });
  check_cost("metrics", "lists in lists", [](size_t n) { return "{\"step\":1,\"a\":" + std::string(n, '['); });
}

TEST_CASE("parse limits: safetensors") {
  check_cost("safetensors", "a header larger than the file", [](size_t n) {
    return std::string("\xff\xe0\xf5\x05\0\0\0\0{", 9) + std::string(n, ' ');
  });
  check_cost("safetensors", "tensors without elements", [](size_t n) {
    const std::string empty = R"("#":{"dtype":"F32","shape":[0,9223372036854775807],"data_offsets":[0,0]},)";
    return with_length("{" + numbered(empty, n) + "\"x\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}");
  });
  check_cost("safetensors", "a shape of many dimensions", [](size_t n) {
    const std::string ones = repeated("1,", n);
    return with_length(R"({"a":{"dtype":"F32","shape":[)" + ones + R"(1],"data_offsets":[0,4]}})") + "1234";
  });
  check_cost("safetensors", "a shape of more than there is", [](size_t n) {
    return with_length("{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,4]}}") +
           std::string(n, ' ');
  });
}

TEST_CASE("parse limits: configurations") {
  check_cost("toml", "lists in lists", [](size_t n) { return "x = " + std::string(n, '['); });
  check_cost("toml", "tables in tables", [](size_t n) { return "x = " + repeated("{a = ", n); });
  check_cost("toml", "a dotted key", [](size_t n) { return repeated("a.", n) + "a = 1\n"; });
  check_cost("toml", "a dotted header", [](size_t n) { return "[" + repeated("a.", n) + "a]\n"; });
  check_cost("toml", "headers", [](size_t n) { return numbered("[a#]\n", n); });
  check_cost("toml", "lists of tables", [](size_t n) { return repeated("[[a]]\n", n); });
  check_cost("toml", "comments", [](size_t n) { return repeated("#\n", n); });
  check_cost("toml", "an unknown name", [](size_t n) { return std::string(n, 'a') + " = 1\n"; });
  check_cost("toml", "a long value", [](size_t n) { return "seed = \"" + std::string(n, 'a') + "\"\n"; });
  check_cost("toml", "a list of an option", [](size_t n) { return "data.train = [" + numbered("\"#\",", n) + "]\n"; });
  check_cost("toml", "quotes", [](size_t n) { return "name = '''" + repeated("'' ", n); });
  const std::string sweep = "task = \"task.cfg\"\nname = \"s\"\n";
  check_cost("sweep", "a grid of many values", [&](size_t) {
    return sweep + "[options]\nmodel.num_layers = { integers = [1, 1000000000000] }\n";
  });
  check_cost("sweep", "a grid of many options", [&](size_t n) {
    std::string text = sweep + "[options]\n";
    for (const char* option : {"model.num_layers", "model.num_heads", "model.hidden_size", "training.batch_size"})
      text += std::string(option) + " = [" + numbered("1#,", n / 4) + "]\n";
    return text;
  });
  check_cost("sweep", "many trials", [&](size_t) {
    return sweep + "method = \"random\"\ntrials = 1000000000000\n[options]\nmodel.num_layers = [1, 2]\n";
  });
  check_cost("sweep", "many rungs", [&](size_t) {
    return sweep + "method = \"halving\"\nmin_steps = 1\nmax_steps = 9000000000000000000\nfactor = 2\n" +
           "[options]\nmodel.num_layers = [1]\n";
  });
  check_cost("model_config", "many layers", [](size_t) {
    return "{\"model_type\": \"gpt2\", \"n_layer\": 2147483647, \"n_embd\": 2147483647, \"n_head\": 1, \"vocab_size\": "
           "2147483647, \"n_positions\": 2147483647}";
  });
  check_cost("model_config", "many labels", [](size_t n) {
    return "{\"model_type\": \"bert\", \"id2label\": {" + numbered("\"#\": \"a#\",", n) + "\"x\": \"y\"}}";
  });
}

TEST_CASE("parse limits: tables, questions, sentences and expressions") {
  check_cost("csv", "quotes", [](size_t n) { return std::string(n, '"'); });
  check_cost("csv", "fields", [](size_t n) { return std::string(n, ','); });
  check_cost("csv", "rows", [](size_t n) { return repeated("a\n", n); });
  check_cost("csv", "a field of lines", [](size_t n) { return "\"" + std::string(n, '\n') + "\""; });
  const auto squad = [](const std::string& context, const std::string& questions) {
    return "{\"data\": [{\"paragraphs\": [{\"context\": \"" + context + "\", \"qas\": [" + questions +
           "{\"id\": \"x\", \"question\": \"q\", \"is_impossible\": true}]}]}]}";
  };
  check_cost("squad_json", "answers at another place", [&](size_t n) {
    return squad(repeated("ab ", n / 2),
                 numbered(R"({"id":"#","question":"q","answers":[{"text":"ab a","answer_start":#}]},)", n / 2));
  });
  check_cost("squad_json", "answers that are nowhere", [&](size_t n) {
    return squad(std::string(n / 2, 'a'),
                 numbered(R"({"id":"#","question":"q","answers":[{"text":"aaaaaaab","answer_start":#}]},)", n / 2));
  });
  check_cost("squad_json", "answers of one question", [&](size_t n) {
    return squad(std::string(n / 2, 'a'), "{\"id\":\"a\",\"question\":\"q\",\"answers\":[" +
                                              repeated("{\"text\":\"b\",\"answer_start\":0},", n / 2) +
                                              "{\"text\":\"b\",\"answer_start\":0}]},");
  });
  check_cost("squad_table", "rows of one context", [](size_t n) {
    return "id,context,question,answer_text,answer_start\n" + numbered("#,a b c,q,b,2\n", n);
  });
  check_cost("glue", "lines", [](size_t n) { return "sentence\tlabel\n" + repeated("a\t1\n", n); });
  check_cost("glue", "tabs", [](size_t n) { return std::string(n, '\t'); });
  check_cost("choices", "completions", [](size_t n) {
    return "{\"context\": \"1\", \"completions\": [" + repeated("\"1\",", n) + "\"2\"], \"answer\": 0}\n";
  });
  check_cost("expression", "parentheses", [](size_t n) { return std::string(n, '('); });
  check_cost("expression_file", "lists", [](size_t n) {
    return "{\"version\": \"expressions 1\", \"config\": {\"max_answer_length\": 3, \"max_total_length\": 88, "
           "\"max_depth\": 2, \"held_out\": 16}, \"data\": {\"train\": {\"1\": [" +
           repeated("\"(1+2)\",", n) + "\"1\"]}, \"eval\": {}}}";
  });
  check_cost("state", "lines of a configuration", [](size_t n) { return "{}\n%%\n" + numbered("a# = 1\n", n); });
  check_cost("state", "new parameters", [](size_t n) {
    return "{\"step\": 1, \"has_best\": false, \"best\": 0, \"best_step\": 0, \"evaluations_without_better\": 0, "
           "\"window_loss\": 0, \"window_scored\": 0, \"window_correct\": 0, \"fresh\": [" +
           numbered("\"a#\",", n) + "\"b\"]}";
  });
}

TEST_CASE("parse limits: tokenizers") {
  const std::string word_piece = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n", text = "\n%%\n\n%%\nthe cat";
  check_cost("wordpiece", "tokens", [&](size_t n) { return word_piece + numbered("a#\n", n) + text; });
  check_cost("wordpiece", "a token twice", [&](size_t n) { return word_piece + repeated("a\n", n) + text; });
  check_cost("wordpiece", "a long token", [&](size_t n) { return word_piece + std::string(n, 'a') + text; });
  check_cost("wordpiece", "a long word", [&](size_t n) {
    return word_piece + "a\n##a\n" + numbered("##a#\n", n) + "\n%%\n\n%%\n" + std::string(4000, 'a');
  });
  check_cost("wordpiece", "added tokens", [&](size_t n) {
    return word_piece + "\n%%\n{\"additional_special_tokens\": [" + numbered("\"<a#>\",", n) +
           "\"<b>\"]}\n%%\nthe <a1>";
  });
  check_cost("bpe", "an id far away", [](size_t) { return "{\"a\": 2147483647}\n%%\n\n%%\n\n%%\na"; });
  check_cost("bpe", "tokens", [](size_t n) {
    return "{" + numbered("\"a#\":#,", n) + "\"a\":999999}\n%%\n\n%%\n\n%%\na";
  });
  check_cost("bpe", "merges", [](size_t n) {
    return "{\"a\":0,\"b\":1,\"ab\":2}\n%%\n" + repeated("a b\n", n) + "\n%%\n\n%%\n" + repeated("ab", 4000);
  });
  check_cost("bpe", "merges of merges", [](size_t n) {
    std::string tokens = "{\"a\":0", merges, token = "a";
    for (size_t i = 1; token.size() < 300 && tokens.size() < n; ++i) {
      merges += token + " a\n";
      token += "a";
      tokens += ",\"" + token + "\":" + std::to_string(i);
    }
    return tokens + "}\n%%\n" + merges + "\n%%\n\n%%\n" + std::string(4000, 'a');
  });
  const auto varint = [](size_t number) {
    std::string bytes;
    for (; number > 127; number >>= 7) bytes += static_cast<char>((number & 127u) | 128u);
    return bytes + static_cast<char>(number);
  };
  check_cost("sentencepiece", "empty pieces", [](size_t n) {
    return std::string(1, '\0') + repeated(std::string("\x0a\0", 2), n);
  });
  check_cost("sentencepiece", "pieces", [&](size_t n) {
    std::string bytes(1, '\0');
    for (size_t i = 0; bytes.size() < n; ++i) {
      const std::string piece = "a" + std::to_string(i);
      bytes += "\x0a" + varint(piece.size() + 2) + "\x0a" + varint(piece.size()) + piece;
    }
    return bytes;
  });
  check_cost("sentencepiece", "a length beyond the end", [](size_t n) {
    return std::string("\0\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 11) + std::string(n, 'a');
  });
  const auto tokenizer = [](const std::string& vocab, const std::string& merges, const std::string& added) {
    return "{\"added_tokens\": [" + added + "], \"normalizer\": null, \"pre_tokenizer\": {\"type\": \"ByteLevel\"}, " +
           "\"model\": {\"type\": \"BPE\", \"vocab\": {" + vocab + "}, \"merges\": [" + merges +
           "]}}\n%%\n\n%%\nthe <1> cat";
  };
  check_cost("tokenizer_json", "added tokens", [&](size_t n) {
    return tokenizer("\"a\": 0", "",
                     numbered("{\"id\": 1#, \"content\": \"<#>\"},", n) + "{\"id\": 1, \"content\": \"b\"}");
  });
  check_cost("tokenizer_json", "an added token far away", [&](size_t) {
    return tokenizer("\"a\": 0", "", "{\"id\": 2147483647, \"content\": \"b\"}");
  });
  check_cost("tokenizer_json", "normalizers in normalizers", [&](size_t n) {
    return "{\"normalizer\": " + repeated("{\"type\": \"Sequence\", \"normalizers\": [", n);
  });
}

}  // namespace engine::test::test_parse_limits
