#include "models/config.h"

#include <algorithm>

#include "core/error.h"
#include "models/architectures.h"

namespace engine {

namespace {

// Returns the options of an architecture as text, by name.
std::vector<std::pair<std::string, std::string>> texts_of(const ArchitectureOptions& own) {
  const std::unique_ptr<ArchitectureOptions> copy = own.clone();
  Options options;
  copy->declare(options);
  std::vector<std::pair<std::string, std::string>> texts;
  for (const Options::Option& option : options.all()) texts.emplace_back(option.name, option.text());
  return texts;
}

// Throws a UsageError where an option of another architecture was set.
void refuse_options_of_others(const ModelConfig& config) {
  for (const OwnOptions::Entry& entry : config.own.all()) {
    if (entry.is_of(config.architecture)) continue;
    const auto defaults = texts_of(*entry.make()), texts = entry.texts();
    std::string owners;
    for (const char* owner : entry.architectures)
      owners.append(owners.empty() ? "" : " and ").append(owner).append("'s");
    for (size_t i = 0; i < texts.size(); ++i)
      if (texts[i] != defaults[i])
        fail_usage(texts[i].first, " is an option of ", owners, ", the model is a ", config.architecture);
  }
}

const std::vector<std::string> span_orders{ModelConfig::independent_spans, "start_first", "end_first"};

void check_span_parts(const ModelConfig& config) {
  if (std::find(span_orders.begin(), span_orders.end(), config.span_order) == span_orders.end())
    fail_usage("model.span_order \"", config.span_order.substr(0, 60), "\" is unknown: independent, start_first or ",
               "end_first");
  if (!config.has_span_parts() || config.head == HeadKind::question_answering) return;
  fail_usage(config.span_dense ? "model.span_dense is true" : "model.span_order is \"" + config.span_order + "\"",
             ": it is for a model that answers questions, which task = \"squad\" trains");
}

// Tells whether an option's text leaves the value to the architecture or the folder.
bool is_open(const std::string& text) { return text == "0" || text == "0.0" || text == "\"auto\"" || text == "-1.0"; }

}  // namespace

OwnOptions::OwnOptions() {
  for (const Architecture& row : architectures())
    for (const auto make : row.own_options) {
      const auto same = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.make == make; });
      if (same != entries_.end()) same->architectures.push_back(row.name);
      else entries_.push_back({{row.name}, make, make()});
    }
}

OwnOptions::OwnOptions(const OwnOptions& other) {
  for (const Entry& entry : other.entries_)
    entries_.push_back({entry.architectures, entry.make, entry.options->clone()});
}

OwnOptions& OwnOptions::operator=(const OwnOptions& other) {
  for (size_t i = 0; i < entries_.size(); ++i) entries_[i].options->assign(*other.entries_[i].options);
  return *this;
}

bool OwnOptions::Entry::is_of(const std::string& architecture) const {
  return std::find(architectures.begin(), architectures.end(), architecture) != architectures.end();
}

std::vector<std::pair<std::string, std::string>> OwnOptions::Entry::texts() const { return texts_of(*options); }

void OwnOptions::take_dropouts(const OwnOptions& wanted, const Options& options) {
  for (size_t i = 0; i < entries_.size(); ++i)
    entries_[i].options->take_dropouts(*wanted.entries_[i].options, options);
}

void OwnOptions::fail_missing() { fail("no architecture has options of this type"); }

ModelConfig ModelConfig::completed() const {
  ModelConfig config = *this;
  const Architecture& row = architecture_of(config);
  refuse_options_of_others(config);
  // Values that nothing reads stay open.
  if (row.has_attention) {
    if (config.activation == open_activation) config.activation = row.activation;
    if (config.layer_norm_epsilon == 0) config.layer_norm_epsilon = row.layer_norm_epsilon;
  }
  if (!row.saves_epsilon && config.layer_norm_epsilon != row.layer_norm_epsilon)
    fail_usage("model.layer_norm_epsilon is ", config.layer_norm_epsilon, ", that of a ", config.architecture, " is ",
               row.layer_norm_epsilon, ": leave it out");
  if (config.classifier_dropout < 0) config.classifier_dropout = config.dropout;
  check_sizes(config);
  check_span_parts(config);
  for (const OwnOptions::Entry& entry : config.own.all())
    if (entry.is_of(config.architecture)) entry.options->check();
  return config;
}

