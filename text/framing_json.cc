// The "post_processor" of a tokenizer.json.
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"
#include "text/tokenizer_json.h"

namespace engine {

using nlohmann::json;
using nlohmann::ordered_json;

namespace {

// Reads the id of ["[SEP]", 102].
int32_t read_pair(const json& processor, const char* key, const std::string& where) {
  const json& pair = json_member(processor, key, where);
  const bool is_pair = pair.is_array() && pair.size() == 2 && pair[1].is_number_integer() &&
                       pair[1].get<double>() >= 0 && pair[1].get<double>() <= INT32_MAX;
  if (!is_pair) fail(where, ": \"", key, "\" of the post-processor should be a token with its id");
  return pair[1].get<int32_t>();
}

void read_piece(const json& piece, const json& tokens, const std::string& where, std::vector<Framing::Piece>& pieces) {
  const auto type_of = [&](const json& object) {
    return static_cast<int32_t>(json_integer(object, "type_id", where, 0, INT32_MAX, 0));
  };
  if (const json* text = json_find(piece, "Sequence", where)) {
    const std::string name = json_string(*text, "id", where);
    if (name != "A" && name != "B") fail(where, ": the post-processor frames a text \"", name.substr(0, 60), "\"");
    pieces.push_back({-1, name == "B", type_of(*text)});
    return;
  }
  const json& special = json_member(piece, "SpecialToken", where);
  const json& token = json_member(tokens, json_string(special, "id", where).c_str(), where);
  const json& ids = json_member(token, "ids", where);
  if (!ids.is_array()) fail(where, ": \"ids\" of a special token of the post-processor should be a list");
  for (const json& id : ids) {
    const bool is_id = id.is_number_integer() && id.get<double>() >= 0 && id.get<double>() <= INT32_MAX;
    if (!is_id) fail(where, ": the id ", id.dump().substr(0, 60), " of the post-processor is no id");
    pieces.push_back({id.get<int32_t>(), -1, type_of(special)});
  }
}

std::vector<Framing::Piece> read_template(const json& processor, const char* key, const std::string& where) {
  const json& list = json_member(processor, key, where);
  if (!list.is_array()) fail(where, ": \"", key, "\" of the post-processor should be a list");
  static const json none = json::object();
  const json* tokens = json_find(processor, "special_tokens", where);
  std::vector<Framing::Piece> pieces;
  for (const json& piece : list) read_piece(piece, tokens ? *tokens : none, where, pieces);
  return pieces;
}

}  // namespace

Framing read_framing(const json& processor, const std::string& where) {
  const std::string type = json_string(processor, "type", where);
  if (type == "ByteLevel") return {};
  if (type == "BertProcessing" || type == "RobertaProcessing") {
    const auto make = type == "BertProcessing" ? Framing::bert : Framing::roberta;
    return make(read_pair(processor, "cls", where), read_pair(processor, "sep", where));
  }
  if (type == "TemplateProcessing")
    return {read_template(processor, "single", where), read_template(processor, "pair", where)};
  if (type != "Sequence")
    fail(where, ": the post-processor \"", type.substr(0, 60), "\" is not supported: BertProcessing, ",
         "RobertaProcessing, TemplateProcessing, ByteLevel and Sequence are");
  const json& list = json_member(processor, "processors", where);
  if (!list.is_array()) fail(where, ": \"processors\" should be a list");
  Framing framing;
  std::string adds;
  for (const json& one : list) {
    const std::string own = json_string(one, "type", where);
    if (own == "ByteLevel") continue;
    if (!adds.empty())
      fail(where, ": the post-processors ", adds, " and ", own, " both put tokens around a text, which is not ",
           "supported: one of them may");
    framing = read_framing(one, where);
    adds = own;
  }
  return framing;
}

std::vector<bool> read_offset_trims(const json& processor, const std::string& where) {
  const std::string type = json_string(processor, "type", where);
  std::vector<bool> trims;
  if (type == "ByteLevel" || type == "RobertaProcessing") {
    if (json_bool(processor, "trim_offsets", where, true))
      trims.push_back(json_bool(processor, "add_prefix_space", where, true));
  } else if (type == "Sequence") {
    for (const json& one : json_member(processor, "processors", where)) {
      const std::vector<bool> more = read_offset_trims(one, where);
      trims.insert(trims.end(), more.begin(), more.end());
    }
  }
  return trims;
}

ordered_json post_processor_of(const Vocabulary& vocabulary, const ordered_json& otherwise) {
  const Framing& framing = vocabulary.framing;
  if (framing.special_tokens(true) + framing.special_tokens(false) == 0 && vocabulary.traits.offset_trims.empty())
    return otherwise;
  ordered_json list = ordered_json::array();
  for (const bool keeps_prefix_space : vocabulary.traits.offset_trims)
    list.push_back({{"type", "ByteLevel"},
                    {"add_prefix_space", keeps_prefix_space},
                    {"trim_offsets", true},
                    {"use_regex", true}});
  list.push_back(template_processing(framing, vocabulary));
  return list.size() == 1 ? list[0] : ordered_json{{"type", "Sequence"}, {"processors", list}};
}

ordered_json template_processing(const Framing& framing, const Vocabulary& vocabulary) {
  ordered_json tokens = ordered_json::object();
  const auto list = [&](const std::vector<Framing::Piece>& pieces) {
    ordered_json made = ordered_json::array();
    for (const Framing::Piece& piece : pieces) {
      const std::string name = piece.text < 0 ? vocabulary.token(piece.token) : piece.text == 0 ? "A" : "B";
      if (piece.text < 0) tokens[name] = {{"id", name}, {"ids", {piece.token}}, {"tokens", {name}}};
      made.push_back({{piece.text < 0 ? "SpecialToken" : "Sequence", {{"id", name}, {"type_id", piece.type}}}});
    }
    return made;
  };
  return {{"type", "TemplateProcessing"},
          {"single", list(framing.single)},
          {"pair", list(framing.pair)},
          {"special_tokens", tokens}};
}

}  // namespace engine
