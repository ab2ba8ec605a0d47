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

// Reads the "post_processor" of a tokenizer.json: BertProcessing, RobertaProcessing, TemplateProcessing, ByteLevel and
// a Sequence of them.
Framing read_framing(const nlohmann::json& post_processor, const std::string& where);
// Reads how it trims offsets: see TokenizerTraits.
std::vector<bool> read_offset_trims(const nlohmann::json& post_processor, const std::string& where);
nlohmann::ordered_json template_processing(const Framing& framing, const Vocabulary& vocabulary);
// Makes the post-processor of both, or `otherwise` where it would do nothing.
nlohmann::ordered_json post_processor_of(const Vocabulary& vocabulary, const nlohmann::ordered_json& otherwise);

// A tokenizer.json splits a text into characters, and drops its white space, by these patterns.
inline constexpr char any_character_pattern[] = "[\\s\\S]";
inline constexpr char space_pattern[] = "\\s";

// The files that save() writes.
TokenizerFiles byte_bpe_files(const Vocabulary& vocabulary, const BpeMerges& merges, const ByteBpeSettings& settings,
                              const Normalizer& normalizer);
TokenizerFiles wordpiece_files(const Vocabulary& vocabulary, const Normalizer& normalizer,
                               const WordPieceSettings& settings);
TokenizerFiles character_files(const Vocabulary& vocabulary, bool skips_space);

}  // namespace engine
