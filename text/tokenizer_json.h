// The files of a tokenizer's folder, as Hugging Face's `tokenizers` and `transformers` write and read them.
#pragma once

#include <filesystem>
#include <memory>

#include "text/byte_bpe.h"
#include "text/vocabulary.h"

namespace engine {

std::unique_ptr<Tokenizer> load_tokenizer_json(const std::filesystem::path& folder);  // tokenizer.json
std::unique_ptr<Tokenizer> load_vocab_and_merges(const std::filesystem::path& folder);  // vocab.json, merges.txt

// How a tokenizer.json splits a text into characters, and drops its white space.
inline constexpr char any_character_pattern[] = "[\\s\\S]";
inline constexpr char space_pattern[] = "\\s";

// What save() writes.
TokenizerFiles byte_bpe_files(const Vocabulary& vocabulary, const BpeMerges& merges, const ByteBpeSettings& settings);
TokenizerFiles character_files(const Vocabulary& vocabulary, bool skips_space);

}  // namespace engine
