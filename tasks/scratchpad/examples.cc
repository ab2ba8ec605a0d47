#include "tasks/scratchpad/examples.h"

#include <algorithm>

#include "core/error.h"

namespace engine {

ExampleFormat::ExampleFormat(const Tokenizer& tokenizer, const ModelConfig& model, bool reads_source)
    : reads_source_(reads_source), positions_(static_cast<int>(std::min<int64_t>(model.max_positions, 1 << 20))) {
  const auto start = tokenizer.id_of("<start>");
  if (!start || tokenizer.end_token() < 0)
    fail_usage("task scratchpad needs the tokenizer of arithmetic, with <start> and <eos>: this model's has none");
  start_ = *start;
  end_ = tokenizer.end_token();
  characters_.resize(static_cast<size_t>(tokenizer.vocab_size()));
  const std::string_view known = "0123456789+-*()=";
  const std::vector<int32_t> ids = tokenizer.encode(known);
  for (size_t i = 0; i < known.size(); ++i) {
    const auto id = tokenizer.id_of(known.substr(i, 1));
    if (!id || ids.size() != known.size() || *id != ids[i])
      fail_usage("task scratchpad needs the tokenizer of arithmetic: this model's has no token for \"",
                 known.substr(i, 1), "\" alone");
    ids_[static_cast<size_t>(known[i])] = *id;
    characters_[static_cast<size_t>(*id)] = known[i];
  }
}

void ExampleFormat::append(std::string_view source, std::string_view answer, size_t scored_from,
                           SequenceBatch& batch) const {
  if (reads_source_) {
    put(source, batch.sources);
    batch.sources.push_back(end_);
  } else {
    put(source, batch.tokens);
  }
  batch.tokens.push_back(start_);
  const size_t begin = batch.tokens.size() + scored_from;
  put(answer, batch.tokens);
  // A token predicts the one behind it. Nothing follows the end token, so it is no input.
  batch.targets.labels.resize(batch.tokens.size(), -100);
  std::copy(batch.tokens.begin() + static_cast<ptrdiff_t>(begin), batch.tokens.end(),
            batch.targets.labels.begin() + static_cast<ptrdiff_t>(begin) - 1);
  batch.targets.labels.back() = end_;
  batch.end_sequence();
}

void ExampleFormat::append_prompt(std::string_view source, std::string_view prefix, Prompts& prompts) const {
  std::vector<int32_t>& tokens = prompts.tokens.emplace_back();
  tokens.reserve(source.size() + prefix.size() + 1);
  if (reads_source_) {
    std::vector<int32_t>& read = prompts.sources.emplace_back();
    read.reserve(source.size() + 1);
    put(source, read);
    read.push_back(end_);
  } else {
    put(source, tokens);
  }
  tokens.push_back(start_);
  put(prefix, tokens);
}

std::string ExampleFormat::text_of(std::span<const int32_t> tokens) const {
  std::string text;
  for (const int32_t token : tokens) {
    if (token == end_) break;
    const char c = static_cast<size_t>(token) < characters_.size() ? characters_[static_cast<size_t>(token)] : '\0';
    if (c) text += c;
  }
  return text;
}

bool ExampleFormat::fits(size_t source_length, size_t answer_length) const {
  const auto longest = static_cast<size_t>(longest_alone());
  return reads_source_ ? source_length <= longest && answer_length <= longest
                       : source_length + answer_length <= longest;
}

std::vector<std::string> generate_texts(const SharedGenerator& shared, const ExampleFormat& format,
                                        const Prompts& prompts, const GenerationOptions& options) {
  return generate_texts(shared, prompts.tokens, prompts.sources, options,
                        [&](std::span<const int32_t> tokens) { return format.text_of(tokens); });
}

}  // namespace engine
