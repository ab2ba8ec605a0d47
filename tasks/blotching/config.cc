#include "tasks/blotching/config.h"

#include "core/error.h"

namespace engine {

void BlotchingConfig::declare(Options& options) {
  init_samples = 10000;
  const auto levels = [this] { return has_levels(); };
  const std::string for_levels = "blotching.blotch_p_min, blotch_p_max or n_btokens";
  options.add("blotching.max_num", max_num, between(1, 1000000), "the largest number of a problem");
  options.add("blotching.max_ents", max_ents, between(2, 16),
              "the most numbers of a problem; a parenthesis counts as one, and has one less inside");
  options.add("blotching.p_ent", p_ent, between(0, 1), "probability of each number from the third on to be there");
  options.add("blotching.p_mult", p_mult, between(0, 1), "probability of * in place of +");
  options.add("blotching.max_mult_num", max_mult_num, between(0, 1000000),
              "the largest factor of a product, at most max_num");
  options.add("blotching.one_small_factor", one_small_factor,
              "one of two factors is at most max_mult_num, the other any number; false: both are");
  options.add("blotching.space_mults", space_mults, "no product has more than two factors");
  options.add("blotching.p_paren", p_paren, between(0, 1),
              "probability of a problem in parentheses in place of a number, with at most max_ents - 1 numbers");
  options.add("blotching.zipf_order", zipf_order, between(0, 20),
              "numbers k are drawn from 1 to max_num with probabilities as 1 / k^zipf_order; 0: evenly from 0");
  options.add("blotching.exhaustive", exhaustive, one_of({"auto", "always", "never"}),
              "all problems there are make training and validation, which is at most a fifth of them; auto: where none "
              "has a value of 400 or more, and they are at most 50000");
  options.add("blotching.val_samples", val_samples, at_least(1), "problems of validation, which no training draws");
  options.add("blotching.seq_len", seq_len, at_least(0),
              "problems whose solution has more tokens, its end included, are not drawn; 0: 4096");
  options.add("blotching.init_samples", init_samples, at_least(0),
              "rows of the cache when training begins; 0: max_samples");
  options.add("blotching.max_samples", max_samples, at_least(0),
              "rows that the cache may have; new ones then overwrite the oldest; 0: init_samples");
  options.add("blotching.n_train_loops", n_train_loops, at_least(0),
              "optimizer steps of an epoch; 0: as many as init_samples make");
  options.add("blotching.blotch_p", blotch_p, between(0, 1),
              "share of the steps that training rows lack, in a model without blotch tokens; 1: answers alone");
  options.add("blotching.blotch_p_min", blotch_p_min, between(-1, 1),
              "the least share of a model with blotch tokens; -1: 0");
  options.add("blotching.blotch_p_max", blotch_p_max, between(-1, 1),
              "the largest share of a model with blotch tokens; -1 without blotch_p_min and n_btokens: it has none");
  options.add("blotching.n_btokens", n_btokens, between(0, 1000),
              "blotch tokens, one for each share; 0: one for each 0.1 between blotch_p_min and blotch_p_max");
  options.add("blotching.blotch_granularity", blotch_granularity, between(0, 1000),
              "token b stands for the share b / blotch_granularity; 0: shares lie evenly from blotch_p_min to "
              "blotch_p_max")
      .needs(levels, for_levels);
  options.add("blotching.contig_blotches", contig_blotches,
              "neighbouring steps may be left out; false: one that is there lies between two that are not");
  options.add("blotching.blotch_spacing", blotch_spacing, one_of({"random", "equal"}),
              "random: each step is left out by itself; equal: round(share x steps) of them, evenly placed");
  options.add("blotching.pad_pos_skip", pad_pos_skip,
              "positions count the tokens that are there; false: each token has the position that it has in the whole "
              "solution");
  options.add("blotching.incl_intl_prob", incl_intl_prob, "the problem's own tokens are in the loss, too");
  declare_evaluation(options);
  declare_changes(options);
}

void BlotchingConfig::declare_evaluation(Options& options) {
  options.add("blotching.eval_blotch_p", eval_blotch_p,
              "shares at which a model with blotch tokens is evaluated, each by the nearest token; empty: all tokens")
      .needs([this] { return has_levels(); }, "blotching.blotch_p_min, blotch_p_max or n_btokens");
  options.add("blotching.eval_temperatures", eval_temperatures,
              "temperatures at which solutions are written in evaluations; 0: the likeliest token");
  options.add("blotching.eval_problems", eval_problems, at_least(0),
              "problems of an evaluation; 0: all of val_samples");
  options.add("blotching.votes", votes, at_least(0),
              "solutions of each problem that vote on its answer, at vote_temperature; 0: no votes");
  options.add("blotching.vote_temperature", vote_temperature, above(0), "temperature of the solutions that vote")
      .needs([this] { return votes > 0; }, "blotching.votes");
  options.add("blotching.samples", samples, at_least(0), "solutions shown at each evaluation");
}

void BlotchingConfig::declare_changes(Options& options) {
  const auto changes = [this] { return changes_rows(); };
  const auto writes = [this] { return star_loops != 0 || aug_loops != 0; };
  const auto axes = [this] { return axe_loops != 0; };
  const std::string for_changes = "blotching.star_loops, aug_loops or axe_loops";
  const std::string for_writing = "blotching.star_loops or aug_loops", for_axe = "blotching.axe_loops";
  options.add("blotching.star_loops", star_loops, at_least(0),
              "STaR: so often loop_rows new problems are solved by the model, and kept where it is right; 0: never");
  options.add("blotching.aug_loops", aug_loops, at_least(-1),
              "augment: so often loop_rows stored problems are solved again, and kept where the solution is right and "
              "shorter; -1: all rows; 0: never");
  options.add("blotching.axe_loops", axe_loops, at_least(-1),
              "axe: so often loop_rows stored rows lose the step that is missed least; -1: all rows; 0: never");
  options.add("blotching.loop_rows", loop_rows, between(1, 1000000), "rows of a loop of these three")
      .needs(changes, for_changes);
  options.add("blotching.pre_epochs", pre_epochs, at_least(0), "epochs before rows change").needs(changes, for_changes);
  options.add("blotching.aug_mod", aug_mod, any_value(),
              "rows change after each epoch whose number it divides; below 0: where the training loss has a plateau")
      .needs(changes, for_changes);
  options.add("blotching.min_aug_gap", min_aug_gap, at_least(1),
              "a plateau: the oldest of so many epochs' losses is below all others of them; counted anew after each "
              "change")
      .needs([this] { return changes_rows() && aug_mod < 0; }, "blotching.aug_mod below 0");
  options.add("blotching.any_rise", any_rise,
              "a plateau is any epoch with a loss above that of the last one, whatever min_aug_gap is")
      .needs([this] { return changes_rows() && aug_mod < 0; }, "blotching.aug_mod below 0");
  options.add("blotching.aug_temp", aug_temp, at_least(0), "temperature of STaR and augment; 0: the likeliest token")
      .needs(writes, for_writing);
  options.add("blotching.bootstrap_blotch_p", bootstrap_blotch_p, between(-1, 1),
              "share whose blotch token STaR and augment begin with; -1: the least")
      .needs([this, writes] { return writes() && has_levels(); }, for_writing + ", and blotch tokens");
  options.add("blotching.star_force_short", star_force_short,
              "STaR keeps no solution that is longer than the one step by step")
      .needs([this] { return star_loops != 0; }, "blotching.star_loops");
  options.add("blotching.in_place", in_place, "augment replaces the row; false: it adds one")
      .needs([this] { return aug_loops != 0; }, "blotching.aug_loops");
  options.add("blotching.axe_comp_steps", axe_comp_steps, any_value(),
              "steps behind the hole whose loss axe compares; 0 or less: all up to the answer")
      .needs(axes, for_axe);
  options.add("blotching.abs_axe_tol", abs_axe_tol, any_value(),
              "axe removes a step where the mean loss behind it rises by less").needs(axes, for_axe);
  options.add("blotching.rel_axe_tol", rel_axe_tol, any_value(),
              "axe removes a step where the mean loss behind it rises by a smaller share of it").needs(axes, for_axe);
  options.add("blotching.axe_use_ppl", axe_use_ppl, "axe compares the exponentials of the losses").needs(axes, for_axe);
  options.add("blotching.axe_temp", axe_temp, at_least(0),
              "temperature at which a row must be solved before axe looks at it").needs(axes, for_axe);
  options.add("blotching.axe_blotch_p", axe_blotch_p, between(-1, 1),
              "share whose blotch token axe's rows begin with; -1: the least")
      .needs([this, axes] { return axes() && has_levels(); }, for_axe + ", and blotch tokens");
  options.add("blotching.example_lines", example_lines, at_least(0),
              "examples that each change appends to the files star_samples.txt, aug_samples.txt and axe_samples.txt of "
              "the run")
      .needs(changes, for_changes);
}

void BlotchingConfig::check() const {
  if (max_mult_num > max_num && p_mult > 0)
    fail_usage("blotching.max_mult_num is ", max_mult_num, ", but the largest number, blotching.max_num, is ", max_num);
  if (p_paren > 0 && max_ents < 3)
    fail_usage("blotching.p_paren is ", p_paren, ", but a parenthesis of at least two numbers needs blotching.max_ents "
               "of at least 3, it is ", max_ents);
  if (initial_rows() < 1)
    fail_usage("blotching.init_samples and blotching.max_samples are both 0: the cache would have no rows");
  if (initial_rows() > capacity())
    fail_usage("blotching.init_samples is ", init_samples, ", but the cache has blotching.max_samples = ", max_samples,
               " rows at most");
  if (has_levels() && blotch_p > 0)
    fail_usage("blotching.blotch_p is ", blotch_p, ", but a model with blotch tokens has shares by "
               "blotching.blotch_p_min and blotching.blotch_p_max: leave blotch_p out");
  const std::pair<const char*, double> shares[] = {{"blotch_p_min", blotch_p_min},
                                                   {"blotch_p_max", blotch_p_max},
                                                   {"bootstrap_blotch_p", bootstrap_blotch_p},
                                                   {"axe_blotch_p", axe_blotch_p}};
  for (const auto& [option, share] : shares)
    if (share < 0 && share != -1)
      fail_usage("blotching.", option, " is ", share, ", but a share lies between 0 and 1, and only -1 leaves it open");
  check_changes();
}

void BlotchingConfig::check_changes() const {
  if (changes_rows() && aug_mod == 0)
    fail_usage("blotching.aug_mod is 0: it divides no epoch, at least 1 does, and below 0 waits for a plateau");
}

}  // namespace engine
