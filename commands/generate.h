// generate: goes on from a prompt, or from each line of a file.
#pragma once

#include <iosfwd>
#include <string>

#include "tasks/language_model.h"
#include "training/config.h"

namespace engine {

struct GenerateRequest {
  std::string prompt;      // one prompt, or
  std::string input_file;  // a file with a prompt a line
  GenerationConfig generation;
  uint64_t seed = 1;
};
// One prompt gives its text and what follows, as it is generated. A file gives {"prompt": ..., "text": ...} a line, in
// its order. An encoder-decoder reads a prompt with its encoder and gives the text that its decoder writes. A notice on
// the standard error counts the texts that the model's positions end. An error of a line names file and line. What
// cannot be written is an Error.
void generate_text(Machine& machine, LanguageModel& language, const GenerateRequest& request, std::ostream& out);

// Says which seed the text comes from, so that it can be had again, or that a given one changes nothing. May be empty.
std::string seed_text(const GenerationConfig& generation, uint64_t seed, bool given);

}  // namespace engine
