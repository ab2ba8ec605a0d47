// Texts that a model wrote, with the thoughts among them.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "text/tokenizer.h"

namespace engine {

// Returns the text of tokens without special ones. Thoughts are no text: "shown" spells each at its place, "hidden"
// leaves them out, and "counted" gives their number in a line behind the text.
std::string text_with_thoughts(const Tokenizer& tokenizer, std::span<const int32_t> tokens, int32_t thought,
                               const std::string& show);

}  // namespace engine
