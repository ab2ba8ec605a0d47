#include <doctest/doctest.h>

#include "core/files.h"
#include "tasks/tasks.h"

namespace engine::test {

TEST_CASE("documentation: the reference of options is the one that the declarations give") {
  Options options;
  Config config;
  TaskSections sections;
  config.declare(options);
  sections.declare(options);
  CHECK(read_text("docs/options.md") == options.markdown());  // else: make docs
}

}  // namespace engine::test
