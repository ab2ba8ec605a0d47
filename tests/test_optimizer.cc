#include "kernels/optimizer/optimizer.h"

#include <array>
#include <utility>

#include "kernels/optimizer/optimizer_ref.h"
#include "tests/invariance.h"

namespace engine::test::test_optimizer {

namespace {

// A model of tensors of odd sizes, among them an empty one and one of several pieces.
struct Model {
  std::vector<AdamWTensor> tensors;
  std::vector<Tensor> gradients;

  Model(Bench& bench, double gradient_scale) {
    bool decays = false;
    for (int64_t size : {1, 3, 17, 0, 33, 65, 100, 50001}) {
      decays = !decays;
      const Tensor v = bench.normal(DType::f32, {size}, 0.01);
      std::vector<double> squares = bench.values(v);
      for (double& value : squares) value *= value;
      tensors.push_back({.value = bench.normal(DType::f32, {size}),
                         .gradient = bench.normal(DType::f32, {size}, gradient_scale),
                         .m = bench.normal(DType::f32, {size}, 0.1),
                         .v = bench.from(DType::f32, {size}, squares),
                         .learning_rate_scale = decays ? 0.5f : 1.0f,
                         .decays = decays,
                         .keeps_gradient = size == 17 || size == 50001,
                         .rounded = size % 2 ? bench.unset(DType::bf16, {size}) : Tensor{}});
      gradients.push_back(tensors.back().gradient);
    }
  }
};

// Returns the errors of value and m after an update. Both are sums of two terms: the moment and the gradient, the value
// and its update. A moment errs relative to its terms, and the update, which is a moment over a root, errs alike.
std::array<Values, 2> errors_of(const reference::AdamW<double>& adamw, const Values& value, const Values& gradient,
                                const Values& m, const Values& v, double scale) {
  const double norm = std::sqrt(adamw.norm_squared), rate = adamw.learning_rate * scale;
  const double clip = adamw.max_norm > 0 && norm > adamw.max_norm ? adamw.max_norm / norm : 1.0;
  const double correction1 = 1 - std::pow(adamw.beta1, adamw.step), correction2 = 1 - std::pow(adamw.beta2, adamw.step);
  std::array<Values, 2> errors;
  for (size_t i = 0; i < value.size(); ++i) {
    const double g = std::abs(gradient[i]) * clip;
    const double size = adamw.beta1 * std::abs(m[i]) + (1 - adamw.beta1) * g;
    const double error = sum_error(2) * size + stored_error(size, DType::f32);
    const double second = adamw.beta2 * v[i] + (1 - adamw.beta2) * g * g;
    const double factor = rate / correction1 / (std::sqrt(second / correction2) + adamw.epsilon);
    errors[0].push_back(factor * (error + sum_error(2) * size) + sum_error(1) * std::abs(value[i]));
    errors[1].push_back(error);
  }
  return errors;
}

std::vector<double> rounded(std::vector<double> values) {
  for (double& value : values) value = static_cast<double>(static_cast<float>(bf16(static_cast<float>(value))));
  return values;
}

}  // namespace

TEST_CASE("adamw: values and state over several steps, with and without clipping") {
  on_every_backend([](Bench& bench) {
    for (float max_norm : {0.0f, 1.0f, 1e6f}) {
      CAPTURE(max_norm);
      Model model(bench, 0.3);
      const Tensor norm_squared = bench.unset(DType::f32, {1});
      for (int step : {1, 2, 1000}) {
        CAPTURE(step);
        bench.ops.sum_of_squares({.tensors = model.gradients, .result = norm_squared});
        const float rate = 1e-2f, beta1 = 0.9f, beta2 = 0.95f, epsilon = 1e-8f, decay = 0.1f;
        const reference::AdamW<double> adamw{
            rate, beta1, beta2, epsilon, decay, max_norm, bench.values(norm_squared)[0], step};
        std::vector<Values> expected, errors, kept;
        for (const AdamWTensor& t : model.tensors) {
          std::vector<double> value = bench.values(t.value), gradient = bench.values(t.gradient), m = bench.values(t.m),
                              v = bench.values(t.v);
          kept.push_back(gradient);
          for (const Values& result : errors_of(adamw, value, gradient, m, v, t.learning_rate_scale))
            errors.push_back(result);
          adamw.update(value, gradient, m, v, t.learning_rate_scale, t.decays);
          if (!t.keeps_gradient) kept.back() = gradient;
          for (const std::vector<double>& result : {value, m, v}) expected.push_back(result);
        }
        bench.ops.adamw({.tensors = model.tensors,
                         .learning_rate = rate,
                         .beta1 = beta1,
                         .beta2 = beta2,
                         .epsilon = epsilon,
                         .weight_decay = decay,
                         .step = step,
                         .norm_squared = max_norm > 0 ? norm_squared : Tensor{},
                         .max_norm = max_norm});
        for (size_t i = 0; i < model.tensors.size(); ++i) {
          const AdamWTensor& t = model.tensors[i];
          CAPTURE(t.value.count());
          CHECK_ELEMENTS(bench.values(t.value), expected[3 * i], errors[2 * i]);
          CHECK_ELEMENTS(bench.values(t.m), expected[3 * i + 1], errors[2 * i + 1]);
          CHECK_ELEMENTS(bench.values(t.v), expected[3 * i + 2], few_roundings(expected[3 * i + 2], DType::f32));
          if (t.rounded) CHECK(bench.values(t.rounded) == rounded(bench.values(t.value)));
          CHECK(bench.values(t.gradient) == kept[i]);
          bench.fill(t.gradient, bench.values(bench.normal(DType::f32, {t.value.count()}, 0.3)));
        }
      }
    }
  });
}

// Shows the update itself, which no value of a hundred times its size hides here.
TEST_CASE("adamw: the update of a zero value, and of zero and subnormal gradients") {
  on_every_backend([](Bench& bench) {
    const std::vector<double> gradients{1e-3, -2.5, 0.0, 1e-40, 1e15, -1e-12};
    std::vector<double> value(6, 0.0), gradient = bench.values(bench.from(DType::f32, {6}, gradients)), m = value,
                                       v = value;
    const AdamWTensor tensor{.value = bench.zeros({6}), .gradient = bench.from(DType::f32, {6}, gradients),
                             .m = bench.zeros({6}), .v = bench.zeros({6}), .decays = true};
    const float rate = 1e-3f, beta1 = 0.9f, beta2 = 0.999f, epsilon = 1e-8f;
    const reference::AdamW<double> adamw{rate, beta1, beta2, epsilon, 0.0};
    const Values allowed = errors_of(adamw, value, gradient, m, v, 1)[0];
    adamw.update(value, gradient, m, v, 1, true);
    bench.ops.adamw({.tensors = std::span(&tensor, 1), .learning_rate = rate, .beta1 = beta1, .beta2 = beta2,
                     .epsilon = epsilon, .weight_decay = 0, .step = 1});
    CHECK_ELEMENTS(bench.values(tensor.value), value, allowed);
    CHECK(bench.values(tensor.value)[2] == 0);
  });
}

// Each step names a few rows of a vocabulary. Marking touched blocks changes no bit, and shows where moments are not 0.
TEST_CASE("adamw: blocks of zeros are left alone, and wake up") {
  on_every_backend([](Bench& bench) {
    const int64_t size = 2 * 16384 + 1000, blocks = TouchedBlocks::count(size);
    const auto zeros = [](int64_t count) { return std::vector<double>(static_cast<size_t>(count), 0.0); };
    for (bool decays : {false, true}) {
      CAPTURE(decays);
      AdamWTensor marked{.value = bench.normal(DType::f32, {size}), .gradient = bench.zeros({size}),
                         .m = bench.zeros({size}), .v = bench.zeros({size}),
                         .decays = decays, .touched_blocks = bench.arena.make_zeros(DType::u8, {blocks}),
                         .rounded = bench.arena.make(DType::bf16, {size})};
      bench.ops.copy({.x = marked.value, .y = marked.rounded});
      const AdamWTensor plain{.value = bench.from(DType::f32, {size}, bench.values(marked.value)),
                              .gradient = bench.zeros({size}), .m = bench.zeros({size}), .v = bench.zeros({size}),
                              .decays = decays};
      std::vector<uint8_t> touched(static_cast<size_t>(blocks));
      const auto step = [&](int number, const std::vector<int64_t>& named) {
        std::vector<double> gradient = zeros(size);
        for (int64_t at : named) {
          gradient[static_cast<size_t>(at)] = 0.25;
          touched[static_cast<size_t>(at / TouchedBlocks::block)] = TouchedBlocks::written;
        }
        bench.ops.memory().copy_in(marked.touched_blocks.data, touched.data(), touched.size());
        for (const AdamWTensor* tensor : {&std::as_const(marked), &plain}) {
          bench.fill(tensor->gradient, gradient);
          bench.ops.adamw({.tensors = std::span(tensor, 1), .learning_rate = 1e-2f, .beta1 = 0.9f, .beta2 = 0.999f,
                           .epsilon = 1e-8f, .weight_decay = 0.1f, .step = number});
        }
        CHECK(bench.values(marked.value) == bench.values(plain.value));
        CHECK(bench.values(marked.rounded) == rounded(bench.values(marked.value)));
        CHECK(bench.values(marked.m) == bench.values(plain.m));
        CHECK(bench.values(marked.v) == bench.values(plain.v));
        CHECK(bench.values(marked.gradient) == zeros(size));
        bench.ops.memory().copy_out(touched.data(), marked.touched_blocks.data, touched.size());
      };
      const auto marked_blocks = [&](std::initializer_list<int64_t> some) {
        std::vector<uint8_t> expected(static_cast<size_t>(blocks));
        for (const int64_t block : some) expected[static_cast<size_t>(block)] = TouchedBlocks::moments;
        return touched == expected;
      };
      step(1, {0, 300, 16384, size - 1});
      CHECK(marked_blocks({0, 2, 128, blocks - 1}));
      step(2, {127, 129});
      CHECK(marked_blocks({0, 1, 2, 128, blocks - 1}));
      // Moments may come from a saved state.
      for (const AdamWTensor* tensor : {&std::as_const(marked), &plain})
        bench.fill(tensor->m, std::vector<double>(static_cast<size_t>(size), 0.5));
      std::fill(touched.begin(), touched.end(), TouchedBlocks::moments);
      step(3, {1000});
      CHECK(touched == std::vector<uint8_t>(static_cast<size_t>(blocks), TouchedBlocks::moments));
      if (bench.is_device) continue;  // where moments are touched a device reads gradients, too
      // A gradient in an untouched block is not read, and stays.
      bench.fill(marked.gradient, std::vector<double>(static_cast<size_t>(size), 1.0));
      const std::vector<double> m = bench.values(marked.m);
      bench.ops.adamw({.tensors = std::span(&std::as_const(marked), 1), .learning_rate = 1e-2f, .beta1 = 0.5f,
                       .beta2 = 0.999f, .epsilon = 1e-8f, .weight_decay = 0, .step = 4});
      CHECK(bench.values(marked.m)[3 * 128] == 0.5 * m[3 * 128]);
      CHECK(bench.values(marked.gradient)[3 * 128] == 1);
    }
  });
}

TEST_CASE("adamw: a norm or a loss that is not finite leaves everything as it is") {
  on_every_backend([](Bench& bench) {
    const Model model(bench, 0.3);
    std::vector<double> before;
    const auto all = [&] {
      std::vector<double> values;
      for (const AdamWTensor& t : model.tensors)
        for (const Tensor& part : {t.value, t.gradient, t.m, t.v}) append(values, bench.values(part));
      return values;
    };
    before = all();
    const auto number = [&](double value) { return bench.from(DType::f32, {1}, {value}); };
    const auto update = [&](const Tensor& norm_squared, const Tensor& loss, float max_norm) {
      bench.ops.adamw({.tensors = model.tensors, .learning_rate = 0.1f, .beta1 = 0.9f, .beta2 = 0.95f, .epsilon = 1e-8f,
                       .weight_decay = 0.1f, .step = 3, .norm_squared = norm_squared, .loss = loss,
                       .max_norm = max_norm});
    };
    for (const double wrong : {NAN, INFINITY, -INFINITY})
      for (const float max_norm : {0.0f, 1.0f}) {
        update(number(wrong), {}, max_norm);
        update(number(wrong), number(1), max_norm);
        update(number(1), number(wrong), max_norm);
        CHECK(all() == before);
      }
    update({}, number(NAN), 0);
    CHECK(all() == before);
    for (const AdamWTensor& t : model.tensors)
      if (t.rounded)
        for (double value : bench.values(t.rounded)) CHECK(std::isnan(value));
    update(number(1), number(-3), 1);
    CHECK(all() != before);
  });
}

TEST_CASE("adamw: behind a step that was not finite nothing changes until the mark is removed") {
  on_every_backend([](Bench& bench) {
    const Model model(bench, 0.3);
    const Tensor failed = bench.integers({1}, {0});
    const auto values = [&] { return bench.values(model.tensors[0].value); };
    const auto update = [&](double norm_squared) {
      bench.ops.adamw({.tensors = model.tensors, .learning_rate = 0.1f, .beta1 = 0.9f, .beta2 = 0.95f, .epsilon = 1e-8f,
                       .weight_decay = 0.1f, .step = 3, .norm_squared = bench.from(DType::f32, {1}, {norm_squared}),
                       .failed = failed, .max_norm = 1});
    };
    std::vector<double> before = values();
    update(1);
    CHECK(values() != before);
    before = values();
    update(NAN);
    update(1);
    CHECK(values() == before);
    bench.arena.memory().zero(failed.data, failed.bytes());
    update(1);
    CHECK(values() != before);
  });
}

TEST_CASE("adamw: the same bits at any number of threads, and errors") {
  on_every_backend([](Bench& bench) {
    check_same_at_any_thread_count([&] {
      Bench fresh{bench.ops, bench.arena, bench.compute};
      ArenaScope scope(bench.arena);
      const Model model(fresh, 1);
      const Tensor norm_squared = fresh.unset(DType::f32, {1});
      bench.ops.sum_of_squares({.tensors = model.gradients, .result = norm_squared});
      bench.ops.adamw({.tensors = model.tensors, .learning_rate = 0.1f, .beta1 = 0.9f, .beta2 = 0.95f, .epsilon = 1e-8f,
                       .weight_decay = 0.1f, .step = 3, .norm_squared = norm_squared, .max_norm = 1});
      std::vector<double> all = fresh.values(norm_squared);
      for (const AdamWTensor& t : model.tensors)
        for (const Tensor& result : {t.value, t.m, t.v}) append(all, fresh.values(result));
      return all;
    });
    AdamWTensor wrong{
        .value = bench.zeros({3}), .gradient = bench.zeros({4}), .m = bench.zeros({3}), .v = bench.zeros({3})};
    AdamWArgs args{.tensors = std::span(&wrong, 1),
                   .learning_rate = 0.1f,
                   .beta1 = 0.9f,
                   .beta2 = 0.9f,
                   .epsilon = 1e-8f,
                   .weight_decay = 0,
                   .step = 1};
    CHECK_THROWS_WITH_AS(bench.ops.adamw(args), "adamw: gradient is [4], not [3]", Error);
    wrong.gradient = bench.zeros({3});
    wrong.touched_blocks = bench.arena.make_zeros(DType::u8, {2});
    CHECK_THROWS_WITH_AS(bench.ops.adamw(args), "adamw: touched_blocks is [2], not [1]", Error);
    wrong.touched_blocks = {};
    wrong.rounded = bench.zeros({3});
    CHECK_THROWS_WITH_AS(bench.ops.adamw(args), "adamw: rounded is f32, not bf16", Error);
    wrong.rounded = {};
    args.step = 0;
    CHECK_THROWS_WITH_AS(bench.ops.adamw(args), "adamw: step is 0, and counts from 1", Error);
    args.step = 1;
    args.max_norm = 1;
    CHECK_THROWS_WITH_AS(bench.ops.adamw(args), "adamw: norm_squared is missing", Error);
  });
}

TEST_CASE("sum_of_squares: many tensors, extremes, and what is not finite") {
  on_every_backend([](Bench& bench) {
    const Tensor result = bench.unset(DType::f32, {1});
    const auto sum_of = [&](const std::vector<Tensor>& tensors) {
      bench.ops.sum_of_squares({.tensors = tensors, .result = result});
      return bench.values(result)[0];
    };
    const Model model(bench, 2);
    std::vector<std::vector<double>> values;
    for (const Tensor& gradient : model.gradients) values.push_back(bench.values(gradient));
    const double expected = reference::sum_of_squares(values);
    // There are 64 running sums of at most 256 squares each.
    CHECK(std::abs(sum_of(model.gradients) - expected) <= 16 * epsilon_of(DType::f32) * expected);
    CHECK(sum_of({}) == 0);
    CHECK(sum_of({bench.from(DType::f32, {3}, {1e-30, 0, -1e-40})}) <= 1e-38);
    CHECK(std::isinf(sum_of({bench.from(DType::f32, {2}, {3e38, 1})})));
    for (int64_t at : {int64_t{0}, int64_t{7}, int64_t{50000}}) {
      const Tensor large = model.gradients.back();
      const Tensor one = large.reshaped({50001, 1}).row_range(at, at + 1);
      const std::vector<double> before = bench.values(one);
      bench.fill(one, {NAN});
      CHECK(std::isnan(sum_of(model.gradients)));
      bench.fill(one, {-INFINITY});
      CHECK(std::isinf(sum_of(model.gradients)));
      bench.fill(one, before);
    }
  });
}

TEST_CASE("clip_norms: each gradient by its own norm, and the sum of the squares that remain") {
  on_every_backend([](Bench& bench) {
    for (const float max_norm : {0.1f, 5.0f, 1e6f}) {
      CAPTURE(max_norm);
      const Model model(bench, 0.3);
      std::vector<ClippedTensor> tensors;
      std::vector<std::vector<double>> expected, before;
      for (const Tensor& gradient : model.gradients) {
        tensors.push_back({gradient});
        expected.push_back(bench.values(gradient));
      }
      before = expected;
      const double remaining = reference::clip_norms(expected, static_cast<double>(max_norm));
      const Tensor result = bench.unset(DType::f32, {1});
      bench.ops.clip_norms({.tensors = tensors, .max_norm = max_norm, .result = result});
      // A norm is a root of 64 running sums of at most 256 squares, so its error is half of their 16 roundings.
      const double tolerance = 16 * epsilon_of(DType::f32);
      CHECK(std::abs(bench.values(result)[0] - remaining) <= tolerance * remaining);
      int clipped = 0;
      for (size_t i = 0; i < expected.size(); ++i) {
        CAPTURE(i);
        const std::vector<double> after = bench.values(model.gradients[i]);
        CHECK(relative_difference(after, expected[i]) <= tolerance);
        if (expected[i] == before[i]) CHECK(after == before[i]);  // to the bit
        else ++clipped;
      }
      if (max_norm == 0.1f) CHECK(clipped >= 6);
      else CHECK(clipped == (max_norm == 5.0f));  // the gradient of 50001 elements, whose norm is about 67
    }
  });
}

TEST_CASE("clip_norms: a gradient that is not finite stays, and so is the sum; the same bits at any thread count") {
  on_every_backend([](Bench& bench) {
    const Tensor result = bench.unset(DType::f32, {1});
    for (const double wrong : {NAN, INFINITY}) {
      const std::array<ClippedTensor, 2> tensors{{{bench.from(DType::f32, {3}, {3, 0, 4})},
                                                  {bench.from(DType::f32, {2}, {5, wrong})}}};
      bench.ops.clip_norms({.tensors = tensors, .max_norm = 1, .result = result});
      CHECK_FALSE(std::isfinite(bench.values(result)[0]));
      CHECK(bench.values(tensors[1].gradient)[0] == 5);
      CHECK_CLOSE(bench.values(tensors[0].gradient), (std::vector<double>{0.6, 0, 0.8}), 3 * epsilon_of(DType::f32));
    }
    bench.ops.clip_norms({.tensors = {}, .max_norm = 1, .result = result});
    CHECK(bench.values(result)[0] == 0);
    check_same_at_any_thread_count([&] {
      Bench fresh{bench.ops, bench.arena, bench.compute};
      ArenaScope scope(bench.arena);
      const Model model(fresh, 1);
      std::vector<ClippedTensor> tensors;
      for (const Tensor& gradient : model.gradients) tensors.push_back({gradient});
      const Tensor sum = fresh.unset(DType::f32, {1});
      bench.ops.clip_norms({.tensors = tensors, .max_norm = 2, .result = sum});
      std::vector<double> all = fresh.values(sum);
      for (const Tensor& gradient : model.gradients) append(all, fresh.values(gradient));
      return all;
    });
    const ClippedTensor wrong{bench.integers({1}, {1})};
    CHECK_THROWS_WITH_AS(bench.ops.clip_norms({.tensors = std::span(&wrong, 1), .max_norm = 1, .result = result}),
                         "clip_norms: gradient is i32, not f32", Error);
    CHECK_THROWS_WITH_AS(bench.ops.clip_norms({.tensors = {}, .max_norm = 0, .result = result}),
                         "clip_norms: max_norm is 0, and must be above 0", Error);
  });
}

}  // namespace engine::test::test_optimizer
