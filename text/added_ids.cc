#include "text/added_ids.h"

#include <algorithm>

#include "core/error.h"

namespace engine {

AddedIds::AddedIds(const std::vector<std::pair<std::string, int64_t>>& model) : model_(model.begin(), model.end()) {
  for (const auto& [token, id] : model) model_ids_.insert(id);
}

void AddedIds::add(const std::vector<AddedToken>& tokens, const std::string& where) {
  auto next = static_cast<int64_t>(model_.size());
  for (const AddedToken& known : tokens_) next = std::max<int64_t>(next, known.id + 1);
  for (AddedToken token : tokens) {
    if (token.content.empty()) continue;
    const auto [place, is_new] = places_.emplace(token.content, tokens_.size());
    if (!is_new) {
      AddedToken& known = tokens_[place->second];
      token.id = known.id;
      token.special = token.special || known.special;  // a token stays special
      known = std::move(token);
      continue;
    }
    const auto in_model = model_.find(token.content);
    if (in_model == model_.end() && model_ids_.contains(next))
      fail(where, ": the added token \"", token.content.substr(0, 60), "\" would get the id ", next,
           ", which another token has: the ids of the vocabulary have gaps");
    token.id = static_cast<int32_t>(in_model == model_.end() ? next++ : in_model->second);
    tokens_.push_back(std::move(token));
  }
}

}  // namespace engine
