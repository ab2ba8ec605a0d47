#include "text/sentencepiece.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "core/error.h"
#include "core/files.h"
#include "text/tokenizer_source.h"
#include "text/unicode.h"

namespace engine {

namespace fs = std::filesystem;

namespace {

constexpr size_t most_model_bytes = size_t{256} << 20, most_pieces = size_t{1} << 22, longest_piece = 1 << 16;

// Goes through the fields of one message (Protocol Buffers, "Encoding").
class Message {
 public:
  Message(std::string_view bytes, const std::string& where) : rest_(bytes), where_(where) {}

  // Reads the next field. Returns false at the end.
  bool next() {
    if (rest_.empty()) return false;
    const uint64_t key = varint();
    field_ = key >> 3;
    wire_ = static_cast<int>(key & 7);
    if (field_ == 0 || field_ > (1u << 29) - 1) wrong("has a field that no message can have");
    switch (wire_) {
      case 0: number_ = varint(); break;
      case 1: bytes_ = take(8); break;
      case 2: bytes_ = take(varint()); break;
      case 5: bytes_ = take(4); break;
      default: wrong("has a field of a kind that no model has");
    }
    return true;
  }
  uint64_t field() const { return field_; }
  std::string_view bytes() const { return expect(2), bytes_; }
  int64_t number() const { return expect(0), static_cast<int64_t>(number_); }
  double real() const {
    expect(5);
    uint32_t bits = 0;
    for (size_t i = 4; i-- > 0;) bits = bits << 8 | static_cast<unsigned char>(bytes_[i]);
    return static_cast<double>(std::bit_cast<float>(bits));
  }

 private:
  [[noreturn]] void wrong(const char* what) const { fail(where_, ": no SentencePiece model: it ", what); }
  void expect(int wire) const {
    if (wire_ != wire) wrong("has a field of another type than a model's");
  }
  std::string_view take(uint64_t count) {
    if (count > rest_.size()) wrong("is cut short, or has a wrong length");
    const std::string_view taken = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return taken;
  }
  uint64_t varint() {
    uint64_t number = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1)[0]);
      number |= uint64_t{byte & 127u} << shift;
      if (byte < 128) return number;
    }
    wrong("has a number of more than 64 bits");
  }

  std::string_view rest_;
  const std::string& where_;
  uint64_t field_ = 0, number_ = 0;
  int wire_ = 0;
  std::string_view bytes_;
};

SentencePieceModel::Piece read_piece(std::string_view bytes, size_t number, const std::string& where) {
  SentencePieceModel::Piece piece;
  for (Message message(bytes, where); message.next();) {
    if (message.field() == 1) {
      piece.text = message.bytes();
    } else if (message.field() == 2) {
      piece.score = message.real();
    } else if (message.field() == 3) {
      if (message.number() < 1 || message.number() > 6)
        fail(where, ": piece ", number, " is of type ", message.number(), ", and the types are 1 to 6");
      piece.type = static_cast<SentencePieceModel::Type>(message.number());
    }
  }
  if (piece.text.empty() || piece.text.size() > longest_piece || find_invalid_utf8(piece.text) < piece.text.size())
    fail(where, ": piece ", number, " should have a text in UTF-8, of at most ", longest_piece, " bytes");
  if (!std::isfinite(piece.score)) fail(where, ": the score of piece ", number, " is no finite number");
  return piece;
}

}  // namespace

SentencePieceModel read_sentencepiece(std::string_view bytes, const std::string& where) {
  if (bytes.size() > most_model_bytes)
    fail(where, ": ", bytes.size(), " bytes, of at most ", most_model_bytes, " for a model");
  SentencePieceModel model;
  for (Message message(bytes, where); message.next();) {
    if (message.field() == 1) {
      if (model.pieces.size() == most_pieces) fail(where, ": has more than ", most_pieces, " pieces");
      model.pieces.push_back(read_piece(message.bytes(), model.pieces.size(), where));
    } else if (message.field() == 2) {
      for (Message trainer(message.bytes(), where); trainer.next();)
        if (trainer.field() == 3) model.model_type = trainer.number();
    } else if (message.field() == 3) {
      for (Message normalizer(message.bytes(), where); normalizer.next();) {
        if (normalizer.field() == 2) model.charsmap = normalizer.bytes();
        if (normalizer.field() == 3) model.adds_prefix = normalizer.number() != 0;
        if (normalizer.field() == 5) model.escapes_spaces = normalizer.number() != 0;
      }
    }
  }
  if (model.pieces.empty()) fail(where, ": no SentencePiece model: it has no pieces");
  return model;
}

