// A part of the data is a part of a text's blocks. test_mlm.cc and test_classification.cc test other parts.
#include "training/subset.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "tests/task_settings.h"

namespace engine::test::test_subset {

TEST_CASE("subset: evenly spread, all of it where all is kept, never nothing") {
  for (const int64_t all : {1, 2, 7, 26, 1000}) {
    for (int64_t kept = 1; kept <= all; ++kept) {
      CHECK(spread_index(0, kept, all) == 0);
      for (int64_t i = 1; i < kept; ++i) {
        const int64_t gap = spread_index(i, kept, all) - spread_index(i - 1, kept, all);
        CHECK((gap == all / kept || gap == all / kept + 1));
      }
      CHECK(spread_index(kept - 1, kept, all) < all);
    }
    CHECK(spread_index(all - 1, all, all) == all - 1);
    CHECK(kept_of_share(1, all) == all);
    CHECK(kept_of_share(1e-9, all) == 1);
    CHECK(kept_at_most(0, all) == all);
    CHECK(kept_at_most(5, all) == std::min<int64_t>(5, all));
  }
  CHECK(kept_of_share(0.5, 0) == 0);
}

TEST_CASE("subset: blocks of a text are spread over the whole text") {
  TaskSettings settings(
      "task = \"gpt\"\n[data]\nblock_size = 8\ntokenizer = \"characters\"\n[model]\nhidden_size = 16\nnum_layers = 1\n"
      "num_heads = 2\nmax_positions = 32\n[training]\nbatch_size = 3\n[gpt]\nsamples = 0\n");
  settings.config.data.train_share = 0.5;
  std::string text;  // each block begins with its own character
  for (char c = 'A'; c <= 'Z'; ++c) text += c + std::string(7, '.');
  settings.config.data.train = {settings.write("a.txt", text)};
  const auto task = settings.task();
  CHECK(task->steps_per_epoch() == 5);
  SequenceBatch batch;
  std::string begins;
  for (int64_t step = 0; step < 5; ++step) {
    task->batch_of(step, batch);
    for (int64_t s = 0; s < batch.sequences(); ++s)
      begins += causal(*task).tokenizer().decode(std::span(batch.tokens).subspan(static_cast<size_t>(s * 8), 1));
  }
  std::sort(begins.begin(), begins.end());
  CHECK(begins == "ACEGIKMOQSUWY");

  // One of two blocks is the first.
  std::string samples;
  const auto loss_on = [&](const char* name, const std::string& eval, int64_t most) {
    settings.config.data.eval = {settings.write(name, eval)};
    settings.config.data.eval_sequences = most;
    return metric(settings.task()->evaluate(settings.machine, samples), "loss");
  };
  const double first = loss_on("one.txt", "ABCDEFGHZ", 1);
  CHECK(loss_on("two.txt", "ABCDEFGHZZZYYYXX", 1) == first);
  CHECK(loss_on("two.txt", "ABCDEFGHZZZYYYXX", 2) != first);
}

}  // namespace engine::test::test_subset