void take_span_parts(ModelConfig& model, const ModelConfig& wanted, const Options& options) {
  if (options.was_set("model.span_dense")) model.span_dense = wanted.span_dense;
  if (options.was_set("model.span_order")) model.span_order = wanted.span_order;
}

ModelConfig open_model() {
  ModelConfig config;
  config.activation = ModelConfig::open_activation;
  config.layer_norm_epsilon = 0;
  config.classifier_dropout = -1;
  return config;
}

void ModelConfig::declare(Options& options) {
  std::vector<std::string> names;
  for (const Architecture& row : architectures()) names.push_back(row.name);
  options.add("model.architecture", architecture, one_of(names), "of a new model; with init the folder's counts");
  options.add("model.hidden_size", hidden_size, between(1, most_width), "width of the model; a multiple of num_heads");
  options.add("model.num_layers", num_layers, between(1, most_layers),
              "transformer blocks, or an lstm's layers, one upon another");
  options.add("model.num_heads", num_heads, between(1, most_width), "attention heads of a block; at most 128 wide");
  options.add("model.ffn_size", ffn_size, between(0, most_inner),
              "inner width of the feed-forward part; 0: 4 hidden_size");
  options.add("model.vocab_size", vocab_size, between(0, most_rows),
              "tokens the model knows; 0: as many as the tokenizer");
  options.add("model.max_positions", max_positions, between(1, most_rows), "the longest sequence in tokens");
  options.add("model.activation", activation,
              one_of({"auto", "gelu_tanh", "gelu", "quick_gelu", "relu", "tanh", "silu", "mish"}),
              "of the feed-forward part; auto: the architecture's, GPT-2's gelu_tanh or BERT's gelu");
  options.add("model.dropout", dropout, between(0, 1),
              "share of the embeddings and of each block's additions that is dropped in training; lstm: of what a "
              "layer gives to the next");
  options.add("model.attention_dropout", attention_dropout, between(0, 1),
              "share of the attention probabilities that is dropped in training");
  options.add("model.classifier_dropout", classifier_dropout, between(-1, 1),
              "share of what a classifier reads that is dropped in training; -1: as dropout");
  options.add("model.span_dropout", span_dropout, between(0, 1),
              "share of what a head that answers questions reads that is dropped in training");
  options.add("model.span_dense", span_dense,
              "a dense layer with mish whose outputs a head that answers questions reads beside the hidden states; "
              "transformers cannot load the model");
  options.add("model.span_order", span_order, one_of(span_orders),
              "start_first: the logit of an answer's end reads that of its start, too; end_first: the other way round; "
              "transformers cannot load either");
  options.add("model.layer_norm_epsilon", layer_norm_epsilon, at_least(0),
              "added to the variance in a layernorm; 0: the architecture's, GPT-2's 1e-5 or BERT's 1e-12");
  for (const OwnOptions::Entry& entry : own.all()) entry.options->declare(options);
  options.add("model.initializer_range", initializer_range, at_least(0),
              "standard deviation of a new model's weights");
}

void check_against_init(const ModelConfig& wanted, const ModelConfig& model, const Options& options,
                        const std::string& init) {
  // Both are written out, so that an open value compares equal to the same value spelled out.
  const auto write_out = [](const ModelConfig& config) {
    ModelConfig result = config;
    result.ffn_size = config.inner_size();
    for (const OwnOptions::Entry& entry : result.own.all()) entry.options->write_out(result);
    return result;
  };
  ModelConfig ours = write_out(wanted), theirs = write_out(model);
  Options our_options, their_options;
  ours.declare(our_options);
  theirs.declare(their_options);
  for (size_t i = 0; i < our_options.all().size(); ++i) {
    const Options::Option &our = our_options.all()[i], &their = their_options.all()[i];
    const bool is_dropout = our.name.ends_with("dropout");
    if (is_dropout || !options.was_set(our.name) || our.text() == their.text() || is_open(our.text())) continue;
    fail_usage(our.name, " is ", our.text(), ", but the model in init = \"", init, "\" has ", their.text(),
               ": leave it out, or leave out init");
  }
}

}  // namespace engine
