#include "training/config.h"

#include "kernels/attention/attention.h"

namespace engine {

namespace {

const std::vector<std::string> architectures{"gpt2", "bert", "distilbert", "sinusoidal_encoder", "bart"};
constexpr int64_t most_tokens = INT32_MAX;  // of a batch, which counts them in 32 bits

void declare_model(Options& options, ModelConfig& model) {
  options.add("model.architecture", model.architecture, one_of(architectures),
              "of a new model; with init the folder's counts");
  options.add("model.hidden_size", model.hidden_size, between(1, most_width),
              "width of the model; a multiple of num_heads");
  options.add("model.num_layers", model.num_layers, between(1, most_layers), "transformer blocks, one upon another");
  options.add("model.num_heads", model.num_heads, between(1, most_width),
              "attention heads of a block; at most 128 wide");
  options.add("model.ffn_size", model.ffn_size, between(0, most_inner),
              "inner width of the feed-forward part; 0: 4 hidden_size");
  options.add("model.vocab_size", model.vocab_size, between(0, most_rows),
              "tokens the model knows; 0: as many as the tokenizer");
  options.add("model.max_positions", model.max_positions, between(1, most_rows), "the longest sequence in tokens");
  options.add("model.activation", model.activation, one_of({"auto", "gelu_tanh", "gelu", "relu", "tanh"}),
              "of the feed-forward part; auto: the architecture's, GPT-2's gelu_tanh or BERT's gelu");
  options.add("model.dropout", model.dropout, from_up_to_below(0, 1),
              "share of the embeddings and of each block's additions that is dropped in training");
  options.add("model.attention_dropout", model.attention_dropout, from_up_to_below(0, 1),
              "share of the attention probabilities that is dropped in training");
  options.add("model.classifier_dropout", model.classifier_dropout, from_up_to_below(-1, 1),
              "share of what a classifier reads that is dropped in training; -1: as dropout");
  options.add("model.layer_norm_epsilon", model.layer_norm_epsilon, at_least(0),
              "added to the variance in a layernorm; 0: the architecture's, GPT-2's 1e-5 or BERT's 1e-12");
  options.add("model.doubled_position_angles", model.doubled_position_angles,
              "sinusoidal_encoder: positions' angles with the exponent doubled, as some older models have it");
  options.add("model.positions", model.positions, one_of({"learned", "sinusoidal", "none"}),
              "bart: what tells the places of tokens apart; only learned ones make a model that transformers can load");
  options.add("model.relative_positions", model.relative_positions, one_of({"none", "shared", "separate"}),
              "bart: what self attention adds to keys and values by their distance from the query: nothing, rows of "
              "one table, or of one for each; with tables transformers cannot load the model");
  options.add("model.relative_distances", model.relative_distances, between(1, most_distances),
              "bart: distances that relative_positions tell apart each way; farther ones count as the farthest");
  options.add("model.decoder_layers", model.decoder_layers, between(0, most_layers),
              "bart: transformer blocks of the decoder, num_layers being the encoder's; 0: as many");
  options.add("model.initializer_range", model.initializer_range, at_least(0),
              "standard deviation of a new model's weights");
}

void declare_data(Options& options, DataConfig& data) {
  options.add("data.train", data.train, "files to train on");
  options.add("data.eval", data.eval, "files to evaluate on while training");
  options.add("data.test", data.test, "files for eval --split test");
  options.add("data.train_share", data.train_share, Range{.least = 0, .most = 1, .without_least = true},
              "this part of the training sequences is trained on, spread evenly over the data");
  options.add("data.eval_sequences", data.eval_sequences, at_least(0),
              "an evaluation takes so many sequences, spread evenly over its data; 0: all");
  options.add("data.block_size", data.block_size, between(0, most_rows),
              "tokens of a training sequence; 0: as many as the model has positions and an encoder's tokenizer allows");
  options.add("data.shuffle", data.shuffle,
              "draw sequences in a random order, a new one each epoch; false: in file order");
  options.add("data.tokenizer", data.tokenizer, any_value(),
              "a folder with a tokenizer, or characters: those of the training text; empty: the one in init");
}

void declare_training(Options& options, TrainingConfig& training) {
  options.add("training.batch_size", training.batch_size, between(1, most_tokens),
              "sequences an optimizer step, over all ranks");
  options.add("training.micro_batch_size", training.micro_batch_size, between(0, most_tokens),
              "sequences run at once; gradients of the others of a step are added up; 0: as many as together have up "
              "to 1024 to 16384 tokens, the fewer the larger the model, and always one");
  options.add("training.batch_tokens", training.batch_tokens, between(0, most_tokens),
              "tokens an optimizer step, in place of batch_size; 0: batch_size counts");
  options.add("training.group_by_length", training.group_by_length,
              "where examples differ in length (cola, sst2, mlm by lines): shuffle so that a batch's are about equally "
              "long");
  options.add("training.max_steps", training.max_steps, at_least(0), "optimizer steps; 0: as epochs says");
  options.add("training.epochs", training.epochs, at_least(0), "passes over the training data where max_steps is 0");
  options.add("training.learning_rate", training.learning_rate, at_least(0), "the highest, reached after warm-up");
  options.add("training.min_learning_rate", training.min_learning_rate, at_least(0), "where the schedule ends");
  options.add("training.initial_learning_rate", training.initial_learning_rate, at_least(0),
              "where warm-up starts: to go on from a model at the rate it was left with");
  options.add("training.scheduler", training.scheduler, one_of({"linear", "cosine", "constant", "exponential"}),
              "how the learning rate falls after warm-up, to min_learning_rate at the end");
  options.add("training.warmup_steps", training.warmup_steps, at_least(0),
              "steps in which the learning rate rises linearly to learning_rate");
  options.add("training.learning_rate_scales", training.learning_rate_scales,
              "\"NAME:FACTOR\" of the learning rate of the parameters whose names begin with NAME, such as "
              "\"embedding:0\": the longest NAME counts; 0 freezes them");
  options.add("training.layer_decay", training.layer_decay, Range{.least = 0, .most = 1, .without_least = true},
              "factor of the learning rate for each layer further down: 1 for the head, layer_decay for the last "
              "layer, its square for the one below, least for the embeddings");
  options.add("training.load_optimizer", training.load_optimizer,
              "where init is a run of this task: go on from its state, values and moments; false: from its best model, "
              "with moments of zero");
  options.add("training.new_head", training.new_head,
              "the head is new even where init has one for this task, and no state is taken from init");
  options.add("training.resume_warmup_steps", training.resume_warmup_steps, at_least(0),
              "steps in which the last learning rate goes over to the schedule's: that of the run in init, or this "
              "run's own where it goes on with another length than it was begun with");
  options.add("training.weight_decay", training.weight_decay, at_least(0),
              "decoupled decay (AdamW) of parameters with two or more dimensions");
  options.add("training.adam_beta1", training.adam_beta1, from_up_to_below(0, 1), "decay of the gradients' mean");
  options.add("training.adam_beta2", training.adam_beta2, from_up_to_below(0, 1), "decay of the mean of their squares");
  options.add("training.adam_epsilon", training.adam_epsilon, above(0), "added to the root of the mean square");
  options.add("training.max_grad_norm", training.max_grad_norm, at_least(0),
              "gradients of a larger norm, over all parameters, are scaled down to it; 0: never");
  options.add("training.label_smoothing", training.label_smoothing, from_up_to_below(0, 1),
              "share of a label's probability that is spread over the vocabulary");
  options.add("training.log_every", training.log_every, at_least(1), "steps between two lines of the log");
  options.add("training.eval_every", training.eval_every, at_least(0), "steps between evaluations; 0: only at the end");
  options.add("training.save_every", training.save_every, at_least(0),
              "steps between savings of the state and the last model; 0: only at the end");
  options.add("training.keep_checkpoints", training.keep_checkpoints, at_least(0),
              "numbered model folders that are kept beside best and last; one appears with each saving");
  options.add("training.early_stopping_patience", training.early_stopping_patience, at_least(0),
              "evaluations in a row without a better one after which training stops; 0: never");
  options.add("training.best_metric", training.best_metric, any_value(),
              "the metric by which best is chosen: it falls if its name ends with loss or perplexity, else it rises; "
              "empty: the task's own");
  options.add("training.recompute", training.recompute,
              "run each block again in the backward pass in place of keeping its activations: less memory, more time");
  options.add("training.save_dtype", training.save_dtype, one_of({"f32", "f16", "bf16"}),
              "of the saved models' weights");
}

void declare_generation(Options& options, GenerationConfig& generation) {
  options.add("generation.temperature", generation.temperature, at_least(0),
              "below 1 sharpens what is drawn from, above 1 flattens it; 0: the likeliest token always");
  options.add("generation.top_k", generation.top_k, at_least(0), "draw from that many likeliest tokens; 0: from all");
  options.add("generation.top_p", generation.top_p, Range{.least = 0, .most = 1, .without_least = true},
              "draw from the fewest likeliest tokens that together have this probability; 1: from all");
  options.add("generation.max_new_tokens", generation.max_new_tokens, at_least(1), "tokens after the prompt at most");
}

}  // namespace

void Config::declare(Options& options) {
  options.add("task", task, any_value(), "what is trained: the tasks are in docs/tasks.md");
  options.add("name", name, any_value(), "of the run: its folder is output_dir/name");
  options.add("output_dir", output_dir, any_value(), "where run folders are made");
  options.add("init", init, any_value(),
              "a model folder, or a run's folder (its best model), to start from: weights and tokenizer, and of a run "
              "of this task its state, see docs/tasks.md; empty: a new model");
  options.add("resume", resume, "go on from the run folder's state if there is one; false: start anew");
  options.add("seed", seed, any_value(), "of everything random: initial weights, data order, dropout, samples");
  options.add("device", device, one_of({"auto", "cpu", "cuda", "sim", "check"}),
              "what computes; auto: the best there is; sim: the simulated GPU, in a build of its own; check: the CPU "
              "and the other device beside it, until an operation's results differ");
  options.add("precision", precision, one_of({"auto", "f32", "bf16"}),
              "of products and activations; auto: bf16 where the processor has bf16 matrix units, else f32");
  options.add("attention", device_options.attention, one_of({"auto", "own", "cudnn"}),
              "of a GPU: our own kernels, or cuDNN's for what it takes: products in bf16, heads 32 to 128 wide in "
              "steps of 8, no attention_dropout while training, no relative positions, no cache of what was generated; "
              "auto: cuDNN's where GPU and version are known to make it faster. Never chosen by measuring, so that a "
              "training that goes on has the bits of one that was not interrupted");
  options.add("matmul", device_options.matmul, one_of({"auto", "own", "cublaslt"}),
              "of a GPU: auto: cuBLASLt's kernels where it is installed and has one for a product, else our own; own: "
              "these always; cublaslt: as auto, but where it is not installed that is an error");
  options.add("synchronous", device_options.synchronous,
              "of a GPU: wait for it after every kernel, so that an error names the operation that failed, and not all "
              "that were under way; slow");
  options.add("threads", threads, between(0, 1024), "threads used; 0: one a processor. Results do not depend on it");
  declare_model(options, model);
  declare_data(options, data);
  declare_training(options, training);
  declare_generation(options, generation);
}

}  // namespace engine
