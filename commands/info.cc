// info: what this machine has, or the reference of all options.
#include <iostream>

#include "commands/settings.h"
#include "commands/verb.h"
#include "kernels/backend/backend.h"

namespace engine {

namespace {

class InfoVerb final : public Verb {
 public:
  void add_flags(Flags& flags) override {
    flags.add("--options", lists_options_, "every option of a task.cfg, as Markdown");
  }

  int run(Communicator&) override {
    if (lists_options_) std::cout << Settings().options.markdown();
    else print_info(std::cout);
    return 0;
  }

 private:
  bool lists_options_ = false;
};

}  // namespace

std::unique_ptr<Verb> make_info_verb() { return std::make_unique<InfoVerb>(); }

}  // namespace engine
