#include "kernels/rows/segment_mean.h"

#include "kernels/rows/segment_mean_ref.h"
#include "tests/invariance.h"

namespace engine::test::test_segment_mean {

namespace {

Segments segments_of(Bench& bench, const std::vector<int>& begin, const std::vector<int>& end) {
  const Shape shape{static_cast<int64_t>(begin.size())};
  int longest = 0;
  for (size_t s = 0; s < begin.size(); ++s) longest = std::max(longest, end[s] - begin[s]);
  return {bench.integers(shape, begin), bench.integers(shape, end), longest};
}

}  // namespace

TEST_CASE("segment mean: ragged, empty, with rows outside, every pair of dtypes") {
  on_every_backend([](Bench& bench) {
    const std::vector<int> begin{3, 0, 7, 7, 47}, end{7, 1, 7, 47, 48};
    const Segments segments = segments_of(bench, begin, end);
    for (DType other : {DType::f32, DType::bf16})
      for (int64_t cols : {1, 3, 17, 33, 64, 100}) {
        CAPTURE(cols);
        const Tensor x = bench.normal(bench.compute, {49, cols}), y = bench.unset(other, {5, cols});
        bench.ops.segment_mean_forward({.x = x, .segments = segments, .y = y});
        const auto mean = [&](const Values& of) {
          return reference::segment_mean_forward(of, static_cast<size_t>(cols), begin, end);
        };
        const Values means = mean(bench.values(x)), sizes = mean(magnitudes(bench.values(x)));
        CHECK_ELEMENTS(bench.values(y), means, sum_errors(means, sizes, segments.longest, other));
      }
  });
}

TEST_CASE("segment mean: no sequences, a NaN stays where it is, many threads, and what does not fit") {
  on_every_backend([](Bench& bench) {
    std::vector<int> offsets{0};
    for (int s = 0; s < 300; ++s) offsets.push_back(offsets.back() + static_cast<int>(bench.random.below(20)));
    const Segments segments = Segments::packed(bench.integers({301}, offsets), 20);
    const Tensor x = bench.normal(bench.compute, {offsets.back(), 100}), y = bench.unset(DType::f32, {300, 100});
    check_same_at_any_thread_count([&] {
      bench.ops.segment_mean_forward({.x = x, .segments = segments, .y = y});
      return bench.values(y);
    });
    const Tensor none = bench.arena.make(DType::i32, {0});
    bench.ops.segment_mean_forward({.x = x, .segments = {none, none, 0}, .y = bench.zeros({0, 100})});
    const Tensor small = bench.from(DType::f32, {3, 2}, {1, NAN, 3, 4, 5, 6}), means = bench.unset(DType::f32, {2, 2});
    bench.ops.segment_mean_forward({.x = small, .segments = segments_of(bench, {0, 2}, {2, 3}), .y = means});
    const std::vector<double> values = bench.values(means);
    CHECK(values[0] == 2);
    CHECK(std::isnan(values[1]));
    CHECK(values[2] == 5);
    CHECK(values[3] == 6);
    CHECK_THROWS_WITH_AS(
        (bench.ops.segment_mean_forward({.x = small, .segments = segments_of(bench, {0, 2}, {2, 4}), .y = means}),
         bench.finish()),
        bench.is_device ? "segment_mean: the last row of segment[1] is 3, not in 0 ... 2"
                        : "segment_mean_forward: segment 1 has the rows 2 to 4 of 3",
        Error);
    CHECK_THROWS_WITH_AS(
        bench.ops.segment_mean_forward({.x = small, .segments = segments_of(bench, {0}, {2}), .y = means}),
        "segment_mean_forward: y is [2, 2], not [1, 2]", Error);
  });
}

TEST_CASE("segment mean: the same bits wherever tensors lie") {
  on_every_backend([](Bench& bench) {
    const Segments segments = segments_of(bench, {0, 4}, {4, 30});
    const Tensor x = bench.normal(bench.compute, {30, 64});
    const auto results_behind = [&](int64_t elements) {
      const Tensor y = copy_behind(bench, bench.unset(DType::f32, {2, 64}), elements);
      bench.ops.segment_mean_forward({.x = copy_behind(bench, x, elements), .segments = segments, .y = y});
      return bench.values(y);
    };
    CHECK(results_behind(0) == results_behind(1));
  });
}

TEST_CASE("segment mean: a grid that no device takes is refused") {
  SKIP_WITHOUT_DEVICE();
  on_every_backend([](Bench& bench) {
    if (!bench.is_device) return;
    Tensor wide = bench.zeros({1, 1});  // no kernel starts, so none reads behind its end
    wide.shape = {1, int64_t{1} << 30};
    CHECK_THROWS_WITH_AS(
        bench.ops.segment_mean_forward({.x = wide, .segments = segments_of(bench, {0}, {1}), .y = wide}),
        doctest::Contains("segment_mean_forward of [1, 1073741824] f32, [1, 1073741824] f32: a grid of 1 x "), Error);
  });
}

}  // namespace engine::test::test_segment_mean
