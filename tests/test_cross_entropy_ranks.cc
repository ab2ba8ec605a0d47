#include "kernels/losses/cross_entropy.h"
#include "kernels/losses/cross_entropy_ref.h"
#include "tests/operation.h"

namespace engine::test::test_cross_entropy_ranks {

using Reference = reference::CrossEntropy<double>;

TEST_CASE("cross_entropy: ranks of the labels and the likeliest tokens, exactly, of rows that are not ignored") {
  on_every_backend([](Bench& bench) {
    for (const auto& [rows, vocabulary] : {std::pair<int64_t, int64_t>{37, 50}, {3, 1}, {2100, 300}, {0, 5}}) {
      CAPTURE(vocabulary);
      // Small whole numbers: every logit is exact, and many are equal.
      const auto whole = [&](Shape shape) {
        std::vector<double> numbers(static_cast<size_t>(shape.count()));
        for (double& number : numbers) number = static_cast<double>(bench.random.below(5)) - 2;
        return numbers;
      };
      Reference expected;
      expected.rows = static_cast<size_t>(rows), expected.cols = 8;
      expected.vocabulary = static_cast<size_t>(vocabulary);
      expected.x = whole({rows, 8}), expected.weight = whole({vocabulary, 8});
      for (int64_t r = 0; r < rows; ++r)
        expected.labels.push_back(
            r % 3 == 1 ? ignored_label : static_cast<int>(bench.random.below(static_cast<uint32_t>(vocabulary))));
      for (const int choice : {0, 1, 2, 3}) {
        const bool gradients = choice & 1;
        expected.ranked_token = choice & 2 ? static_cast<int>(vocabulary) / 2 : -1;
        expected.run();
        const std::vector<int> untouched(static_cast<size_t>(rows), 7);
        const Tensor ranks = bench.integers({rows}, untouched), likeliest = bench.integers({rows}, untouched);
        bench.ops.cross_entropy({.x = bench.from(DType::f32, {rows, 8}, expected.x),
                                 .weight = bench.from(DType::f32, {vocabulary, 8}, expected.weight),
                                 .labels = bench.integers({rows}, expected.labels),
                                 .compute = bench.compute,
                                 .totals = bench.zeros({3}),
                                 .ranks = ranks,
                                 .ranked_token = expected.ranked_token,
                                 .likeliest = likeliest,
                                 .dx = gradients ? bench.unset(DType::f32, {rows, 8}) : Tensor{}});
        const std::vector<double> got_ranks = bench.values(ranks), got_likeliest = bench.values(likeliest);
        for (size_t r = 0; r < expected.rows; ++r) {
          const bool ignored = expected.labels[r] == ignored_label;
          CHECK(got_ranks[r] == (ignored ? 7 : expected.ranks[r]));
          CHECK(got_likeliest[r] == (ignored ? 7 : expected.likeliest[r]));
        }
      }
    }
  });
}

}  // namespace engine::test::test_cross_entropy_ranks
