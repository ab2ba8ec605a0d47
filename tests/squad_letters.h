// Small questions of the task squad about texts of letters.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "core/random.h"
#include "tasks/squad/squad.h"
#include "tests/letters.h"
#include "tests/task_settings.h"

namespace engine::test {

using nlohmann::json;

inline json question(const std::string& id, const std::string& text, const std::string& answer, int64_t start) {
  return {{"id", id}, {"question", text}, {"answers", {{{"text", answer}, {"answer_start", start}}}}};
}
inline std::string file_of(const std::string& context, const std::vector<json>& questions) {
  return json{{"data", {{{"title", "t"}, {"paragraphs", {{{"context", context}, {"qas", questions}}}}}}}}.dump();
}

// A context is some letters, with "x" before the one that is asked for. The question is one letter of no meaning.
inline std::string letters_file(uint64_t seed, int count) {
  Random random(seed, 1);
  json paragraphs = json::array();
  for (int i = 0; i < count; ++i) {
    const int words = 3 + static_cast<int>(random.below(5));
    const int at = static_cast<int>(random.below(static_cast<uint32_t>(words)));
    std::string context, answer;
    int64_t start = 0;
    for (int w = 0; w < words; ++w) {
      if (w == at) context += "x ";
      if (w == at) start = static_cast<int64_t>(context.size());
      const std::string letter(1, static_cast<char>('b' + random.below(20)));  // a is an article, and has no F1
      if (w == at) answer = letter;
      context += letter + (w + 1 < words ? " " : "");
    }
    paragraphs.push_back({{"context", context}, {"qas", {question("q" + std::to_string(i), "y", answer, start)}}});
  }
  return json{{"data", {{{"paragraphs", paragraphs}}}}}.dump();
}

struct Letters : TaskSettings {
  Letters() : TaskSettings(
      "task = \"squad\"\n[model]\narchitecture = \"bert\"\nhidden_size = 32\nnum_layers = 2\nnum_heads = 2\n"
      "max_positions = 32\ninitializer_range = 0.2\n[squad]\nmax_length = 32\ndoc_stride = 4\n[training]\n"
      "batch_size = 16\nmax_steps = 250\nlearning_rate = 4e-3\neval_every = 0\nsave_every = 0\n") {
    config.data.tokenizer = file("tokenizer");
    write_letters(config.data.tokenizer);
    config.data.train = {write("train.json", letters_file(1, 300))};
    config.data.eval = {write("dev.json", letters_file(2, 60))};
  }
  SquadTask& made() {
    task_ = task();
    return static_cast<SquadTask&>(*task_);
  }
  std::unique_ptr<Tokenizer> tokenizer() { return load_tokenizer(config.data.tokenizer); }

 private:
  std::unique_ptr<Task> task_;
};

inline QuestionSet read(Letters& letters, const std::string& text, AnswersWanted wanted = AnswersWanted::yes) {
  QuestionSet set;
  read_questions(letters.write("questions.json", text), wanted, set);
  return set;
}

}  // namespace engine::test
