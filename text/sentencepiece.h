// SentencePiece models (Kudo and Richardson 2018), the .model files of XLM-R, ALBERT, T5 and RemBERT: a protocol buffer
// of pieces with scores, how they were trained, and how text is normalized.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer_class.h"

namespace engine {

struct TokenizerSource;

struct SentencePieceModel {
  enum class Type : uint8_t { normal = 1, unknown, control, user_defined, unused, byte };
  struct Piece {
    std::string text;
    double score = 0;
    Type type = Type::normal;
  };
  std::vector<Piece> pieces;
  std::string charsmap;  // empty: there is none
  int64_t model_type = 1;  // 1: Unigram, 2: BPE, 3: words, 4: characters
  bool adds_prefix = true, escapes_spaces = true;
};

// Reads the bytes of a model. An Error that begins with `where` tells of bytes that are cut short, of more than a model
// can have, of a piece without a text in UTF-8 or with a score that is no number.
SentencePieceModel read_sentencepiece(std::string_view bytes, const std::string& where);

// Returns the name of the model's file that a class reads; nullptr: it reads none.
const char* sentencepiece_file(TokenizerClass kind);

// Returns the first file of a folder with the name of a model, or nothing.
std::string sentencepiece_in(const std::filesystem::path& folder);

// Reads the model of source.folder into tokens, scores, charsmap and config, as the class that the folder names does.
// Returns false if there is none. An Error tells of a folder that names no such class.
bool read_sentencepiece_folder(TokenizerSource& source);

}  // namespace engine
