#include "kernels/sampling/sampling.h"

#include "kernels/sampling/sampling_ref.h"
#include "tests/invariance.h"

namespace engine::test::test_sampling {

namespace {

// A draw may lie so far from the border between two tokens, as a share of the sum of weights, and still give the other
// one. Weights are f32 exponentials, good to a few units in the last place and to the rounding of logit / temperature
// (up to about 100).
constexpr double border = 128 * 0x1p-24;

std::vector<double> row_of(const std::vector<double>& values, int64_t row, int64_t cols) {
  return {values.begin() + static_cast<long>(row * cols), values.begin() + static_cast<long>((row + 1) * cols)};
}

// Checks that the token is the reference's, unless the draw lies on the border between two.
void check_token(const std::vector<double>& weights, double draw, double token) {
  const size_t expected = reference::draw_token(weights, draw);
  if (token == static_cast<double>(expected)) return;
  CAPTURE(expected); CAPTURE(token); CAPTURE(draw);
  REQUIRE(token >= 0);
  REQUIRE(token < static_cast<double>(weights.size()));
  CHECK(weights[static_cast<size_t>(token)] > 0);
  const size_t below = reference::draw_token(weights, std::max(0.0, draw - border));
  const size_t above = reference::draw_token(weights, draw + border);
  CHECK(token >= static_cast<double>(below));
  CHECK(token <= static_cast<double>(above));
}

void check_sampling(Bench& bench, const Tensor& logits, float temperature, int top_k, float top_p) {
  CAPTURE(logits.shape.text()); CAPTURE(temperature); CAPTURE(top_k); CAPTURE(top_p);
  const int64_t rows = logits.rows(), cols = logits.cols();
  std::vector<double> draws;
  for (int64_t s = 0; s < rows; ++s)
    draws.push_back(s == 0 ? 0.0 : s == 1 ? 1 - 0x1p-24 : static_cast<double>(bench.random.uniform()));
  const Tensor tokens = bench.arena.make(DType::i32, {rows});
  bench.ops.sample({.logits = logits, .draws = bench.from(DType::f32, {rows}, draws), .temperature = temperature,
                    .top_k = top_k, .top_p = top_p, .tokens = tokens});
  const std::vector<double> values = bench.values(logits), actual = bench.values(tokens);
  for (int64_t s = 0; s < rows; ++s) {
    const size_t row = static_cast<size_t>(s);
    check_token(reference::sampling_weights(row_of(values, s, cols), temperature, top_k, top_p), draws[row],
                actual[row]);
  }
}

}  // namespace

TEST_CASE("sample: every temperature, top_k and top_p against the reference") {
  on_every_backend([](Bench& bench) {
    for (int64_t cols : {1, 3, 17, 33, 65, 100, 5003}) {
      const Tensor logits = bench.normal(DType::f32, {cols > 1000 ? 3 : 9, cols}, 3);
      int choice = 0;
      for (float temperature : {0.0f, 1e-30f, 0.3f, 1.0f, 5.0f})
        for (int top_k : {0, 1, 2, 7, 50, 100000})
          for (float top_p : {0.0f, 0.3f, 0.9f, 0.999f, 1.0f})
            if (!bench.is_device || ++choice % 13 == 0) check_sampling(bench, logits, temperature, top_k, top_p);
    }
  });
}

TEST_CASE("sample: equal logits, -infinity, huge logits, flat and peaked rows") {
  on_every_backend([](Bench& bench) {
    const int64_t cols = 200;
    std::vector<double> values;
    const auto add_row = [&](auto logit_of) {
      for (int64_t v = 0; v < cols; ++v) values.push_back(logit_of(v));
    };
    add_row([](int64_t) { return 0.0; });
    add_row([](int64_t v) { return v % 2 ? -0.0 : 0.0; });
    add_row([](int64_t v) { return v == 150 || v == 20 ? 2.0 : 1.0; });
    add_row([](int64_t v) { return v < 197 ? -INFINITY : 1.0; });
    add_row([](int64_t v) { return v == 77 ? 5.0 : -INFINITY; });
    add_row([](int64_t v) { return v % 7 ? -3e38 : 3e38; });
    add_row([](int64_t v) { return v == 3 ? 1e4 : static_cast<double>(v); });
    add_row([](int64_t v) { return 1e-40 * static_cast<double>(v); });
    const Tensor logits = bench.from(DType::f32, {8, cols}, values);
    for (int turn = 0; turn < (bench.is_device ? 1 : 10); ++turn)
      for (int top_k : {0, 1, 3, 150})
        for (float top_p : {0.5f, 1.0f})
          for (float temperature : {0.0f, 0.01f, 1.0f}) check_sampling(bench, logits, temperature, top_k, top_p);
  });
}

// A device divides a row among its warps, twice, and one warp goes over what is left.
TEST_CASE("sample: each draw of a flat row finds its token, and a high temperature reaches far down") {
  on_every_backend([](Bench& bench) {
    if (bench.compute == DType::bf16) return;  // logits are f32
    constexpr int64_t cols = 1100, rows = 275;
    const Tensor flat = bench.zeros({rows, cols}), tokens = bench.arena.make(DType::i32, {rows});
    for (const int64_t kept : {cols, int64_t{700}}) {  // of equal logits the first tokens are kept
      std::vector<double> draws, expected;
      for (int64_t s = 0; s < rows; ++s) {
        expected.push_back(static_cast<double>(s * kept / rows));
        draws.push_back((expected.back() + 0.5) / static_cast<double>(kept));
      }
      bench.ops.sample({.logits = flat, .draws = bench.from(DType::f32, {rows}, draws), .temperature = 1,
                        .top_k = static_cast<int>(kept), .tokens = tokens});
      CHECK(bench.values(tokens) == expected);
    }
    std::vector<double> steep, draws;
    for (int64_t s = 0; s < 20; ++s) {
      for (int64_t v = 0; v < 50; ++v) steep.push_back(-2.0 * static_cast<double>(v));
      draws.push_back((static_cast<double>(s) + 0.5) / 20);
    }
    const Tensor twenty = bench.arena.make(DType::i32, {20});
    bench.ops.sample({.logits = bench.from(DType::f32, {20, 50}, steep), .draws = bench.from(DType::f32, {20}, draws),
                      .temperature = 20, .tokens = twenty});
    const std::vector<double> drawn = bench.values(twenty);
    CHECK(drawn.back() > 30);
    for (size_t s = 0; s < 20; ++s)
      check_token(reference::sampling_weights(row_of(steep, static_cast<int64_t>(s), 50), 20, 0, 1), draws[s],
                  drawn[s]);
  });
}

TEST_CASE("sample: greedy takes the lowest token among equals and needs no draws") {
  on_every_backend([](Bench& bench) {
    std::vector<double> values(3 * 70, -1.0);
    values[40] = values[17] = 2;
    values[70] = -0.0, values[70 + 69] = 0.0;
    const Tensor tokens = bench.arena.make(DType::i32, {3});
    bench.ops.sample({.logits = bench.from(DType::f32, {3, 70}, values), .tokens = tokens});
    CHECK(bench.values(tokens) == std::vector<double>{17, 0, 0});
    const Tensor none = bench.arena.make(DType::i32, {0}), no_logits = bench.arena.make(DType::f32, {0, 70});
    bench.ops.sample({.logits = no_logits, .tokens = none});
  });
}

TEST_CASE("sample: tokens come as often as they are likely") {
  on_every_backend([](Bench& bench) {
    const int64_t rows = bench.is_device ? 1000 : 20000;
    std::vector<double> values, draws;
    const double probability[] = {0.5, 0.2, 0.0, 0.3};
    for (int64_t s = 0; s < rows; ++s) {
      for (double p : probability) values.push_back(std::log(p));
      draws.push_back(bench.random.uniform());
    }
    const Tensor tokens = bench.arena.make(DType::i32, {rows});
    bench.ops.sample({.logits = bench.from(DType::f32, {rows, 4}, values),
                      .draws = bench.from(DType::f32, {rows}, draws),
                      .temperature = 1,
                      .tokens = tokens});
    std::vector<double> shares(4, 0.0);
    for (double token : bench.values(tokens)) shares[static_cast<size_t>(token)] += 1.0 / static_cast<double>(rows);
    CHECK(shares[2] == 0);
    for (size_t v = 0; v < 4; ++v)  // within four standard deviations
      CHECK(std::abs(shares[v] - probability[v]) <=
            4 * std::sqrt(probability[v] * (1 - probability[v]) / static_cast<double>(rows)));
  });
}

TEST_CASE("sample: the same tokens at any number of threads, and errors that name the row") {
  on_every_backend([](Bench& bench) {
    const Tensor logits = bench.normal(DType::f32, {40, 777}, 2), tokens = bench.arena.make(DType::i32, {40});
    std::vector<double> uniform;
    for (int s = 0; s < 40; ++s) uniform.push_back(bench.random.uniform());
    const Tensor draws = bench.from(DType::f32, {40}, uniform);
    check_same_at_any_thread_count([&] {
      bench.ops.sample(
          {.logits = logits, .draws = draws, .temperature = 0.9f, .top_k = 300, .top_p = 0.95f, .tokens = tokens});
      return bench.values(tokens);
    });
    std::vector<double> values(3 * 20, 1.0);
    const Tensor three = bench.arena.make(DType::i32, {3}), draw = bench.zeros({3});
    values[2 * 20 + 19] = NAN;
    for (float temperature : {0.0f, 1.0f})
      CHECK_THROWS_WITH_AS((bench.ops.sample({.logits = bench.from(DType::f32, {3, 20}, values), .draws = draw,
                                              .temperature = temperature, .tokens = three}), bench.finish()),
                           "sample: row 2 of the logits holds a NaN, or its largest is not finite", Error);
    values[2 * 20 + 19] = 1;
    std::fill(values.begin() + 20, values.begin() + 40, -INFINITY);
    CHECK_THROWS_WITH_AS((bench.ops.sample({.logits = bench.from(DType::f32, {3, 20}, values), .tokens = three}),
                          bench.finish()),
                         "sample: row 1 of the logits holds a NaN, or its largest is not finite", Error);
    CHECK_THROWS_WITH_AS(bench.ops.sample({.logits = logits, .temperature = -1, .tokens = tokens}),
                         "sample: temperature is -1, must be at least 0", Error);
    CHECK_THROWS_WITH_AS(bench.ops.sample({.logits = logits, .temperature = 1, .tokens = tokens}),
                         "sample: draws is missing", Error);
  });
}

TEST_CASE("sample: a device takes fewer than 2^20 tokens, and says so") {
  on_every_backend([](Bench& bench) {
    const int64_t most = (1 << 20) - 1;
    const Tensor tokens = bench.arena.make(DType::i32, {1}), logits = bench.zeros({1, most + 1});
    bench.fill({logits.as<float>() + most - 1, DType::f32, {1}}, {1});
    bench.ops.sample({.logits = {logits.data, DType::f32, {1, most}}, .tokens = tokens});
    CHECK(bench.values(tokens)[0] == most - 1);
    if (bench.is_device)
      CHECK_THROWS_WITH_AS(bench.ops.sample({.logits = logits, .tokens = tokens}),
                           "sample: logits is [1, 1048576]: fewer than 2^20 tokens fit the sums of this device", Error);
  });
}

}  // namespace engine::test::test_sampling
