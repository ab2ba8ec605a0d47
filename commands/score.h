// score: how likely a model finds each line of a file.
#pragma once

#include <iosfwd>
#include <string>

#include "tasks/language_model.h"

namespace engine {

// {"tokens": n, "log_likelihood": x, "perplexity": p, "log_probability": [...], "rank": [...]} for each line of a file.
// The two lists say of each token but the first, which is not scored, its log probability and its rank: x is the sum of
// the log probabilities, and rank 1 the token that the model finds likeliest (kernels/sampling/rank.h). A line has at
// most most_scored_tokens. An error of a line names file and line. A failed write is an Error.
void score_lines(Machine& machine, LanguageModel& language, const std::string& input_file, std::ostream& out);

}  // namespace engine
