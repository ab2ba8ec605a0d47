// Loads a folder's tokenizer as the class of transformers that the folder names reads its files.
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "text/added_ids.h"
#include "text/characters.h"
#include "text/sentencepiece.h"
#include "text/tokenizer_json.h"
#include "text/tokenizer_source.h"
#include "text/unigram_json.h"

namespace engine {

using nlohmann::json;
namespace fs = std::filesystem;

namespace {

using Source = TokenizerSource;

bool is_split(const json& pre_tokenizer, const char* pattern, const char* behavior, const std::string& where) {
  if (json_string(pre_tokenizer, "type", where, "") != "Split" || json_bool(pre_tokenizer, "invert", where, false))
    return false;
  const json& how = json_member(pre_tokenizer, "pattern", where);
  return how.is_object() && json_string(how, "Regex", where, "") == pattern &&
         json_string(pre_tokenizer, "behavior", where) == behavior;
}

void require_no(const json& object, const char* key, const std::string& where) {
  const json* value = json_find(object, key, where);
  const bool is_off = !value || *value == false || *value == "" || *value == 0;
  if (!is_off)
    fail(where, ": \"", key, "\" is set, which is not supported: byte-level BPE as GPT-2's, WordPiece as BERT's, or ",
         "characters, are");
}

// ---- what the kinds share ----

// Makes the template of add_bos_token and add_eos_token, which put a token at an end of each text.
Framing framing_of_ends(const TokenizerConfig& config, const Vocabulary& vocabulary) {
  const bool begins = config.adds_begin && config.named("bos_token");
  const bool ends = config.adds_end && config.named("eos_token");
  Framing framing{{}, {}};
  for (const int32_t text : {0, 1}) {
    std::vector<Framing::Piece> pieces;
    if (begins) pieces.push_back({vocabulary.begin, -1, text});
    pieces.push_back({-1, text, text});
    if (ends) pieces.push_back({vocabulary.end, -1, text});
    if (text == 0) framing.single = pieces;
    framing.pair.insert(framing.pair.end(), pieces.begin(), pieces.end());
  }
  return framing;
}

// Makes T5's template: a token behind each text.
Framing framing_of_end(int32_t end) {
  const Framing::Piece piece{end, -1, 0};
  return {{{-1, 0, 0}, piece}, {{-1, 0, 0}, piece, {-1, 1, 0}, piece}};
}

// Returns the id of a special token that a class cannot do without.
int32_t needed(const Source& source, const char* key, int32_t id) {
  const TokenizerConfig& config = source.config;
  if (config.is_guessed && !config.named(key))
    fail(source.where, ": no file names a ", key, ", and the one of BERT or RoBERTa is not in the vocabulary");
  if (!config.named(key))
    fail((source.folder / "tokenizer_config.json").string(), ": \"", key, "\" is null, and a ", config.of.name,
         " needs such a token");
  return id;
}

}  // namespace

void set_framing(const Source& source, bool add_prefix_space, Vocabulary& vocabulary) {
  const TokenizerConfig& config = source.config;
  const json* const post = source.part("post_processor");
  const auto classifier = [&] { return needed(source, "cls_token", vocabulary.classifier); };
  const auto separator = [&] { return needed(source, "sep_token", vocabulary.separator); };
  switch (config.of.kind) {
    case TokenizerClass::bert:
    case TokenizerClass::distilbert: vocabulary.framing = Framing::bert(classifier(), separator()); break;
    case TokenizerClass::roberta:
      vocabulary.framing = Framing::roberta(classifier(), separator());
      if (config.trim_offsets.value_or(true)) vocabulary.traits.offset_trims = {add_prefix_space};
      break;
    case TokenizerClass::gpt_neox: vocabulary.framing = framing_of_ends(config, vocabulary); break;
    case TokenizerClass::xlm_roberta:
      vocabulary.framing = Framing::roberta(needed(source, "bos_token", vocabulary.begin),
                                            needed(source, "eos_token", vocabulary.end));
      break;
    case TokenizerClass::t5: vocabulary.framing = framing_of_end(needed(source, "eos_token", vocabulary.end)); break;
    case TokenizerClass::rembert: vocabulary.framing = Framing::bert(classifier(), separator()); break;
    case TokenizerClass::albert:
      if (!post) {
        vocabulary.framing = Framing::bert(classifier(), separator());
        break;
      }
      [[fallthrough]];
    default:
      if (post) {
        vocabulary.framing = read_framing(*post, source.where);
        vocabulary.traits.offset_trims = read_offset_trims(*post, source.where);
      } else {
        vocabulary.framing = framing_of_ends(config, vocabulary);
      }
  }
  for (auto* pieces : {&vocabulary.framing.single, &vocabulary.framing.pair})
    for (Framing::Piece& piece : *pieces) {
      if (piece.token >= vocabulary.size())
        fail(source.where, ": the post-processor adds the token ", piece.token, " of ", vocabulary.size());
      if (!vocabulary.traits.token_types) piece.type = 0;
    }
}

namespace {

// Sets the tokens that end, begin and fill documents if no file names them: RoBERTa's, GPT-2's or BERT's.
void set_unnamed(Vocabulary& vocabulary) {
  const bool is_roberta = vocabulary.find("<s>") >= 0 && vocabulary.find("</s>") >= 0;
  const auto either = [&](const char* roberta, const char* bert) {
    return vocabulary.find(vocabulary.find(roberta) >= 0 ? roberta : bert);
  };
  const auto set = [](int32_t& member, int32_t id) {
    if (member < 0) member = id;
  };
  set(vocabulary.end, vocabulary.find(is_roberta ? "</s>" : "<|endoftext|>"));
  set(vocabulary.begin, vocabulary.find(is_roberta ? "<s>" : "<|endoftext|>"));
  set(vocabulary.pad, either("<pad>", "[PAD]"));
  set(vocabulary.mask, either("<mask>", "[MASK]"));
  set(vocabulary.classifier, either("<s>", "[CLS]"));
  set(vocabulary.separator, either("</s>", "[SEP]"));
}

}  // namespace

Vocabulary make_vocabulary(const Source& source) {
  TokenizerConfig config = source.config;
  for (const std::string& token : source.options.special_tokens) {
    const auto is_it = [&](const GivenToken& other) { return other.token.content == token; };
    if (std::any_of(config.extra.begin(), config.extra.end(), is_it)) continue;
    config.extra.push_back({.token = {.content = token}});
    config.traits.extra.push_back(token);
  }
  AddedIds added(source.tokens);
  if (source.is_whole_file()) added.add(read_added_tokens(source.root, source.where), source.where);
  added.add(tokens_to_add(config, added.all()), source.where);
  Vocabulary vocabulary(source.tokens, added.all(), source.where);
  vocabulary.traits = config.traits;
  for (const auto& [key, given] : config.names) {
    const int32_t id = vocabulary.find(given.token.content);
    if (id < 0) fail(source.folder.string(), ": \"", key, "\" is an empty token");
    vocabulary.name(key, id);
  }
  for (const auto& [key, given] : config.model_names)
    vocabulary.traits.model_names.emplace_back(key, given.token.content);
  set_unnamed(vocabulary);
  return vocabulary;
}

namespace {

Normalizer normalizer_of(const Source& source) {
  const json* normalizer = source.part("normalizer");
  return normalizer ? Normalizer::read(*normalizer, source.where) : Normalizer();
}

// Says whether tokenizer.json names the decoder that belongs to its kind, or none (false). An Error names another.
bool reads_decoder(const Source& source, const char* wanted) {
  const json* decoder = source.part("decoder");
  if (!decoder) return false;
  const std::string type = json_string(*decoder, "type", source.where);
  if (type != wanted)
    fail(source.where, ": the decoder \"", type.substr(0, 60), "\" is not supported: it should be ", wanted);
  return true;
}

// ---- the kinds ----

ByteBpeSettings read_byte_bpe(const Source& source, Vocabulary& vocabulary) {
  const std::string& where = source.where;
  const json& model = json_member(source.root, "model", where);
  for (const char* key : {"dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback", "fuse_unk"})
    require_no(model, key, where);
  const json& pre_tokenizer = json_member(source.root, "pre_tokenizer", where);
  const std::string type = json_string(pre_tokenizer, "type", where);
  if (type != "ByteLevel" || !json_bool(pre_tokenizer, "use_regex", where, true))
    fail(where, ": a BPE vocabulary with the pre-tokenizer \"", type.substr(0, 60),
         "\" is not supported: it should be ByteLevel, with use_regex");
  vocabulary.unknown = vocabulary.find_in_model(json_string(model, "unk_token", where, ""));
  vocabulary.traits.has_decoder = reads_decoder(source, "ByteLevel");
  return {.add_prefix_space = json_bool(pre_tokenizer, "add_prefix_space", where, true),
          .whole_words = json_bool(model, "ignore_merges", where, false)};
}

std::unique_ptr<Tokenizer> load_byte_bpe(const Source& source) {
  const bool is_whole = source.is_whole_file();
  Vocabulary vocabulary = make_vocabulary(source);
  vocabulary.traits.cleans_up = vocabulary.traits.cleans_up && source.config.cleans_up_bpe;
  const ByteBpeSettings settings =
      is_whole ? read_byte_bpe(source, vocabulary)
               : ByteBpeSettings{.add_prefix_space = source.config.add_prefix_space.value_or(false)};
  Normalizer normalizer = is_whole ? normalizer_of(source) : Normalizer();
  if (source.config.of.kind == TokenizerClass::gpt_neox) normalizer = Normalizer({Normalizer::Step::compose});
  if (source.options.lowers_first) normalizer = normalizer.lowering_first();
  set_framing(source, settings.add_prefix_space, vocabulary);
  BpeMerges merges =
      source.root.is_null()
          ? read_merges_txt(vocabulary, source.folder / "merges.txt")
          : read_merges_json(vocabulary, json_member(source.root["model"], "merges", source.where), source.where);
  return std::make_unique<ByteBpeTokenizer>(std::move(vocabulary), std::move(merges), settings, std::move(normalizer));
}

std::unique_ptr<Tokenizer> load_wordpiece(const Source& source) {
  const std::string& where = source.where;
  const TokenizerConfig& config = source.config;
  Vocabulary vocabulary = make_vocabulary(source);
  set_framing(source, false, vocabulary);
  WordPieceSettings settings;
  Normalizer normalizer;
  std::string unknown;
  if (source.is_whole_file()) {
    const json& model = json_member(source.root, "model", where);
    const std::string splits = json_string(json_member(source.root, "pre_tokenizer", where), "type", where);
    if (splits != "BertPreTokenizer")
      fail(where, ": a WordPiece vocabulary with the pre-tokenizer \"", splits.substr(0, 60),
           "\" is not supported: it should be BertPreTokenizer");
    settings.prefix = json_string(model, "continuing_subword_prefix", where, "##");
    settings.longest_word = json_integer(model, "max_input_chars_per_word", where, 1, INT32_MAX, 100);
    unknown = json_string(model, "unk_token", where, "[UNK]");
    vocabulary.traits.has_decoder = reads_decoder(source, "WordPiece");
    if (vocabulary.traits.has_decoder) {
      settings.decoder_prefix = json_string(*source.part("decoder"), "prefix", where, "##");
      settings.cleanup = json_bool(*source.part("decoder"), "cleanup", where, true);
    }
    normalizer = normalizer_of(source);
  } else {
    if (const AddedToken* named = config.named("unk_token")) unknown = named->content;
    const bool lowers = config.lowers_case.value_or(true);
    normalizer = Normalizer::bert(true, config.spaces_chinese.value_or(true), config.strips_accents.value_or(lowers),
                                  lowers);
  }
  if (source.options.lowers_first) normalizer = normalizer.lowering_first();
  vocabulary.unknown = vocabulary.find_in_model(unknown);
  if (vocabulary.unknown < 0)
    fail(where, ": a WordPiece vocabulary should hold the token for unknown words (unk_token, \"",
         unknown.substr(0, 60), "\")");
  return std::make_unique<WordPieceTokenizer>(std::move(vocabulary), std::move(normalizer), std::move(settings));
}

std::unique_ptr<Tokenizer> load_characters(const Source& source) {
  const std::string& where = source.where;
  require_no(source.root, "normalizer", where);
  require(!source.options.lowers_first, where, ": a tokenizer of characters has no lower case of its own");
  const json& pre_tokenizer = json_member(source.root, "pre_tokenizer", where);
  const json* steps = json_find(pre_tokenizer, "pretokenizers", where);
  const bool skips_space = steps && steps->is_array() && steps->size() == 2 &&
                           is_split((*steps)[0], space_pattern, "Removed", where) &&
                           is_split((*steps)[1], any_character_pattern, "Isolated", where);
  if (!skips_space && !is_split(pre_tokenizer, any_character_pattern, "Isolated", where))
    fail(where, ": a WordLevel vocabulary is read only if its pre-tokenizer splits the text into characters: Split, ",
         any_character_pattern, ", Isolated");
  Vocabulary vocabulary = make_vocabulary(source);
  set_framing(source, false, vocabulary);
  vocabulary.unknown = vocabulary.find_in_model(json_string(source.root["model"], "unk_token", where, ""));
  vocabulary.traits.has_decoder = reads_decoder(source, "Fuse");
  return std::make_unique<CharacterTokenizer>(std::move(vocabulary), skips_space);
}

// ---- the folder ----

using Loader = std::unique_ptr<Tokenizer> (*)(const Source& source);

bool takes_wordpiece(TokenizerClass kind) {
  return kind == TokenizerClass::bert || kind == TokenizerClass::distilbert;
}

// Returns the type of model that a class takes.
const char* model_of(TokenizerClass kind) {
  return takes_wordpiece(kind) ? "WordPiece" : sentencepiece_file(kind) ? "Unigram" : "BPE";
}

Loader read_tokenizer_json(Source& source) {
  const fs::path file = source.folder / "tokenizer.json";
  source.where = file.string();
  std::error_code missing;
  if (const auto bytes = fs::file_size(file, missing); !missing && bytes > json_most_bytes)
    fail(source.where, ": ", bytes, " bytes of JSON, at most ", json_most_bytes, " are read");
  const std::string text = read_text(file);
  source.root = parse_json(text, source.where);
  const json& model = json_member(source.root, "model", source.where);
  const std::string type =
      json_string(model, "type", source.where, json_has(model, "merges", source.where) ? "BPE" : "WordLevel");
  const std::map<std::string, Loader> loaders = {
      {"BPE", load_byte_bpe}, {"WordPiece", load_wordpiece}, {"WordLevel", load_characters}, {"Unigram", load_unigram}};
  const auto loader = loaders.find(type);
  if (loader == loaders.end())
    fail(source.where, ": a model of type \"", type.substr(0, 60),
         "\" is not supported; BPE, WordPiece, Unigram and WordLevel are");
  source.config = read_tokenizer_config(source.folder, &source.root, TokenizerClass::whole_file);
  const json& vocab = json_member(model, "vocab", source.where);
  // The classes have the file read by another library than `tokenizers`.
  source.tokens = type == "Unigram" ? read_unigram_vocab(vocab, source.is_whole_file() ? &text : nullptr, source.where,
                                                         source.scores)
                                    : read_vocab_json(vocab, source.where);
  const char* const wanted = model_of(source.config.of.kind);
  if (!source.is_whole_file() && type != wanted)
    fail(source.where, ": the model is of type \"", type, "\", and the folder's other files name a ",
         source.config.of.name, ", which takes ", wanted, ": with \"tokenizer_class\": \"PreTrainedTokenizerFast\" in ",
         "tokenizer_config.json the tokenizer.json is read as it stands");
  return loader->second;
}

// Reads vocab.json or vocab.txt. `otherwise` is the class of a folder that names none.
Loader read_vocabulary_file(Source& source, const char* name, TokenizerClass otherwise) {
  source.where = (source.folder / name).string();
  source.config = read_tokenizer_config(source.folder, nullptr, otherwise);
  // If the class is guessed, its special tokens are those that the vocabulary has.
  TokenizerConfig& config = source.config;
  if (config.is_guessed)
    std::erase_if(config.names, [&](const auto& name_and_token) {
      const std::string& content = name_and_token.second.token.content;
      const auto has = [&](const auto& token) { return token.first == content; };
      return config.usual_names.contains(name_and_token.first) &&
             std::none_of(source.tokens.begin(), source.tokens.end(), has);
    });
  return takes_wordpiece(config.of.kind) ? load_wordpiece : load_byte_bpe;
}

}  // namespace

std::unique_ptr<Tokenizer> load_tokenizer(const fs::path& folder, const LoadOptions& options) {
  Source source;
  source.folder = folder;
  source.options = options;
  if (fs::exists(folder / "tokenizer.json")) return read_tokenizer_json(source)(source);
  const bool has_json = fs::exists(folder / "vocab.json") && fs::exists(folder / "merges.txt");
  const bool has_text = fs::exists(folder / "vocab.txt");
  if (has_json) {
    const std::string where = (folder / "vocab.json").string();
    source.tokens = read_vocab_json(parse_json_file(where), where);
    const auto has = [&](const char* token) {
      return std::any_of(source.tokens.begin(), source.tokens.end(),
                         [&](const auto& one) { return one.first == token; });
    };
    // RoBERTa's and BART's vocabularies hold <s> and </s>.
    const bool is_roberta = has("<s>") && has("</s>");
    const Loader loader =
        read_vocabulary_file(source, "vocab.json", is_roberta ? TokenizerClass::roberta : TokenizerClass::gpt2);
    if (loader == load_byte_bpe) return loader(source);
  }
  if (has_text) {
    source.tokens = read_vocab_txt(folder / "vocab.txt");
    const Loader loader = read_vocabulary_file(source, "vocab.txt", TokenizerClass::bert);
    if (loader == load_wordpiece) return loader(source);
  }
  if (read_sentencepiece_folder(source)) return load_unigram(source);
  if (has_json || has_text)
    fail(folder.string(), ": a ", source.config.of.name, " is named there, which takes ",
         takes_wordpiece(source.config.of.kind) ? "vocab.txt" : "vocab.json and merges.txt", " or a tokenizer.json");
  fail(folder.string(), ": no tokenizer there: tokenizer.json, or vocab.json and merges.txt, or vocab.txt, or a ",
       "SentencePiece model (spiece.model, sentencepiece.bpe.model, sentencepiece.model), were looked for");
}

}  // namespace engine