const char* sentencepiece_file(TokenizerClass kind) {
  switch (kind) {
    case TokenizerClass::xlm_roberta: return "sentencepiece.bpe.model";
    case TokenizerClass::albert:
    case TokenizerClass::t5: return "spiece.model";
    case TokenizerClass::rembert: return "sentencepiece.model";
    default: return nullptr;
  }
}

std::string sentencepiece_in(const fs::path& folder) {
  for (const char* name : {"sentencepiece.bpe.model", "spiece.model", "sentencepiece.model", "tokenizer.model"})
    if (fs::exists(folder / name)) return name;
  return {};
}

namespace {

// Gives the pieces the ids that the class does. XLM-R's begin behind four tokens of its own in the place of the model's
// first three, with the mask behind them. T5 has tokens for gaps behind them.
void number_pieces(const SentencePieceModel& model, TokenizerSource& source) {
  const auto add = [&](const std::string& token, double score) {
    source.tokens.emplace_back(token, static_cast<int64_t>(source.tokens.size()));
    source.scores.push_back(score);
  };
  const auto named = [&](const char* key) {
    const AddedToken* const token = source.config.named(key);
    if (!token) fail(source.where, ": \"", key, "\" is null, and a ", source.config.of.name, " needs such a token");
    return token->content;
  };
  const bool is_shifted = source.config.of.kind == TokenizerClass::xlm_roberta;
  if (is_shifted)
    for (const char* key : {"bos_token", "pad_token", "eos_token", "unk_token"}) add(named(key), 0);
  for (size_t i = is_shifted ? 3 : 0; i < model.pieces.size(); ++i) add(model.pieces[i].text, model.pieces[i].score);
  if (is_shifted) add(named("mask_token"), 0);
  if (source.config.of.kind == TokenizerClass::t5)
    for (int64_t i = source.config.extra_ids; i-- > 0;) add("<extra_id_" + std::to_string(i) + ">", 0);
}

}  // namespace

bool read_sentencepiece_folder(TokenizerSource& source) {
  const std::string any = sentencepiece_in(source.folder);
  if (any.empty()) return false;
  source.where = (source.folder / any).string();
  const std::string where = source.where;
  source.config = read_tokenizer_config(source.folder, nullptr, TokenizerClass::whole_file);
  const char* const name = sentencepiece_file(source.config.of.kind);
  if (!name)
    fail(where, ": nothing says how this SentencePiece model is read: add \"tokenizer_class\": ",
         "\"XLMRobertaTokenizer\", \"AlbertTokenizer\", \"T5Tokenizer\" or \"RemBertTokenizer\" to ",
         "tokenizer_config.json, or save a tokenizer.json with transformers");
  if (!fs::exists(source.folder / name))
    fail(where, ": the model of a ", source.config.of.name, " should have the name ", name);
  source.where = (source.folder / name).string();
  SentencePieceModel model = read_sentencepiece(read_text(source.folder / name), source.where);
  if (model.model_type != 1)
    fail(source.where, ": the model is of type ", model.model_type, model.model_type == 2 ? " (BPE)" : "",
         ", and a ", source.config.of.name, " has one of type 1 (Unigram)");
  if (!model.adds_prefix || !model.escapes_spaces)
    fail(source.where, ": the model has no ", model.adds_prefix ? "escaped spaces" : "prefix before a text",
         ", and a ", source.config.of.name, " does");
  std::vector<AddedToken> added;
  for (const SentencePieceModel::Piece& piece : model.pieces) {
    const bool is_control = piece.type == SentencePieceModel::Type::control;
    if (is_control || piece.type == SentencePieceModel::Type::user_defined)
      added.push_back({.content = piece.text, .special = is_control, .normalized = false});
  }
  source.config = read_tokenizer_config(source.folder, nullptr, TokenizerClass::whole_file, added);
  number_pieces(model, source);
  source.charsmap = std::move(model.charsmap);
  return true;
}

}  // namespace engine
