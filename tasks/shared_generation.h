// Ranks share the generation of texts.
#pragma once

#include <functional>
#include <string>

#include "core/communicator.h"
#include "models/generation.h"

namespace engine {

// A generator, with the ranks that share the generation of texts, and the parts into which they cut it
// (Machine::parts).
struct SharedGenerator {
  Generator& generator;
  Communicator& ranks;
  int64_t parts;
};

// Returns what text_of makes of the new tokens of each prompt. All ranks call it, and each generates its share. Draws
// are those of one rank. sources are empty where the model has no encoder.
std::vector<std::string> generate_texts(const SharedGenerator& shared, std::span<const std::vector<int32_t>> prompts,
                                        std::span<const std::vector<int32_t>> sources, GenerationOptions options,
                                        const std::function<std::string(std::span<const int32_t>)>& text_of);

}  // namespace engine
