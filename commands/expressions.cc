// expressions: writes a file of expressions for scratchpad.data.
#include "commands/settings.h"
#include "commands/verb.h"
#include "tasks/scratchpad/expression_file.h"

namespace engine {

namespace {

class ExpressionsVerb final : public Verb {
 public:
  void add_flags(Flags& flags) override {
    flags.add("FILE", file_, "where they go", {.required = true});
    flags.add("--quantity", quantity_, "the most of each level, of either split", {.range = between(1, 1000000)});
    flags.add_options(settings_, {"seed", "scratchpad."});
  }

  int run(Communicator&) override {
    settings_.resolve("");
    ExpressionFile::write(file_, settings_.sections.scratchpad, quantity_, settings_.config.seed);
    return 0;
  }

 private:
  Settings settings_;
  std::string file_;
  int64_t quantity_ = 10000;
};

}  // namespace

std::unique_ptr<Verb> make_expressions_verb() { return std::make_unique<ExpressionsVerb>(); }

}  // namespace engine
