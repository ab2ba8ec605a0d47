// The words of answers, as scorers compare them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace engine {

// Returns an answer as SQuAD's scorer compares it: in lower case, without ASCII punctuation, without the words a, an
// and the, its words one space apart.
std::string normalized_answer(std::string_view answer);

// Returns an answer as the scorer of MLQA compares it (Lewis et al. 2020, section 5): in lower case, without Unicode's
// punctuation, without the articles of its language; where that is Chinese every character of its script is a word. The
// language is a code (en, es, de, vi, ar, hi, zh) or an English name; others have no articles.
std::string normalized_answer_in(const std::string& language, std::string_view answer);

// Returns what stands between white space.
std::vector<std::string> words_in(std::string_view text);

}  // namespace engine
