#include "tasks/blotching/writing.h"

namespace engine {

std::vector<std::string> write_rows(const Writing& writing, std::span<const std::string> problems) {
  std::vector<std::vector<int32_t>> prompts;
  for (const std::string& problem : problems) prompts.push_back(writing.format.prompt(problem, writing.level));
  const GenerationOptions options{.temperature = static_cast<float>(writing.temperature),
                                  .max_new_tokens = static_cast<int>(writing.most_tokens),
                                  .seed = writing.seed,
                                  .end_tokens = {writing.format.end_token()}};
  std::vector<std::string> rows =
      generate_texts(writing.generator, prompts, {}, options,
                     [&](std::span<const int32_t> tokens) { return writing.format.text_of(tokens); });
  for (size_t i = 0; i < rows.size(); ++i) rows[i].insert(0, problems[i] + "=");
  return rows;
}

}  // namespace engine
