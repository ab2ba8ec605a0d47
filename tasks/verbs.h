// What each verb of the program does, once its command line is read. They return the program's exit code.
#pragma once

#include <functional>
#include <string>

#include "tasks/commands.h"
#include "tasks/settings.h"

namespace engine {

// What a command line says besides options.
struct Arguments {
  std::string file, folder, prompt, input, output, split = "eval";
  int64_t quantity = 10000;
  bool list_options = false;
  TokenizeRequest tokenizing;
  VocabularyRequest vocabulary;
};

int train(Settings& settings, const Arguments& arguments);
int evaluate(Settings& settings, const Arguments& arguments);
int predict(Settings& settings, const Arguments& arguments);
int generate(Settings& settings, const Arguments& arguments);
int score(Settings& settings, const Arguments& arguments);
int embed(Settings& settings, const Arguments& arguments);
int tokenize(const Arguments& arguments);
int make_expressions(Settings& settings, const Arguments& arguments);

}  // namespace engine
