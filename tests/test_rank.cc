#include "kernels/sampling/rank.h"

#include "kernels/sampling/rank_ref.h"
#include "tests/invariance.h"

namespace engine::test::test_rank {

namespace {

std::vector<double> expected_ranks(const std::vector<double>& logits, const std::vector<int>& tokens) {
  const size_t cols = logits.size() / tokens.size();
  std::vector<double> ranks;
  for (size_t r = 0; r < tokens.size(); ++r) {
    const auto begin = logits.begin() + static_cast<int64_t>(r * cols);
    const std::vector<double> row(begin, begin + static_cast<int64_t>(cols));
    ranks.push_back(reference::rank(row, static_cast<size_t>(tokens[r])));
  }
  return ranks;
}

void check_ranks(Bench& bench, const Tensor& logits, const std::vector<int>& tokens) {
  const int64_t rows = static_cast<int64_t>(tokens.size());
  const Tensor ranks = bench.integers({rows}, std::vector<int>(tokens.size(), -7));
  bench.ops.rank({.logits = logits, .tokens = bench.integers({rows}, tokens), .ranks = ranks});
  CHECK(bench.values(ranks) == expected_ranks(bench.values(logits), tokens));
}

}  // namespace

TEST_CASE("rank: rows of every size, wherever they begin, against the reference") {
  on_every_backend([](Bench& bench) {
    for (int64_t cols : {1, 2, 3, 7, 8, 9, 17, 31, 33, 64, 65, 100, 1001, 5003}) {
      CAPTURE(cols);
      const int64_t rows = cols > 1000 ? 3 : 9;
      std::vector<int> tokens;
      for (int64_t r = 0; r < rows; ++r)  // the first and the last are among them
        tokens.push_back(static_cast<int>(r < 2 ? r * (cols - 1) : bench.random.below(static_cast<uint32_t>(cols))));
      check_ranks(bench, bench.normal(bench.compute, {rows, cols}, 3), tokens);
      // This row begins at no multiple of 16 bytes, whatever its size.
      const Tensor flat = bench.normal(bench.compute, {cols + 1, 1});
      Tensor row = flat.row_range(1, cols + 1);
      row.shape = {1, cols};
      check_ranks(bench, row, {static_cast<int>(cols / 2)});
    }
  });
}

TEST_CASE("rank: equal logits share the best rank, infinities are numbers, a NaN stands below all of them") {
  on_every_backend([](Bench& bench) {
    const int64_t cols = 70;
    const auto row_of = [&](const auto& logit_of) {
      std::vector<double> row;
      for (int64_t v = 0; v < cols; ++v) row.push_back(logit_of(v));
      return bench.from(bench.compute, {1, cols}, row);
    };
    const Tensor equal = row_of([](int64_t v) { return v % 2 ? -0.0 : 0.0; });
    const Tensor steps = row_of([](int64_t v) { return static_cast<double>(v / 10); });
    const Tensor masked = row_of([](int64_t v) { return v < 66 ? -INFINITY : v == 69 ? INFINITY : 1.0; });
    const Tensor holes = row_of([](int64_t v) { return v % 3 == 0 ? NAN : v % 3 == 1 ? -INFINITY : -1e30; });
    for (const Tensor& logits : {equal, steps, masked, holes})
      for (int token : {0, 1, 2, 35, 65, 66, 69}) check_ranks(bench, logits, {token});
    const Tensor rank = bench.integers({1}, {0});
    const auto rank_of = [&](const Tensor& logits, int token) {
      bench.ops.rank({.logits = logits, .tokens = bench.integers({1}, {token}), .ranks = rank});
      return bench.values(rank)[0];
    };
    CHECK(rank_of(equal, 41) == 1);
    CHECK(rank_of(steps, 69) == 1);
    CHECK(rank_of(steps, 59) == 11);
    CHECK(rank_of(masked, 69) == 1);
    CHECK(rank_of(masked, 3) == 5);
    CHECK(rank_of(holes, 2) == 1);
    CHECK(rank_of(holes, 0) == 1 + 46);  // 24 of 70 are NaNs
  });
}

TEST_CASE("rank: the same at any number of threads, no rows, and errors that name the argument") {
  on_every_backend([](Bench& bench) {
    const Tensor logits = bench.normal(bench.compute, {40, 777}), ranks = bench.integers({40}, std::vector<int>(40));
    const Tensor tokens = bench.integers({40}, std::vector<int>(40, 5));
    check_same_at_any_thread_count([&] {
      bench.ops.rank({.logits = logits, .tokens = tokens, .ranks = ranks});
      return bench.values(ranks);
    });
    const Tensor none = bench.arena.make(DType::i32, {0});
    bench.ops.rank({.logits = bench.arena.make(bench.compute, {0, 5}), .tokens = none, .ranks = none});
    for (const int wrong : {-1, 777}) {
      std::vector<int> values(40, 3);
      values[17] = wrong;
      CHECK_THROWS_WITH_AS(
          (bench.ops.rank({.logits = logits, .tokens = bench.integers({40}, values), .ranks = ranks}), bench.finish()),
          ("rank: tokens[17] is " + std::to_string(wrong) + ", not in 0 ... 776").c_str(), Error);
    }
    CHECK_THROWS_WITH_AS(bench.ops.rank({.logits = logits.row_range(0, 39), .tokens = tokens, .ranks = ranks}),
                         "rank: logits is [39, 777], not [40, 777]", Error);
    CHECK_THROWS_WITH_AS(bench.ops.rank({.logits = tokens, .tokens = tokens, .ranks = ranks}),
                         "rank: logits is i32, not f32 or bf16", Error);
    CHECK_THROWS_WITH_AS(bench.ops.rank({.logits = logits, .tokens = tokens}), "rank: ranks is missing", Error);
  });
}

}  // namespace engine::test::test_rank
