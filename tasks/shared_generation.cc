#include "tasks/shared_generation.h"

namespace engine {

std::vector<std::string> generate_texts(const SharedGenerator& shared, std::span<const std::vector<int32_t>> prompts,
                                        std::span<const std::vector<int32_t>> sources, GenerationOptions options,
                                        const std::function<std::string(std::span<const int32_t>)>& text_of) {
  const auto first_index = options.first_index;
  std::vector<std::string> texts;
  for (const auto& [first, end] : shared.ranks.shares(std::ssize(prompts), shared.parts)) {
    const auto begin = static_cast<size_t>(first), count = static_cast<size_t>(end - first);
    options.first_index = first_index + begin;
    for (const std::vector<int32_t>& tokens :
         shared.generator.generate(prompts.subspan(begin, count),
                                   sources.empty() ? sources : sources.subspan(begin, count), options))
      texts.push_back(text_of(tokens));
  }
  return shared.ranks.gather(texts);
}

}  // namespace engine
