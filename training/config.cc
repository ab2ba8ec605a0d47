#include "training/config.h"

#include <algorithm>

#include "models/architectures.h"
#include "models/bart.h"
#include "models/positions.h"

namespace engine {

namespace {

constexpr int64_t most_tokens = INT32_MAX;  // a batch counts its tokens in 32 bits
constexpr int most_beams = 1024;

void declare_data(Options& options, DataConfig& data) {
  options.add("data.train", data.train, "files to train on");
  options.add("data.eval", data.eval, "files to evaluate on while training");
  options.add("data.test", data.test, "files for eval --split test").may_change();
  options.add("data.train_share", data.train_share, Range{.least = 0, .most = 1, .without_least = true},
              "the part of the training sequences that is trained on, spread evenly over the data");
  options.add("data.eval_sequences", data.eval_sequences, at_least(0),
              "the number of sequences of an evaluation, spread evenly over its data; 0: all");
  options.add("data.block_size", data.block_size, between(0, most_rows),
              "tokens of a training sequence; 0: as many as the model has positions and an encoder's tokenizer allows");
  options.add("data.shuffle", data.shuffle,
              "draw sequences in a random order, a new one each epoch; false: in file order");
  options.add("data.tokenizer", data.tokenizer, any_value(),
              "a folder with a tokenizer, or \"characters\" for those of the training text; empty: the one in init");
}

// The schedulers that have options of their own.
void declare_plateaus_and_cycles(Options& options, TrainingConfig& training) {
  const auto falls_on_plateaus = [&training] { return training.scheduler == "plateau"; };
  const auto is_cyclic = [&training] { return training.scheduler == "cyclic"; };
  const std::string plateau = "training.scheduler = \"plateau\"", cyclic = "training.scheduler = \"cyclic\"";
  options.add("training.plateau_factor", training.plateau_factor, Range{.least = 0, .most = 1, .without_least = true},
              "scheduler plateau: factor of the learning rate at each reduction, down to min_learning_rate")
      .needs(falls_on_plateaus, plateau);
  options.add("training.plateau_patience", training.plateau_patience, at_least(1),
              "scheduler plateau: evaluations in a row without a better one after which the rate is reduced")
      .needs(falls_on_plateaus, plateau);
  options.add("training.cycle_steps", training.cycle_steps, at_least(0),
              "scheduler cyclic: steps of a cycle; in its first half the rate rises from min_learning_rate to "
              "learning_rate, in its second half it falls back")
      .needs(is_cyclic, cyclic);
  options.add("training.cycle_decay", training.cycle_decay, Range{.least = 0, .most = 1, .without_least = true},
              "scheduler cyclic: what the rate has above min_learning_rate is multiplied by this factor to the power "
              "of the cycle (from 1) or of the step (from 0)")
      .needs(is_cyclic, cyclic);
  options.add("training.cycle_decay_by", training.cycle_decay_by, one_of({"cycle", "step"}),
              "scheduler cyclic: what is counted in the power of cycle_decay")
      .needs([is_cyclic, &training] { return is_cyclic() && training.cycle_decay < 1; },
             cyclic + " and training.cycle_decay below 1");
}

void declare_training(Options& options, TrainingConfig& training) {
  options.add("training.batch_size", training.batch_size, between(1, most_tokens),
              "sequences an optimizer step, over all ranks");
  options.add("training.bucket_mib", training.bucket_mib, between(0, 1 << 16),
              "several ranks on GPUs: MiB of gradients that travel together, while the backward pass goes on; with "
              "more of them less is hidden, with fewer there are more exchanges")
      .may_change();
  options.add("training.micro_batch_size", training.micro_batch_size, between(0, most_tokens),
              "sequences that run at once, while the gradients of a step's parts are added up; 0: as many as together "
              "have up to 1024 to 16384 tokens, the fewer the larger the model, and always one");
  options.add("training.batch_tokens", training.batch_tokens, between(0, most_tokens),
              "tokens an optimizer step, in place of batch_size; 0: batch_size counts");
  options.add("training.shard_optimizer", training.shard_optimizer,
              "several ranks: each updates a shard of every parameter, and keeps the optimizer's moments, averages and "
              "slow weights of that shard alone (ZeRO-1)")
      .may_change();
  options.add("training.reduction_shards", training.reduction_shards, between(0, 1024),
              "a power of two, such as 8: a batch is cut into so many virtual shards, whose gradients are summed by a "
              "fixed tree, so that any number of ranks that divides it trains to the same bits; 0: into a share for "
              "each rank, which is equal to rounding and faster");
  options.add("training.group_by_length", training.group_by_length,
              "examples that differ in length (cola, sst2, mlm by lines) are shuffled so that a batch's are about "
              "equally long");
  options.add("training.max_steps", training.max_steps, at_least(0), "optimizer steps; 0: epochs counts")
      .may_change();
  options.add("training.epochs", training.epochs, at_least(0), "passes over the training data where max_steps is 0")
      .may_change();
  options.add("training.max_minutes", training.max_minutes, at_least(0),
              "the training ends after so many minutes if its steps are not done before, and its learning rate falls "
              "by the clock where that is faster than by steps; 0: the clock does not count")
      .may_change();
  options.add("training.learning_rate", training.learning_rate, at_least(0),
              "the highest learning rate, reached after warm-up");
  options.add("training.min_learning_rate", training.min_learning_rate, at_least(0),
              "the learning rate with which the schedule ends")
      .needs([&training] { return training.scheduler != "constant"; }, "a training.scheduler that falls");
  options.add("training.initial_learning_rate", training.initial_learning_rate, at_least(0),
              "the learning rate with which warm-up starts, such as the last one of the model in init")
      .needs([&training] { return training.warmup_steps > 0; }, "training.warmup_steps above 0");
  options.add("training.scheduler", training.scheduler,
              one_of({"linear", "cosine", "constant", "exponential", "plateau", "cyclic"}),
              "the way the learning rate falls after warm-up: to min_learning_rate at the end, or (plateau) when "
              "evaluations become no better; cyclic: it rises and falls again and again");
  declare_plateaus_and_cycles(options, training);
  options.add("training.warmup_steps", training.warmup_steps, at_least(0),
              "steps in which the learning rate rises linearly to learning_rate")
      .needs([&training] { return training.scheduler != "cyclic"; },
             "a training.scheduler other than \"cyclic\", whose cycles begin at min_learning_rate");
  options.add("training.learning_rate_scales", training.learning_rate_scales,
              "\"NAME:FACTOR\" of the learning rate of the parameters whose names begin with NAME, such as "
              "\"embedding:0\": the longest NAME counts; 0 freezes them");
  options.add("training.layer_decay", training.layer_decay, Range{.least = 0, .most = 1, .without_least = true},
              "factor of the learning rate for each layer further down: 1 for the head, layer_decay for the last "
              "layer, its square for the one below, least for the embeddings");
  options.add("training.load_optimizer", training.load_optimizer,
              "a run of this task in init gives its state, values and moments; false: it gives its best model, and "
              "moments are zero");
  options.add("training.new_head", training.new_head,
              "the head is new even where init has one for this task; no state is taken from init");
  options.add("training.resume_warmup_steps", training.resume_warmup_steps, at_least(0),
              "steps in which the last learning rate goes over to the schedule's: that of the run in init, or this "
              "run's own where it goes on with another length than it was begun with")
      .may_change();
  options.add("training.weight_decay", training.weight_decay, at_least(0),
              "decoupled decay (AdamW) of parameters with two or more dimensions");
  options.add("training.adam_beta1", training.adam_beta1, from_up_to_below(0, 1), "decay of the gradients' mean");
  options.add("training.adam_beta2", training.adam_beta2, from_up_to_below(0, 1), "decay of the mean of their squares");
  options.add("training.adam_epsilon", training.adam_epsilon, above(0), "added to the root of the mean square");
  options.add("training.max_grad_norm", training.max_grad_norm, at_least(0),
              "gradients of a larger norm, over all parameters, are scaled down to it; 0: never");
  options.add("training.max_tensor_norm", training.max_tensor_norm, at_least(0),
              "a parameter's gradient of a larger norm is scaled down to it, each by itself, before max_grad_norm "
              "counts for what remains; 0: never");
  options.add("training.label_smoothing", training.label_smoothing, from_up_to_below(0, 1),
              "share of a label's probability that is spread over the vocabulary");
}

void declare_averages(Options& options, TrainingConfig& training) {
  const auto averages = [&training] { return training.swa_start > 0; };
  const auto looks_ahead = [&training] { return training.lookahead_every > 0; };
  const std::string swa = "training.swa_start above 0", lookahead = "training.lookahead_every above 0";
  options.add("training.swa_start", training.swa_start, at_least(0),
              "stochastic weight averaging: from this step on the weights are averaged; 0: off");
  options.add("training.swa_every", training.swa_every, at_least(1), "steps between two that are averaged")
      .needs(averages, swa);
  options.add("training.lookahead_every", training.lookahead_every, at_least(0),
              "Lookahead: every so many steps slow weights go lookahead_alpha of the way to the weights, and the "
              "weights go on from there; 0: off");
  options.add("training.lookahead_alpha", training.lookahead_alpha,
              Range{.least = 0, .most = 1, .without_least = true},
              "Lookahead: the part of the way that slow weights go")
      .needs(looks_ahead, lookahead);
  options.add("training.averaging_order", training.averaging_order, one_of({"lookahead_first", "swa_first"}),
              "what comes first in a step that has both: lookahead_first: averages are of weights that Lookahead has "
              "set back, SWA(Lookahead(optimizer)); swa_first: of those before that, Lookahead(SWA(optimizer))")
      .needs([=] { return averages() && looks_ahead(); }, swa + " and " + lookahead);
  options.add("training.evaluate_on", training.evaluate_on, one_of({"averages", "weights", "slow_weights"}),
              "the values that are evaluated and saved in best and last: averages: those of SWA, once there are any; "
              "weights: those that are trained; slow_weights: Lookahead's")
      .needs([=] { return averages() || looks_ahead(); }, "training.swa_start or training.lookahead_every above 0")
      .needs([=, &training] { return training.evaluate_on != "slow_weights" || looks_ahead(); }, lookahead);
}

void declare_log_and_saving(Options& options, TrainingConfig& training) {
  options.add("training.log_every", training.log_every, at_least(1), "steps between two lines of the log").may_change();
  options.add("training.eval_every", training.eval_every, at_least(0), "steps between evaluations; 0: only at the end")
      .may_change();
  options.add("training.evals_per_epoch", training.evals_per_epoch, at_least(0),
              "evaluations in equal parts of each epoch, in place of eval_every; 0: eval_every counts")
      .may_change();
  options.add("training.save_every", training.save_every, at_least(0),
              "steps between savings of the state and the last model; 0: only at the end")
      .may_change();
  options.add("training.saves_per_epoch", training.saves_per_epoch, at_least(0),
              "savings in equal parts of each epoch, in place of save_every; 0: save_every counts")
      .may_change();
  options.add("training.keep_checkpoints", training.keep_checkpoints, at_least(0),
              "numbered model folders that are kept beside best and last; one appears with each saving")
      .may_change();
  options.add("training.early_stopping_patience", training.early_stopping_patience, at_least(0),
              "evaluations in a row without a better one after which training stops; 0: never")
      .may_change();
  options.add("training.best_metric", training.best_metric, any_value(),
              "the metric that chooses the best model: less is better if its name ends with loss or perplexity, else "
              "more; empty: the task's own");
  options.add("training.recompute", training.recompute,
              "recompute each block in the backward pass in place of keeping its activations: less memory, more time")
      .may_change();
  declare_averages(options, training);
  options.add("training.max_rollbacks", training.max_rollbacks, at_least(0),
              "a step whose loss or gradients are not finite goes back to the last saved state, and from there on with "
              "the data behind it, so often at most; 0: such a step ends the training");
  options.add("training.save_dtype", training.save_dtype, one_of({"f32", "f16", "bf16"}),
              "type of the saved models' weights")
      .may_change();
}

void declare_generation(Options& options, GenerationConfig& generation) {
  const auto draws = [&generation] { return generation.temperature > 0; };
  const auto has_beams = [&generation] { return generation.num_beams > 1; };
  const std::string drawing = "generation.temperature above 0", beams = "generation.num_beams above 1";
  options.add("generation.temperature", generation.temperature, at_least(0),
              "below 1 sharpens the distribution that tokens are drawn from, above 1 flattens it; 0: always the "
              "likeliest token")
      .may_change();
  options.add("generation.top_k", generation.top_k, at_least(0), "draw from that many likeliest tokens; 0: from all")
      .needs(draws, drawing)
      .may_change();
  options.add("generation.top_p", generation.top_p, Range{.least = 0, .most = 1, .without_least = true},
              "draw from the fewest likeliest tokens that together have this probability; 1: from all")
      .needs(draws, drawing)
      .may_change();
  options.add("generation.max_new_tokens", generation.max_new_tokens, at_least(1), "the most tokens after the prompt")
      .may_change();
  options.add("generation.num_beams", generation.num_beams, between(1, most_beams),
              "encoder-decoders: beam search keeps that many likeliest beginnings of a text; 1: none but the likeliest")
      .needs([draws] { return !draws(); }, "generation.temperature = 0: beam search draws no tokens")
      .may_change();
  options.add("generation.length_penalty", generation.length_penalty, any_value(),
              "beam search: a text's log probability is divided by its number of tokens to this power; above 0 favours "
              "long texts, below 0 short ones")
      .needs(has_beams, beams)
      .may_change();
  options.add("generation.early_stopping", generation.early_stopping,
              "beam search: ends with the first num_beams texts that ended; false: when no better one can come")
      .needs(has_beams, beams)
      .may_change();
}

void declare_cuda(Options& options, DeviceOptions& cuda) {
  options.add("cuda.attention", cuda.attention, one_of({"auto", "own", "cudnn"}),
              "attention by our own kernels, or by cuDNN's where it can: products in bf16, heads 32 to 128 wide in "
              "steps of 8, no attention_dropout while training, no relative positions, no cache of what was "
              "generated; auto: cuDNN's where GPU and version are known to make it faster. Never chosen by measuring, "
              "so that a training that goes on has the bits of one that was not interrupted")
      .formerly("attention")
      .may_change();
  options.add("cuda.matmul", cuda.matmul, one_of({"auto", "own", "cublaslt"}),
              "matrix products; auto: cuBLASLt's kernels where it is installed and has one, else our own; own: our own "
              "always; cublaslt: as auto, but where it is not installed that is an error")
      .formerly("matmul")
      .may_change();
  options.add("cuda.synchronous", cuda.synchronous,
              "wait for the GPU after every kernel, so that an error names the operation that failed, and not all that "
              "were under way; slow")
      .formerly("synchronous")
      .may_change();
}

}  // namespace

void Config::declare(Options& options) {
  options.add("task", task, any_value(), "the task to train or to evaluate: docs/training.md lists them");
  options.add("name", name, any_value(), "the run's name: its folder is output_dir/name").may_change();
  options.add("output_dir", output_dir, any_value(), "the folder of all run folders").may_change();
  options.add("init", init, any_value(),
              "a model folder, or a run's folder (its best model), whose weights and tokenizer the training starts "
              "from; a run of this task gives its state, too, see docs/training.md; empty: a new model");
  options.add("resume", resume, "go on from the run folder's state if there is one; false: start anew")
      .may_change();
  options.add("seed", seed, any_value(), "seed of everything random: initial weights, data order, dropout, samples");
  options.add("device", device, one_of({"auto", "cpu", "cuda", "sim", "check"}),
              "the device that computes; auto: the best there is; sim: the simulated GPU, in a build of its own; "
              "check: the CPU and the other device beside it, until an operation's results differ")
      .may_change();
  options.add("precision", precision, one_of({"auto", "f32", "bf16"}),
              "precision of products and activations; auto: bf16 where the processor is faster at it, else f32");
  options.add("threads", threads, between(0, 1024),
              "threads of the CPU; 0: one a processor; results do not depend on it")
      .may_change();
  options.add("communication_timeout", communication_timeout, at_least(1.0),
              "seconds after which several ranks end because one of them does not answer, which mpirun's do not, or an "
              "exchange between GPUs does not end")
      .may_change();
  options.add("progress", progress, one_of({"auto", "bar", "lines", "none"}),
              "how work that takes long shows that it advances; bar: one that moves; lines: a line each "
              "training.log_every steps; none: neither; auto: a bar on a terminal, but lines for a process that mpirun "
              "started")
      .may_change();
  model.declare(options);
  // check_against_init says more of a model from init.
  for (const OwnOptions::Entry& entry : model.own.all()) {
    std::string owners;
    for (const char* owner : entry.architectures) owners.append(owners.empty() ? "\"" : " or \"").append(owner) += '"';
    for (const auto& [option, text] : entry.texts())
      options.at(option).needs([this, &entry] { return !init.empty() || entry.is_of(model.architecture); },
                               "model.architecture = " + owners);
  }
  std::string without_attention;
  for (const Architecture& row : architectures())
    if (!row.has_attention)
      without_attention.append(without_attention.empty() ? "\"" : " or \"").append(row.name) += '"';
  for (const char* option : {"model.num_heads", "model.ffn_size", "model.activation", "model.attention_dropout",
                             "model.layer_norm_epsilon"})
    options.at(option).needs([this] { return !init.empty() || architecture_of(model).has_attention; },
                             "another model.architecture than " + without_attention);
  for (const char* option : {"model.rotary_share", "model.rotary_base"})
    options.at(option).needs([this] { return !init.empty() || turns_positions(model); },
                             "model.positions = \"rotary\" or model.architecture = \"gpt_neox\"");
  const auto has = [this](std::initializer_list<const char*> kinds) {
    return [this, kinds = std::vector<std::string>(kinds.begin(), kinds.end())] {
      const std::string& own = model.own.get<PositionOptions>().positions;
      return !init.empty() || std::find(kinds.begin(), kinds.end(), own) != kinds.end();
    };
  };
  options.at("model.trained_positions")
      .needs(has({"sinusoidal", "random"}), "model.positions = \"sinusoidal\" or \"random\"");
  for (const char* option : {"model.random_table", "model.random_in_evaluation"})
    options.at(option).needs(has({"random"}), "model.positions = \"random\"");
  options.at("model.position_dropout")
      .needs(has({"learned", "sinusoidal", "random"}),
             "model.positions = \"learned\", \"sinusoidal\" or \"random\"");
  options.at("model.relative_distances")
      .needs([this] { return !init.empty() || model.own.get<BartOptions>().has_relative_tables(); },
             "model.relative_positions = \"shared\" or \"separate\"");
  declare_data(options, data);
  declare_training(options, training);
  declare_log_and_saving(options, training);
  declare_generation(options, generation);
  declare_cuda(options, device_options);
}

}  // namespace engine
