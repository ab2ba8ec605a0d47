#include "text/metaspace.h"

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"
#include "text/unicode.h"

namespace engine {

using nlohmann::json;

Metaspace Metaspace::read(const json& object, const std::string& where) {
  Metaspace made;
  const std::string replacement = json_string(object, "replacement", where);
  if (count_characters(replacement) != 1) fail(where, ": \"replacement\" of Metaspace should be one character");
  const char* place = replacement.data();
  made.replacement = next_character(place);
  const std::string scheme = json_string(object, "prepend_scheme", where, "always");
  // Older files say add_prefix_space.
  const bool prepends = json_bool(object, "add_prefix_space", where, true);
  if (scheme == "never" || !prepends) made.scheme = Scheme::never;
  else if (scheme == "first") made.scheme = Scheme::first;
  else if (scheme != "always")
    fail(where, ": \"prepend_scheme\" of Metaspace is \"", scheme.substr(0, 60), "\": it should be always, first or ",
         "never");
  if (!prepends && scheme != "never" && json_has(object, "prepend_scheme", where))
    fail(where, ": \"add_prefix_space\" and \"prepend_scheme\" of Metaspace disagree");
  made.splits = json_bool(object, "split", where, true);
  return made;
}

nlohmann::ordered_json Metaspace::to_json() const {
  std::string character;
  append_utf8(character, replacement);
  return {{"type", "Metaspace"}, {"replacement", character}, {"prepend_scheme", scheme_name()}, {"split", splits}};
}

std::string Metaspace::scheme_name() const {
  return scheme == Scheme::always ? "always" : scheme == Scheme::first ? "first" : "never";
}

}  // namespace engine
