#include "models/architectures.h"

#include <algorithm>
#include <array>

#include "core/listing.h"
#include "models/bart.h"
#include "models/bert.h"
#include "models/gpt2.h"
#include "models/huggingface_format.h"
#include "models/neox.h"
#include "models/positions.h"
#include "models/sinusoidal_encoder.h"
#include "models/tied_options.h"

namespace engine {

namespace {

template <class T>
std::unique_ptr<ArchitectureOptions> options_of() {
  return std::make_unique<T>();
}

}  // namespace

std::span<const Architecture> architectures() {
  static const std::array rows{
      Architecture{.name = "gpt2",
                   .kind = ModelKind::decoder,
                   .make = make_gpt2,
                   .formats = {gpt2_format, own_gpt2_format},
                   .activation = "gelu_tanh",
                   .own_options = {options_of<Gpt2Options>, options_of<PositionOptions>,
                                   options_of<PositionTableOptions>, options_of<RotaryOptions>,
                                   options_of<UntiedOptions>}},
      Architecture{.name = "gpt_neox",
                   .kind = ModelKind::decoder,
                   .make = make_gpt_neox,
                   .formats = {gpt_neox_format},
                   .own_options = {options_of<NeoxOptions>, options_of<TiedOptions>, options_of<RotaryOptions>}},
      Architecture{.name = "bert",
                   .kind = ModelKind::encoder,
                   .make = make_bert,
                   .formats = {bert_format},
                   .layer_norm_epsilon = 1e-12f,
                   .own_options = {options_of<BertOptions>, options_of<UntiedOptions>}},
      Architecture{.name = "distilbert",
                   .kind = ModelKind::encoder,
                   .make = make_distilbert,
                   .formats = {distilbert_format},
                   .layer_norm_epsilon = 1e-12f,
                   .saves_epsilon = false,
                   .own_options = {options_of<UntiedOptions>}},
      Architecture{.name = "roberta",
                   .kind = ModelKind::encoder,
                   .make = make_roberta,
                   .formats = {roberta_format, xlm_roberta_format},
                   .own_options = {options_of<RobertaOptions>, options_of<UntiedOptions>}},
      Architecture{.name = "rembert",
                   .kind = ModelKind::encoder,
                   .make = make_rembert,
                   .formats = {rembert_format},
                   .layer_norm_epsilon = 1e-12f,
                   .own_options = {options_of<RemBertOptions>}},
      Architecture{.name = "sinusoidal_encoder",
                   .kind = ModelKind::encoder,
                   .make = make_sinusoidal_encoder,
                   .formats = {sinusoidal_encoder_format},
                   .own_options = {options_of<SinusoidalOptions>}},
      Architecture{.name = "bart",
                   .kind = ModelKind::encoder_decoder,
                   .make = make_bart,
                   .formats = {bart_format, own_bart_format},
                   .saves_epsilon = false,
                   .own_options = {options_of<PositionOptions>, options_of<BartOptions>, options_of<UntiedOptions>}},
      Architecture{.name = "lstm",
                   .kind = ModelKind::decoder,
                   .make = make_lstm,
                   .formats = {lstm_format},
                   .has_attention = false,
                   .own_options = {options_of<TiedOptions>}}};
  return rows;
}

const Architecture& architecture_of(const ModelConfig& config) {
  std::string known;
  for (const Architecture& row : architectures()) {
    if (config.architecture == row.name) return row;
    known += (known.empty() ? "" : ", ") + std::string(row.name);
  }
  fail_usage("model.architecture \"", config.architecture.substr(0, 60), "\" is unknown: ", known);
}

std::string architecture_names(const std::vector<ModelKind>& kinds) {
  std::vector<std::string> names;
  for (const Architecture& row : architectures())
    if (std::find(kinds.begin(), kinds.end(), row.kind) != kinds.end()) names.push_back(row.name);
  return listed(names, " or ");
}

bool reads_source(const Model& model) { return architecture_of(model.config()).kind == ModelKind::encoder_decoder; }

bool generates(const Model& model) { return architecture_of(model.config()).kind != ModelKind::encoder; }

std::unique_ptr<Model> make_model(const ModelConfig& wanted, const std::vector<ModelKind>& kinds) {
  const Architecture& row = architecture_of(wanted);
  if (!kinds.empty() && std::find(kinds.begin(), kinds.end(), row.kind) == kinds.end())
    fail_usage("model.architecture \"", wanted.architecture, "\" is not ",
               row.kind == ModelKind::encoder ? "a decoder: " : "an encoder: ", architecture_names(kinds));
  return row.make(wanted.completed());
}

}  // namespace engine
