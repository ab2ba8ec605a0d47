// The section [blotching] of a task.cfg.
#pragma once

#include <string>
#include <vector>

#include "core/options.h"

namespace engine {

struct BlotchingConfig {
  // Problems (problems.h).
  int64_t max_num = 100, max_ents = 3, max_mult_num = 10;
  double p_ent = 0.5, p_mult = 0.5, p_paren = 0, zipf_order = 0;
  bool one_small_factor = false, space_mults = true;
  std::string exhaustive = "auto";  // auto always never
  int64_t val_samples = 1000, seq_len = 0;  // tokens of a row; 0: longest_row()

  // The cache of rows (row_cache.h).
  int64_t init_samples = 0, max_samples = 0;  // 0: as the other
  int64_t n_train_loops = 0;                  // steps of an epoch; 0: as many as init_samples make

  // Blotches (blotches.h).
  double blotch_p = 0;
  double blotch_p_min = -1, blotch_p_max = -1;  // below 0: unset
  int64_t n_btokens = 0, blotch_granularity = 0;
  bool contig_blotches = true, pad_pos_skip = true, incl_intl_prob = false;
  std::string blotch_spacing = "random";  // random equal

  // Evaluation.
  std::vector<std::string> eval_blotch_p;         // empty: all levels
  std::vector<std::string> eval_temperatures{"0"};
  int64_t eval_problems = 0;                      // 0: all
  int64_t votes = 0, samples = 4;
  double vote_temperature = 0.7;

  // Changes of the rows by the model itself (bootstrap.h, axe.h).
  int64_t star_loops = 0, aug_loops = 0, axe_loops = 0;  // -1: all rows
  int64_t loop_rows = 256;
  int64_t pre_epochs = 3, aug_mod = 1, min_aug_gap = 10;
  bool any_rise = false;
  double aug_temp = 0.7, bootstrap_blotch_p = -1;
  bool star_force_short = true, in_place = true;
  int64_t axe_comp_steps = 0;
  double abs_axe_tol = no_tolerance, rel_axe_tol = no_tolerance;
  double axe_blotch_p = -1, axe_temp = 0;
  bool axe_use_ppl = false;
  int64_t example_lines = 20;

  static constexpr double no_tolerance = 1e9;

  bool has_levels() const { return blotch_p_min >= 0 || blotch_p_max >= 0 || n_btokens > 0; }
  bool changes_rows() const { return star_loops != 0 || aug_loops != 0 || axe_loops != 0; }
  // The most tokens of a row, its end included.
  int64_t longest_row() const { return seq_len ? seq_len : 4096; }
  int64_t initial_rows() const { return init_samples ? init_samples : max_samples; }
  int64_t capacity() const { return max_samples ? max_samples : init_samples; }

  void declare(Options& options);
  // Throws a UsageError where options contradict one another.
  void check() const;

 private:
  void declare_evaluation(Options& options);
  void declare_changes(Options& options);
  void check_changes() const;
};

}  // namespace engine
