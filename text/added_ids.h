// The ids of added tokens. A file may write any id beside an added token: `tokenizers` gives each token the id that it
// has in the model's vocabulary, or else the next free one.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "text/added_tokens.h"

namespace engine {

class AddedIds {
 public:
  explicit AddedIds(const std::vector<std::pair<std::string, int64_t>>& model);

  // Adds tokens in this order. The flags of a token that was added before are replaced. An Error names a token whose
  // next id another token has already; `where` goes before the message.
  void add(const std::vector<AddedToken>& tokens, const std::string& where);
  const std::vector<AddedToken>& all() const { return tokens_; }

 private:
  std::unordered_map<std::string, int64_t> model_;
  std::unordered_set<int64_t> model_ids_;
  std::vector<AddedToken> tokens_;
  std::unordered_map<std::string, size_t> places_;  // in tokens_, by content
};

}  // namespace engine
