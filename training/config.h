// The configuration in a task.cfg, without the sections that belong to one task alone.
#pragma once

#include <string>
#include <vector>

#include "core/options.h"
#include "kernels/backend/device_options.h"
#include "models/config.h"

namespace engine {

struct DataConfig {
  std::vector<std::string> train, eval, test;
  double train_share = 1;      // share of the training sequences that is used
  int64_t eval_sequences = 0;  // sequences of an evaluation; 0: all
  int64_t block_size = 0;  // tokens of a training sequence; 0: the model's positions
  bool shuffle = true;
  std::string tokenizer;   // a folder, or "characters"; empty: the one in init
};

struct TrainingConfig {
  int64_t batch_size = 32, micro_batch_size = 0, batch_tokens = 0;
  int64_t reduction_shards = 0;  // virtual shards of a batch; 0: a share for each rank
  bool shard_optimizer = false;  // among the ranks
  bool group_by_length = true;
  int64_t max_steps = 0;
  double epochs = 0, max_minutes = 0;  // minutes 0: no end by the clock
  float learning_rate = 1e-3f, min_learning_rate = 0, initial_learning_rate = 0;
  std::string scheduler = "linear";  // linear cosine constant exponential plateau cyclic
  float plateau_factor = 0.2f;
  int64_t plateau_patience = 2;
  int64_t cycle_steps = 0;  // of a whole cycle, up and down
  float cycle_decay = 1;
  std::string cycle_decay_by = "cycle";  // cycle step
  int64_t warmup_steps = 0;
  std::vector<std::string> learning_rate_scales;  // "NAME:FACTOR" by the beginning of a parameter's name
  float layer_decay = 1;
  bool load_optimizer = true, new_head = false;  // what init gives
  int64_t resume_warmup_steps = 0;
  float weight_decay = 0, adam_beta1 = 0.9f, adam_beta2 = 0.999f, adam_epsilon = 1e-8f, max_grad_norm = 1;
  float max_tensor_norm = 0;  // of each parameter's gradient; 0: any
  float label_smoothing = 0;
  int64_t log_every = 50, eval_every = 500, save_every = 500;
  int64_t evals_per_epoch = 0, saves_per_epoch = 0;  // in place of eval_every and save_every
  int keep_checkpoints = 0;          // numbered ones, beside best and last
  int early_stopping_patience = 0;   // evaluations in a row without a better one; 0: off
  std::string best_metric;           // empty: the task's
  bool recompute = false;
  int64_t swa_start = 0, swa_every = 10;  // start 0: no averaging
  int64_t lookahead_every = 0;            // 0: no Lookahead
  float lookahead_alpha = 0.5f;
  std::string averaging_order = "lookahead_first";  // lookahead_first swa_first
  std::string evaluate_on = "averages";             // averages weights slow_weights
  int64_t max_rollbacks = 0;
  double bucket_mib = 32;  // of gradients between GPUs
  std::string save_dtype = "f32";
};

struct GenerationConfig {
  float temperature = 0;
  int top_k = 0;
  float top_p = 1;
  int max_new_tokens = 128;
  int num_beams = 1;  // encoder-decoders
  float length_penalty = 1;
  bool early_stopping = false;
};

struct Config {
  std::string task, name, output_dir = "runs", init;
  bool resume = true;
  uint64_t seed = 1;
  std::string device = "auto", precision = "auto";
  DeviceOptions device_options;
  int threads = 0;
  double communication_timeout = 60;  // seconds
  std::string progress = "auto";  // auto bar lines none
  ModelConfig model = open_model();
  DataConfig data;
  TrainingConfig training;
  GenerationConfig generation;

  void declare(Options& options);  // adds every field above
};

}  // namespace engine
