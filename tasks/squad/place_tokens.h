// Special tokens tell a reader where in a document it is, as a system for chaii had them. "[WORD=n]" stands before a
// line or sentence of more than 8 characters: n is the greatest bound that is not above the characters of the document
// before it. "[CONTEXT=n]" stands before all and does the same for the length of the document.
#pragma once

#include <string>
#include <vector>

#include "tasks/squad/config.h"
#include "tasks/squad/examples.h"
#include "text/tokenizer.h"

namespace engine {

// Returns the tokens that the options ask for.
std::vector<std::string> place_tokens(const SquadConfig& config);

// Encodes a context with them. They have no characters: their offsets are empty. Text between two of them is encoded by
// itself, as that between special tokens of a text is. An Error where the tokenizer does not have them.
Encoding encode_with_places(const Tokenizer& tokenizer, const Context& context, const SquadConfig& config);

}  // namespace engine
