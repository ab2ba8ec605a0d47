// The files of a tokenizer's folder, as Hugging Face's `tokenizers` and `transformers` write and read them.
#pragma once

#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "text/byte_bpe.h"
#include "text/vocabulary.h"
#include "text/wordpiece.h"

namespace engine {

std::unique_ptr<Tokenizer> load_tokenizer_json(const std::filesystem::path& folder);  // tokenizer.json
std::unique_ptr<Tokenizer> load_vocab_and_merges(const std::filesystem::path& folder);  // vocab.json, merges.txt
std::unique_ptr<Tokenizer> load_vocab_txt(const std::filesystem::path& folder);         // vocab.txt: WordPiece

// The "post_processor" of a tokenizer.json: BertProcessing, RobertaProcessing, TemplateProcessing, ByteLevel and a
// Sequence of them.
Framing read_framing(const nlohmann::json& post_processor, const std::string& where);
nlohmann::ordered_json template_processing(const Framing& framing, const Vocabulary& vocabulary);

// How a tokenizer.json splits a text into characters, and drops its white space.
inline constexpr char any_character_pattern[] = "[\\s\\S]";
inline constexpr char space_pattern[] = "\\s";

// What save() writes.
TokenizerFiles byte_bpe_files(const Vocabulary& vocabulary, const BpeMerges& merges, const ByteBpeSettings& settings);
TokenizerFiles wordpiece_files(const Vocabulary& vocabulary, const Normalizer& normalizer,
                               const WordPieceSettings& settings);
TokenizerFiles character_files(const Vocabulary& vocabulary, bool skips_space);

}  // namespace engine
