#include "tests/attention_problem.h"

namespace engine::test::test_attention {
namespace {

using Case = AttentionCase;
using Problem = AttentionProblem;

void check_case(const Case& of) {
  CAPTURE(of.heads);
  CAPTURE(of.width);
  CAPTURE(of.causal);
  CAPTURE(of.rate);
  CAPTURE(of.distances);
  on_every_backend([&](Bench& bench) { Problem(bench, of).check(); });
}

}  // namespace

TEST_CASE("attention: the reference's gradients are the derivatives of its forward pass") {
  AttentionReference reference{2, 3, {{0, 4, 0, 5}, {4, 3, 5, 2}}, true, 0.7, {0.3f, 11, 2, 3, 10}};
  Random random(5, 0);
  const auto normal = [&](size_t count) {
    std::vector<double> result(count);
    for (double& x : result) x = static_cast<double>(random.normal());
    return result;
  };
  std::vector<double> q = normal(7 * 6), k = normal(7 * 6), v = normal(7 * 6), y(q.size()), lse(7 * 2);
  const std::vector<double> dy = normal(7 * 6);
  std::vector<double> dq(q.size()), dk(k.size()), dv(v.size());
  reference.backward(q.data(), k.data(), v.data(), dy.data(), dq.data(), dk.data(), dv.data());
  const auto value = [&] {
    reference.forward(q.data(), k.data(), v.data(), y.data(), lse.data());
    return dot(y, dy);
  };
  check_derivative(dq, q, value);
  check_derivative(dk, k, value);
  check_derivative(dv, v, value);

  // Tables of 2 distances come on top. Some segments have more distances, others fewer.
  for (const bool causal : {false, true}) {
    reference.causal = causal;
    reference.distances = 2;
    const size_t size = static_cast<size_t>(relative_rows(2, causal)) * 3;
    std::vector<double> keys = normal(size), values = normal(size), dkeys(size), dvalues(size);
    reference.relative_keys = keys.data(), reference.relative_values = values.data();
    for (std::vector<double>* gradient : {&dq, &dk, &dv}) std::fill(gradient->begin(), gradient->end(), 0);
    reference.backward(q.data(), k.data(), v.data(), dy.data(), dq.data(), dk.data(), dv.data(), dkeys.data(),
                       dvalues.data());
    for (auto [gradient, of] : {std::pair{&dq, &q}, {&dk, &k}, {&dv, &v}, {&dkeys, &keys}, {&dvalues, &values}})
      check_derivative(*gradient, *of, value);
  }
}

TEST_CASE("attention: widths of heads") {
  for (int width : {1, 5, 16, 24, 32, 40, 64, 96, 128})
    for (bool causal : {false, true}) check_case({2, width, {{37, 37}, {5, 5}, {1, 1}}, causal});
  for (int width : {32, 96, 128}) check_case({2, width, {{1, 90}, {2, 40}}});  // decoding
}

TEST_CASE("attention: lengths of sequences, empty ones among them") {
  for (bool causal : {false, true}) {
    check_case({3, 32, {{0, 0}, {31, 31}, {32, 32}, {0, 0}, {33, 33}, {130, 130}}, causal});
    check_case({2, 64, {{300, 300}}, causal});
    check_case({1, 16, {{0, 0}}, causal});
  }
}

TEST_CASE("attention: as many keys as there are, not as there are queries") {
  for (bool causal : {false, true}) {
    check_case({2, 32, {{1, 150}, {40, 7}, {3, 0}, {0, 3}, {17, 129}, {2, 1}, {1, 1}}, causal});
    check_case({2, 24, {{65, 64}, {64, 257}, {260, 20}}, causal});
    check_case({3, 64, {{1, 700}, {1, 513}, {2, 600}, {1, 512}, {1, 0}, {3, 40}}, causal});
  }
}

TEST_CASE("attention: few queries over many keys, more heads and blocks than go over the keys together") {
  for (bool causal : {false, true}) {
    check_case({9, 32, {{15, 96}, {3, 33}, {40, 41}, {0, 5}, {16, 200}}, causal});
    check_case({3, 64, {{100, 160}, {128, 300}, {129, 131}, {1, 64}, {8, 31}}, causal});
    check_case({5, 40, {{33, 64}, {70, 95}}, causal, 0.3f});
    check_case({2, 32, {{20, 130}, {33, 64}}, causal, 0.3f});
  }
}

TEST_CASE("attention: short sequences, whose heads may be taken side by side") {
  for (bool causal : {false, true})
    for (float rate : {0.0f, 0.3f}) {
      check_case({7, 32, {{20, 20}, {9, 9}, {32, 32}, {1, 1}, {16, 16}, {17, 17}, {33, 33}}, causal, rate});
      check_case({2, 64, {{5, 30}, {30, 5}, {17, 16}, {16, 17}, {32, 1}, {9, 0}, {12, 32}}, causal, rate});
      check_case({1, 96, {{12, 12}, {24, 24}}, causal, rate});
    }
}

TEST_CASE("attention: dropout of probabilities") {
  for (bool causal : {false, true}) {
    check_case({2, 32, {{50, 50}, {7, 7}, {140, 140}}, causal, 0.2f});
    check_case({3, 40, {{1, 150}, {1, 601}, {40, 7}, {3, 0}, {2, 30}}, causal, 0.5f});
    check_case({2, 32, {{50, 50}, {1, 7}}, causal, 1.0f});
    for (int width : {96, 128}) {  // these have their own tiles on a device
      check_case({2, width, {{70, 70}, {9, 9}}, causal, 0.2f});
      check_case({1, width, {{1, 90}, {20, 7}}, causal, 0.5f});
    }
  }
}

TEST_CASE("attention: gradients of keys and values that are added to") {
  on_every_backend([](Bench& bench) {
    for (const AttentionCase& of : {AttentionCase{2, 24, {{3, 9}, {1, 1}, {0, 4}, {20, 75}}, true, 0.1f},
                                    {2, 24, {{5, 5}, {40, 40}}, false, 0.1f},
                                    {9, 32, {{15, 96}, {33, 70}, {2, 40}, {31, 33}}, true, 0.1f}}) {
      CAPTURE(of.heads);
      CAPTURE(of.causal);
      const ArenaScope scope(bench.arena);
      AttentionProblem problem(bench, of);
      problem.results();
      AttentionBackwardArgs adding = problem.backward;
      const Shape shape{problem.key_rows, problem.width};
      adding.dk = bench.normal(DType::f32, shape), adding.dv = bench.normal(DType::f32, shape);
      adding.adds_to_keys = true;
      for (Columns AttentionBackwardArgs::* part : {&AttentionBackwardArgs::dk, &AttentionBackwardArgs::dv}) {
        const Values before = problem.values(adding.*part);
        const Values own = problem.inside_keys(problem.values(problem.backward.*part));
        Values expected, allowed;
        for (size_t i = 0; i < own.size(); ++i) {
          expected.push_back(before[i] + own[i]);
          allowed.push_back(stored_error(own[i], bench.compute) + 2 * stored_error(expected[i], DType::f32) +
                            2 * stored_error(before[i], DType::f32));
        }
        AttentionBackwardArgs again = adding;
        (part == &AttentionBackwardArgs::dk ? again.dv : again.dk) = bench.zeros(shape);
        bench.ops.attention_backward(again);
        CHECK_ELEMENTS(problem.values(again.*part), expected, allowed);
      }
      adding.dk = bench.normal(DType::bf16, shape);
      CHECK_THROWS_WITH_AS(bench.ops.attention_backward(adding),
                           "attention_backward: dk and dv are added to, so they have to be f32", Error);
    }
  });
}

TEST_CASE("attention: large logits do not overflow") {
  for (double size : {30.0, 1000.0}) {  // logits of 100 and of thousands
    check_case({2, 32, {{40, 40}, {150, 150}}, true, 0, size});
    check_case({2, 64, {{20, 20}, {170, 170}}, false, 0, size});
  }
}

TEST_CASE("attention: relative tables") {
  for (int width : {1, 5, 32, 40, 64, 96, 128}) check_case({2, width, {{35, 35}, {5, 5}}, width > 32, 0, 1, 17});
  for (bool causal : {false, true}) {
    for (bool shared : {false, true}) {
      check_case({2, 16, {{37, 37}, {5, 5}, {1, 1}, {0, 0}}, causal, 0, 1, 3, shared});
      check_case({3, 20, {{50, 50}, {33, 33}}, causal, 0.2f, 1, 64, shared});
    }
    check_case({2, 32, {{1, 150}, {40, 7}, {3, 0}, {0, 3}, {17, 129}, {2, 1}, {1, 1}}, causal, 0, 1, 20});
    check_case({2, 24, {{1, 90}, {2, 40}, {1, 7}, {1, 0}}, causal, 0.5f, 1, 16});
    check_case({1, 16, {{300, 300}, {130, 130}}, causal, 0.1f, 1, 40});
    check_case({2, 32, {{40, 40}}, causal, 0, 1000, 8});
  }
}

TEST_CASE("attention: the same bits at any number of threads") {
  on_every_backend([&](Bench& bench) {
    for (const Case& of : {Case{4, 32, {{37, 37}, {150, 150}, {20, 20}, {80, 80}}, true, 0.1f},
                           Case{4, 32, {{37, 37}, {150, 150}, {20, 20}, {80, 80}}, false, 0.1f, 1, 30},
                           Case{2, 64, {{600, 600}}, true}, Case{3, 64, {{1, 1500}, {1, 300}, {2, 40}}, true}}) {
      Problem problem(bench, of);
      check_same_at_any_thread_count([&] {
        std::vector<double> all = problem.results();
        for (double& x : all) x = std::isnan(x) ? 12345 : x;
        return all;
      });
    }
  });
}

TEST_CASE("attention: decoding against a cache gives what the whole sequence gave") {
  on_every_backend([&](Bench& bench) {
    const int length = 45, slot = 60, heads = 2, width = heads * 32;
    const Tensor fused = bench.normal(bench.compute, {2 * length, 3 * width});
    const Tensor whole = bench.unset(bench.compute, {2 * length, width});
    const Segments segments = Segments::packed(bench.integers({3}, {0, length, 2 * length}), length);
    AttentionForwardArgs args{.q = {fused, 0, width},
                              .k = {fused, width, width},
                              .v = {fused, 2 * width, width},
                              .heads = heads,
                              .queries = segments,
                              .keys = segments,
                              .causal = true,
                              .scale = 0.2f,
                              .y = whole};
    bench.ops.attention_forward(args);
    // The cache has two slots. A step decodes one token of each sequence, at unequal positions.
    std::vector<double> from = bench.values(fused), cache(static_cast<size_t>(2 * slot * 3 * width), NAN);
    for (int s = 0; s < 2; ++s)
      std::copy_n(from.begin() + s * length * 3 * width, length * 3 * width, cache.begin() + s * slot * 3 * width);
    const Tensor slots = bench.from(bench.compute, {2 * slot, 3 * width}, cache);
    for (const std::vector<int>& at : {std::vector{0, 7}, std::vector{44, 20}, std::vector{31, 32}}) {
      std::vector<double> query, expected, errors;
      const std::vector<double> y = bench.values(whole);
      for (int s = 0; s < 2; ++s) {
        const int row = s * length + at[static_cast<size_t>(s)];
        query.insert(query.end(), from.begin() + row * 3 * width, from.begin() + row * 3 * width + width);
        expected.insert(expected.end(), y.begin() + row * width, y.begin() + (row + 1) * width);
        // A mean of values errs relative to their largest. Probabilities and y may be rounded in both passes.
        for (int c = 0; c < width; ++c) {
          double largest = 0;
          for (int j = 0; j <= at[static_cast<size_t>(s)]; ++j) {
            const int element = (s * length + j) * 3 * width + 2 * width + c;
            largest = std::max(largest, std::abs(from[static_cast<size_t>(element)]));
          }
          errors.push_back((4 * epsilon_of(bench.compute) + 4 * sum_error(32)) * largest);
        }
      }
      args.q = bench.from(bench.compute, {2, width}, query);
      args.k = {slots, width, width}, args.v = {slots, 2 * width, width};
      args.queries = Segments::packed(bench.integers({3}, {0, 1, 2}), 1);
      args.keys = {bench.integers({2}, {0, slot}), bench.integers({2}, {at[0] + 1, slot + at[1] + 1}), slot};
      args.y = bench.unset(bench.compute, {2, width});
      bench.ops.attention_forward(args);
      CHECK_ELEMENTS(bench.values(args.y), expected, errors);
    }
  });
}

TEST_CASE("attention: arguments that do not fit are named") {
  on_every_backend([&](Bench& bench) {
    Problem problem(bench, {2, 16, {{5, 5}}, true});
    AttentionForwardArgs args = problem.forward;
    args.heads = 3;
    CHECK_THROWS_WITH_AS(bench.ops.attention_forward(args), "attention_forward: q has 32 columns for 3 heads", Error);
    args = problem.forward;
    args.keys = Segments::packed(bench.integers({2}, {0, 6}), 6);
    std::string found;
    try {
      bench.ops.attention_forward(args);
      bench.finish();
    } catch (const Error& error) {
      found = error.what();
    }
    CAPTURE(found);  // a device that holds the segments finds this itself
    CHECK((found == "attention_forward: keys: sequence 0 has the rows 0 to 6 of 5" ||
           found == "attention: the last row of segment[0] is 5, not in 0 ... 4"));
    AttentionBackwardArgs gradient = problem.backward;
    gradient.lse = {};
    CHECK_THROWS_AS(bench.ops.attention_backward(gradient), Error);
    args = problem.forward;
    args.relative = {4, bench.zeros({9, 16}), bench.zeros({5, 16})};
    CHECK_THROWS_WITH_AS(bench.ops.attention_forward(args), "attention_forward: relative.keys is [9, 16], not [5, 16]",
                         Error);
    args.relative.keys = args.relative.values;
    args.relative.distances = -1;
    CHECK_THROWS_WITH_AS(bench.ops.attention_forward(args), doctest::Contains("-1 distances"), Error);
    gradient = problem.backward;
    gradient.relative = {4, bench.zeros({5, 16}), bench.zeros({5, 16})};
    CHECK_THROWS_WITH_AS(bench.ops.attention_backward(gradient), doctest::Contains("drelative_keys is missing"), Error);
  });
}

TEST_CASE("attention: what is beyond its limits is refused, the limit itself is not") {
  on_every_backend([&](Bench& bench) {
    for (int width : {128, 129}) {
      Problem problem(bench, {1, width, {{2, 2}}});
      const auto forward = [&] { bench.ops.attention_forward(problem.forward); };
      const auto backward = [&] { bench.ops.attention_backward(problem.backward); };
      if (width == 128) {
        forward();
        backward();
        continue;
      }
      CHECK_THROWS_WITH_AS(forward(), "attention_forward: heads are 129 wide, at most 128", Error);
      CHECK_THROWS_WITH_AS(backward(), "attention_backward: heads are 129 wide, at most 128", Error);
    }
    for (int keys : {65536, 65537}) {
      Problem problem(bench, {1, 2, {{1, keys}}, false, 0.5f});
      const auto forward = [&] { bench.ops.attention_forward(problem.forward); };
      if (keys == 65536) {
        forward();
        continue;
      }
      CHECK_THROWS_WITH_AS(forward(), doctest::Contains("65537 keys, dropout counts at most 65536"), Error);
      problem.forward.dropout.rate = 0;
      forward();
    }
    Problem problem(bench, {1, 2, {{1, 1}}, false, 0, 1, 1});
    problem.forward.relative.distances = most_distances + 1;
    CHECK_THROWS_WITH_AS(bench.ops.attention_forward(problem.forward),
                         "attention_forward: relative tables for 32769 distances, at most 32768", Error);
    bench.finish();
  });
}

}  // namespace engine::test::test_attention
