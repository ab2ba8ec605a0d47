// A model's configuration has sizes and rates that all architectures share, and the options of single architectures. A
// model folder's config.json holds the same under its architecture's Hugging Face names (see huggingface.h).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/options.h"

namespace engine {

// These bounds of a model's sizes keep their products within an int64 and its tables within reason.
inline constexpr int64_t most_width = 1 << 20, most_inner = 1 << 23, most_layers = 1024, most_rows = INT32_MAX;

// An encoder predicts nothing, masked tokens, a class, or where an answer begins and ends.
enum class HeadKind { none, masked, classification, question_answering };

struct ModelConfig;

// The options of one architecture (architectures.h), or of a few, are declared for every architecture, but a user may
// set them for those only.
class ArchitectureOptions {
 public:
  virtual ~ArchitectureOptions() = default;
  virtual std::unique_ptr<ArchitectureOptions> clone() const = 0;
  // Takes the values of options of the same type in place, because declared options point to them.
  virtual void assign(const ArchitectureOptions& other) = 0;
  // Declares those that a user may set in [model].
  virtual void declare(Options& options) = 0;
  // Throws a UsageError where a value is impossible.
  virtual void check() const {}
  // Takes the rates of dropout that were set in `options`, whose values `wanted` holds.
  virtual void take_dropouts(const ArchitectureOptions& /*wanted*/, const Options& /*options*/) {}
  // Replaces values that say "as usual" by what they mean in a model with this config.
  virtual void write_out(const ModelConfig&) {}
};

// Implements what ArchitectureOptions needs for a struct of options.
template <class Self>
class OptionsOf : public ArchitectureOptions {
 public:
  std::unique_ptr<ArchitectureOptions> clone() const override { return std::make_unique<Self>(self()); }
  void assign(const ArchitectureOptions& other) override {
    static_cast<Self&>(*this) = dynamic_cast<const Self&>(other);
  }

 private:
  const Self& self() const { return static_cast<const Self&>(*this); }
};

// Holds the options of every architecture that has some, one of each type. Copies are deep, and assignment is in place.
class OwnOptions {
 public:
  OwnOptions();
  OwnOptions(const OwnOptions& other);
  OwnOptions& operator=(const OwnOptions& other);

  template <class T>
  T& get() {
    for (const Entry& entry : entries_)
      if (T* const found = dynamic_cast<T*>(entry.options.get())) return *found;
    fail_missing();
  }
  template <class T>
  const T& get() const {
    return const_cast<OwnOptions*>(this)->get<T>();
  }

  struct Entry {
    std::vector<const char*> architectures;          // that read them
    std::unique_ptr<ArchitectureOptions> (*make)();  // at their defaults
    std::unique_ptr<ArchitectureOptions> options;

    bool is_of(const std::string& architecture) const;
    // Returns the names of the options and their present values as text.
    std::vector<std::pair<std::string, std::string>> texts() const;
  };
  const std::vector<Entry>& all() const { return entries_; }
  void take_dropouts(const OwnOptions& wanted, const Options& options);

 private:
  [[noreturn]] static void fail_missing();
  std::vector<Entry> entries_;
};

struct ModelConfig {
  // This activation, an epsilon of 0 and a classifier_dropout below 0 leave the choice to the architecture.
  static constexpr const char* open_activation = "auto";
  static constexpr const char* independent_spans = "independent";  // an answer's first and last token

  std::string architecture = "gpt2";
  int64_t hidden_size = 256;    // C
  int64_t num_layers = 4;       // L, of the encoder in an encoder-decoder
  int64_t num_heads = 8;        // H
  int64_t ffn_size = 0;         // F; 0: 4 C
  int64_t vocab_size = 0;       // V; 0: the tokenizer's
  int64_t max_positions = 1024;
  std::string activation = "gelu_tanh";
  float dropout = 0;            // of embeddings and of additions to the residual stream
  float attention_dropout = 0;  // of attention probabilities
  float layer_norm_epsilon = 1e-5f;
  float initializer_range = 0.02f;
  int32_t bos_token = -1, pad_token = -1;  // -1: none
  std::vector<int32_t> eos_tokens;         // each of them ends a text
  std::vector<int32_t> generation_ends;    // generation stops at these instead; empty: at eos_tokens

  // The head of an encoder.
  HeadKind head = HeadKind::none;
  bool pooler = false;              // dense layer on the first row, in a model without outputs
  float classifier_dropout = 0;     // of the classifier's input
  std::vector<std::string> labels;  // names of the classes
  float span_dropout = 0;           // of the input of a head that answers questions
  bool span_dense = false;          // a dense layer with mish beside that input
  std::string span_order = independent_spans;  // or the logit that the other one reads: start_first, end_first

  // A decoder with thought states is recurrent at its thought tokens (models/thought_states.h).
  bool thought_states = false, thought_norm = true;
  int32_t thought_token = -1;

  bool has_span_parts() const { return span_dense || span_order != independent_spans; }

  OwnOptions own;  // options of single architectures

  int64_t inner_size() const { return ffn_size ? ffn_size : 4 * hidden_size; }
  // The tokens at which generation stops; may be empty.
  const std::vector<int32_t>& end_tokens() const { return generation_ends.empty() ? eos_tokens : generation_ends; }

  // Adds the options of [model], which are the common ones and those of every architecture.
  void declare(Options& options);
  // Returns the configuration with nothing left open. The activation and the epsilon become the architecture's usual
  // ones, and the classifier's dropout becomes that of the model. Throws a UsageError where the architecture is
  // unknown, a size is impossible, or an option of another architecture was set. Makers of models call this.
  ModelConfig completed() const;
};

// Replaces the parts of the head for answers by those that were set in `options`, whose values `wanted` holds. They
// belong to a task, so they may be added to a model that came without them.
void take_span_parts(ModelConfig& model, const ModelConfig& wanted, const Options& options);

// Returns a configuration that leaves open what the architecture decides.
ModelConfig open_model();

// The model's shape comes from `init` where its weights do. Throws a UsageError where a set option of [model]
// contradicts it. The rates of dropout are no part of the shape.
void check_against_init(const ModelConfig& wanted, const ModelConfig& model, const Options& options,
                        const std::string& init);

}  // namespace engine
