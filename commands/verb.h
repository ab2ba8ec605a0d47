// A verb of the program: what its command line may say, and what it does. The table of verbs is in engine.cc.
#pragma once

#include <memory>

#include "commands/flags.h"
#include "core/communicator.h"

namespace engine {

class Verb {
 public:
  virtual ~Verb() = default;

  // Declares the verb's arguments and flags.
  virtual void add_flags(Flags& flags) = 0;
  // Does the verb's work once the command line is read. Returns the program's exit code.
  virtual int run(Communicator& ranks) = 0;
};

std::unique_ptr<Verb> make_train_verb();
std::unique_ptr<Verb> make_eval_verb();
std::unique_ptr<Verb> make_profile_verb();
std::unique_ptr<Verb> make_predict_verb();
std::unique_ptr<Verb> make_answer_verb();
std::unique_ptr<Verb> make_generate_verb();
std::unique_ptr<Verb> make_score_verb();
std::unique_ptr<Verb> make_embed_verb();
std::unique_ptr<Verb> make_tokenize_verb();
std::unique_ptr<Verb> make_expressions_verb();
std::unique_ptr<Verb> make_problems_verb();
std::unique_ptr<Verb> make_report_verb();
std::unique_ptr<Verb> make_sweep_verb();
std::unique_ptr<Verb> make_inspect_verb();
std::unique_ptr<Verb> make_options_verb();
std::unique_ptr<Verb> make_info_verb();

}  // namespace engine
