// Makes a Unigram tokenizer of a tokenizer.json as it stands, or of the pieces of a tokenizer.json or SentencePiece
// model as the classes of transformers do.
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "text/rewrites.h"
#include "text/score_numbers.h"
#include "text/tokenizer_source.h"
#include "text/unigram_json.h"

namespace engine {

using nlohmann::json;

namespace {

void read_pre_tokenizer(const json& pre_tokenizer, const std::string& where, UnigramSettings& settings) {
  const std::string type = json_string(pre_tokenizer, "type", where);
  if (type == "Sequence") {
    const json& list = json_member(pre_tokenizer, "pretokenizers", where);
    if (!list.is_array()) fail(where, ": \"pretokenizers\" should be a list");
    for (const json& one : list) read_pre_tokenizer(one, where, settings);
    return;
  }
  if (type != "Metaspace" && type != "WhitespaceSplit")
    fail(where, ": a Unigram vocabulary with the pre-tokenizer \"", type.substr(0, 60),
         "\" is not supported: Metaspace, WhitespaceSplit and a Sequence of them are");
  if (settings.metaspace) fail(where, ": the pre-tokenizer ", type, " behind Metaspace is not supported");
  if (type == "Metaspace") settings.metaspace = Metaspace::read(pre_tokenizer, where);
  else settings.drops_spaces = true;
}

UnigramSettings read_settings(const TokenizerSource& source, Vocabulary& vocabulary) {
  const std::string& where = source.where;
  const json& model = json_member(source.root, "model", where);
  UnigramSettings settings;
  settings.byte_fallback = json_bool(model, "byte_fallback", where, false);
  if (json_has(model, "unk_id", where))
    vocabulary.unknown = static_cast<int32_t>(
        json_integer(model, "unk_id", where, 0, static_cast<int64_t>(source.tokens.size()) - 1));
  if (const json* pre_tokenizer = source.part("pre_tokenizer")) read_pre_tokenizer(*pre_tokenizer, where, settings);
  const json* const decoder = source.part("decoder");
  vocabulary.traits.has_decoder = decoder != nullptr;
  if (decoder) settings.decoder = TokenDecoder::read(*decoder, where);
  return settings;
}

// Returns the table of a SentencePiece model in the normalizer of a tokenizer.json, or an empty text.
std::shared_ptr<const Rewrite> charsmap_of(const TokenizerSource& source) {
  if (!source.charsmap.empty()) return make_charsmap(source.charsmap, source.where);
  const json* const normalizer = source.part("normalizer");
  if (!normalizer) return nullptr;
  const bool is_sequence = json_string(*normalizer, "type", source.where) == "Sequence";
  const json alone = json::array({*normalizer});
  for (const json& one : is_sequence ? json_member(*normalizer, "normalizers", source.where) : alone)
    if (json_string(one, "type", source.where) == "Precompiled") return read_rewrite(one, source.where);
  return nullptr;
}

// Says whether RemBERT's text is in lower case, or keeps its accents. Its classes disagree, so the files must say it.
// A tokenizer.json says it, too, if the newest class does the same, which does not read the normalizer.
bool rembert_setting(const TokenizerSource& source, const char* key, const std::optional<bool>& given,
                     Normalizer::Step step, bool without_step) {
  if (given) return *given;
  if (const json* normalizer = source.part("normalizer")) {
    if (!Normalizer::read(*normalizer, source.where, true).has(step)) return without_step;
    fail((source.folder / "tokenizer_config.json").string(), ": a RemBertTokenizer needs \"", key, "\": true or ",
         "false, because its class in transformers does not do what the normalizer in tokenizer.json does");
  }
  fail(source.where, ": a RemBertTokenizer with a SentencePiece model needs \"", key, "\": true or false in ",
       "tokenizer_config.json, because its versions disagree about it");
}

Normalizer class_normalizer(const TokenizerSource& source) {
  using Step = Normalizer::Step;
  const TokenizerConfig& config = source.config;
  std::vector<Normalizer::Action> steps;
  const bool is_rembert = config.of.kind == TokenizerClass::rembert;
  if (is_rembert || config.of.kind == TokenizerClass::albert) {
    const bool lowers =
        is_rembert ? rembert_setting(source, "do_lower_case", config.lowers_case, Step::lowercase, false)
                   : config.lowers_case.value_or(true);
    const bool keeps_accents =
        is_rembert ? rembert_setting(source, "keep_accents", config.keeps_accents, Step::strip_marks, true)
                   : config.keeps_accents.value_or(false);
    steps = {make_replace("``", "\""), make_replace("''", "\"")};
    if (is_rembert) steps.emplace_back(make_space_collapse());
    if (!keeps_accents) steps.insert(steps.end(), {Step::decompose_compat, Step::strip_marks});
    if (lowers) steps.emplace_back(Step::lowercase);
  }
  if (auto charsmap = charsmap_of(source)) steps.emplace_back(std::move(charsmap));
  return Normalizer(std::move(steps));
}

}  // namespace

std::unique_ptr<Tokenizer> load_unigram(const TokenizerSource& source) {
  Vocabulary vocabulary = make_vocabulary(source);
  set_framing(source, false, vocabulary);
  const TokenizerClass kind = source.config.of.kind;
  UnigramSettings settings;
  Normalizer normalizer;
  if (source.is_whole_file()) {
    settings = read_settings(source, vocabulary);
    if (const json* own = source.part("normalizer")) normalizer = Normalizer::read(*own, source.where, true);
  } else {
    // The classes know where their unknown token is.
    vocabulary.unknown = kind == TokenizerClass::xlm_roberta ? 3 : kind == TokenizerClass::albert ? 1 : 2;
    if (vocabulary.unknown >= static_cast<int32_t>(source.tokens.size()))
      fail(source.where, ": ", source.tokens.size(), " pieces are too few for a ", source.config.of.name,
           ", whose unknown token is number ", vocabulary.unknown);
    const bool prepends = kind == TokenizerClass::t5 || source.config.add_prefix_space.value_or(true);
    settings.drops_spaces = kind != TokenizerClass::rembert;
    settings.metaspace = Metaspace{.scheme = prepends ? Metaspace::Scheme::always : Metaspace::Scheme::never};
    settings.decoder = TokenDecoder::metaspace(prepends);
    normalizer = class_normalizer(source);
  }
  if (source.options.lowers_first) normalizer = normalizer.lowering_first();
  return std::make_unique<UnigramTokenizer>(std::move(vocabulary), source.scores, std::move(normalizer),
                                            std::move(settings));
}

TokenIds read_unigram_vocab(const json& vocab, const std::string* text, const std::string& where,
                            std::vector<double>& scores) {
  if (!vocab.is_array() || vocab.empty()) fail(where, ": the vocabulary should be a list of [token, score]");
  const std::vector<std::string> decimals = text ? vocabulary_decimals(*text) : std::vector<std::string>();
  size_t decimal = 0;
  TokenIds tokens;
  for (const json& piece : vocab) {
    const bool is_piece = piece.is_array() && piece.size() == 2 && piece[0].is_string() && piece[1].is_number();
    if (!is_piece)
      fail(where, ": entry ", tokens.size(), " of the vocabulary is ", piece.dump(-1, ' ', true).substr(0, 60),
           ", it should be [token, score]");
    tokens.emplace_back(piece[0].get<std::string>(), static_cast<int64_t>(tokens.size()));
    const bool is_read = text && piece[1].is_number_float();
    const auto score = is_read ? read_score(decimals.at(decimal++)) : std::optional(piece[1].get<double>());
    if (!score) fail(where, ": the score of entry ", tokens.size() - 1, " of the vocabulary is out of range");
    scores.push_back(*score);
  }
  return tokens;
}

}  // namespace engine
