// problems: writes problems with their solutions, as task blotching trains on them.
#include <iostream>

#include "commands/settings.h"
#include "commands/verb.h"
#include "tasks/blotching/problems.h"

namespace engine {

namespace {

class ProblemsVerb final : public Verb {
 public:
  void add_flags(Flags& flags) override {
    flags.add("FILE", file_, "a task.cfg with a section [blotching], which says what problems there are",
              {.required = true});
    flags.add("--quantity", quantity_, "problems to write", {.range = between(1, 1e12)});
    flags.add_options(settings_, {"seed", "blotching."});
  }

  int run(Communicator&) override {
    settings_.resolve(file_);
    ProblemSource source(settings_.sections.blotching);
    Random random(settings_.config.seed, stream);
    std::string problem, lines;
    for (int64_t i = 0; i < quantity_; ++i) {
      if (!source.draw(random, problem))
        fail_usage(file_, ": ", source.failure());
      lines.append(source.solver().row()).append("\n");
      if (lines.size() < 1 << 16) continue;
      std::cout << lines;
      lines.clear();
    }
    std::cout << lines;
    return 0;
  }

 private:
  static constexpr uint64_t stream = uint64_t{0x7062} << 48;

  Settings settings_;
  std::string file_;
  int64_t quantity_ = 1000;
};

}  // namespace

std::unique_ptr<Verb> make_problems_verb() { return std::make_unique<ProblemsVerb>(); }

}  // namespace engine
