// Steps of a normalizer that a tokenizer.json describes with data of its own: the table of a SentencePiece model,
// patterns to replace, spaces to strip.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "text/normalizer.h"

namespace engine {

class Rewrite {
 public:
  // Says how far a step reaches. A text may be cut before a run of spaces, and its parts be normalized alone, where
  // every step is local, or collapses spaces before any other step could make some.
  enum class Reach { local, makes_spaces, collapses_spaces, far };

  virtual ~Rewrite() = default;
  virtual void apply(std::vector<PlacedCharacter>& text) const = 0;
  virtual nlohmann::ordered_json to_json() const = 0;
  virtual Reach reach() const = 0;
};

// Reads Precompiled, Replace, Strip, Nmt and Prepend; nullptr for another type. An Error names a pattern that is not
// supported, or a table that is not sound.
std::shared_ptr<const Rewrite> read_rewrite(const nlohmann::json& normalizer, const std::string& where);

// Makes the step of a SentencePiece model's table of replacements (its "precompiled_charsmap").
std::shared_ptr<const Rewrite> make_charsmap(std::string bytes, const std::string& where);
std::shared_ptr<const Rewrite> make_replace(std::string_view from, std::string_view to);
// Makes " {2,}" -> " ".
std::shared_ptr<const Rewrite> make_space_collapse();

// Says whether the parts of a text between spaces may be normalized alone. `drops_spaces`: white space that remains is
// dropped afterwards.
bool is_local(const Normalizer& normalizer, bool drops_spaces);

}  // namespace engine
