#include "models/tied_options.h"

namespace engine {

namespace {

// Returns options of this type if the config's architecture has them, else null.
template <class T>
T* own_options(const ModelConfig& config) {
  for (const OwnOptions::Entry& entry : config.own.all())
    if (T* const found = dynamic_cast<T*>(entry.options.get()); found && entry.is_of(config.architecture)) return found;
  return nullptr;
}

}  // namespace

void TiedOptions::declare(Options& options) {
  options.add("model.tied_embeddings", tied_embeddings,
              "gpt_neox and lstm: the token embedding also projects to the logits; false: a table of their own does");
}

void UntiedOptions::declare(Options& options) {
  options.add("model.untied_embeddings", untied_embeddings,
              "a table of its own projects to the logits over the vocabulary, not the token embedding; in a bart the "
              "encoder and the decoder then also have token embeddings of their own");
}

bool has_tied_embeddings(const ModelConfig& config) {
  if (const auto* own = own_options<TiedOptions>(config)) return own->tied_embeddings;
  const auto* own = own_options<UntiedOptions>(config);
  return own && !own->untied_embeddings;
}

void set_tied_embeddings(ModelConfig& config, bool is_tied) {
  if (auto* own = own_options<TiedOptions>(config)) own->tied_embeddings = is_tied;
  if (auto* own = own_options<UntiedOptions>(config)) own->untied_embeddings = !is_tied;
}

}  // namespace engine
