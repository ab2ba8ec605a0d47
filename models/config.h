// What a model is made of, whatever its architecture, and the options that one architecture alone has. A model folder's
// config.json holds the same under its architecture's Hugging Face names (see huggingface.h).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/options.h"

namespace engine {

// Bounds of a model's sizes: their products stay within an int64, and no configuration makes endless tables.
inline constexpr int64_t most_width = 1 << 20, most_inner = 1 << 23, most_layers = 1024, most_rows = INT32_MAX;

enum class HeadKind { none, masked, classification };  // what an encoder predicts: nothing, masked tokens, a class

struct ModelConfig;

// The options of one architecture (architectures.h). They are declared whatever the architecture is, and may be set for
// theirs alone.
class ArchitectureOptions {
 public:
  virtual ~ArchitectureOptions() = default;
  virtual std::unique_ptr<ArchitectureOptions> clone() const = 0;
  // Takes the values of options of the same type, in place: declared options point to them.
  virtual void assign(const ArchitectureOptions& other) = 0;
  // Declares those that a user may set in [model].
  virtual void declare(Options& options) = 0;
  // A UsageError where a value cannot be.
  virtual void check() const {}
  // Takes the rates of dropout that were set in `options`, whose values `wanted` holds.
  virtual void take_dropouts(const ArchitectureOptions& /*wanted*/, const Options& /*options*/) {}
  // Writes out what a model with this config means where a value says "as usual".
  virtual void write_out(const ModelConfig&) {}
};

// Gives a struct of options what ArchitectureOptions asks for.
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

// The options of every architecture that has some, one of each type. Copies are deep, and assignment is in place.
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
    const char* architecture;
    std::unique_ptr<ArchitectureOptions> options;
  };
  const std::vector<Entry>& all() const { return entries_; }
  void take_dropouts(const OwnOptions& wanted, const Options& options);
  // A new instance of an architecture's options.
  static std::unique_ptr<ArchitectureOptions> defaults(const std::string& architecture);

 private:
  [[noreturn]] static void fail_missing();
  std::vector<Entry> entries_;
};

struct ModelConfig {
  // An activation that is left to the architecture; so are an epsilon of 0 and a classifier_dropout below 0.
  static constexpr const char* open_activation = "auto";

  std::string architecture = "gpt2";
  int64_t hidden_size = 256;    // C
  int64_t num_layers = 4;       // L, of an encoder-decoder the encoder's
  int64_t num_heads = 8;        // H
  int64_t ffn_size = 0;         // F; 0: 4 C
  int64_t vocab_size = 0;       // V; 0: the tokenizer's
  int64_t max_positions = 1024;
  std::string activation = "gelu_tanh";
  float dropout = 0;            // of embeddings and of what is added to the residual stream
  float attention_dropout = 0;  // of attention probabilities
  float layer_norm_epsilon = 1e-5f;
  float initializer_range = 0.02f;
  int32_t bos_token = -1, pad_token = -1;  // -1: none
  std::vector<int32_t> eos_tokens;         // each of them ends a text
  std::vector<int32_t> generation_ends;    // generation stops at these instead; empty: at eos_tokens

  // The head of an encoder.
  HeadKind head = HeadKind::none;
  bool pooler = false;              // a dense layer on the first row, in a model without outputs
  float classifier_dropout = 0;     // of what the classifier reads
  std::vector<std::string> labels;  // names of the classes

  OwnOptions own;  // of single architectures

  int64_t inner_size() const { return ffn_size ? ffn_size : 4 * hidden_size; }
  // The tokens at which generation stops; may be empty.
  const std::vector<int32_t>& end_tokens() const { return generation_ends.empty() ? eos_tokens : generation_ends; }

  // Adds the options of [model], common ones and those of every architecture.
  void declare(Options& options);
  // The same with nothing left open: the activation and the epsilon that the architecture is known for, and the
  // classifier's dropout that of the model. A UsageError where the architecture is unknown, a size cannot be, or an
  // option of another architecture was set. Makers of models do this.
  ModelConfig completed() const;
};

// A configuration that leaves open what the architecture decides.
ModelConfig open_model();

// Where weights come from `init`, so does the model's shape: a UsageError where an option of [model] that was set says
// something else. The rates of dropout are no part of it.
void check_against_init(const ModelConfig& wanted, const ModelConfig& model, const Options& options,
                        const std::string& init);

}  // namespace engine
