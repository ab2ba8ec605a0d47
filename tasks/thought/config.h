// The section [thought] of a task.cfg.
#pragma once

#include <string>
#include <vector>

#include "core/options.h"

namespace engine {

struct ThoughtConfig {
  std::string data = "text";         // text chase
  std::string token = "<|dense|>";   // the thought
  std::string recurrence = "none";   // none exact passes
  int64_t unroll = 4;                // passes
  bool detach = false;               // the gradient goes through the last one alone
  std::string initial = "none";      // none exact
  bool norm = true;                  // of what is captured
  // Text.
  int64_t context = 512;             // most tokens that a sequence has as inputs
  int64_t min_piece = 30;            // a shorter end of a document is dropped
  std::string documents = "apart";   // apart joined
  int64_t count = 32;                // thoughts of a sequence
  std::string places = "random";     // random none searched
  std::string search = "token";      // token run_through sequence
  int64_t search_passes = 16, search_group = 32;
  float reinforce = 0, punish = 0;   // weights of places that were kept and refused
  bool expectation = false;          // over asking for thoughts or not
  std::vector<std::string> questions;  // files of multiple choice
  bool prefix_lm = false;            // contexts are seen in both directions
  int64_t before_completion = 0;     // thoughts before each completion
  int samples = 2;
  std::string sample_prompt;         // may be empty
  std::string show = "shown";        // shown hidden counted
  int most_in_a_row = 8;             // thoughts that a model may write
  // Chains of steps.
  std::string arm = "none";          // none pause written
  int nodes = 8, hops = 6;
  bool curriculum = true;
  int eval_problems = 512;           // for each number of hops

  bool is_text() const { return data == "text"; }
  bool searches() const { return is_text() && places == "searched"; }
  // Tells whether a model learns to write thoughts.
  bool learns_to_ask() const { return expectation || reinforce > 0; }
  void declare(Options& options);

 private:
  void declare_search(Options& options);
};

}  // namespace engine
