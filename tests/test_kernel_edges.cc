// Sizes at the edges of kernels, where a count that is off by one has no other witness: tiles of keys, launches of many
// tensors, chunks of sums, digits of the index sort, grids of many rows.
#include <array>
#include <functional>
#include <numeric>

#include "kernels/optimizer/optimizer_ref.h"
#include "tests/attention_problem.h"

namespace engine::test::test_kernel_edges {

namespace {

void check_attention_case(const AttentionCase& of) {
  CAPTURE(of.heads);
  CAPTURE(of.width);
  CAPTURE(of.causal);
  CAPTURE(of.rate);
  CAPTURE(of.sequences[0].keys);
  on_every_backend([&](Bench& bench) { AttentionProblem(bench, of).check(); });
}

std::vector<double> part_of(const std::vector<double>& all, size_t begin, size_t count) {
  const auto first = all.begin() + static_cast<std::ptrdiff_t>(begin);
  return {first, first + static_cast<std::ptrdiff_t>(count)};
}

}  // namespace

TEST_CASE("attention: keys that end one before, at and behind the end of a tile") {
  for (bool causal : {false, true})
    for (float rate : {0.0f, 0.25f}) {
      check_attention_case({1, 32, {{63, 63}, {127, 127}, {64, 64}, {65, 65}}, causal, rate});
      check_attention_case({1, 64, {{31, 31}, {63, 63}}, causal, rate});
      check_attention_case({1, 96, {{31, 31}, {33, 33}}, causal, rate});
      check_attention_case({1, 96, {{40, 63}}, causal, rate});
      check_attention_case({1, 128, {{15, 15}, {17, 31}}, causal, rate});
    }
}

// The first of a warp's rows sees one key less than a tile ends with, and the rows behind it see them all.
TEST_CASE("attention: a causal edge one before the end of a tile") {
  for (int width : {32, 64, 96, 128})
    check_attention_case({1, width, {{50, 64}, {40, 70}, {70, 132}}, true, 0});
}

TEST_CASE("attention: few queries over many keys, with dropout") {
  for (bool causal : {false, true}) {
    check_attention_case({2, 32, {{1, 300}, {1, 7}, {1, 128}}, causal, 0.3f});
    check_attention_case({1, 64, {{2, 200}, {2, 129}, {1, 1}}, causal, 0.3f});
    check_attention_case({2, 96, {{4, 300}, {3, 127}}, causal, 0.3f});
    check_attention_case({2, 32, {{1, 0}, {3, 2}, {2, 20}}, causal, 0});  // a query without keys, and one range of keys
  }
}

// More tensors than one launch takes on a device: 55 for AdamW, 127 for sums of squares. All are views of one buffer
// without gaps, so that a write behind a tensor's end spoils the next one. Some keep their gradients, and of some the
// touched blocks are marked, with marks behind them that are nobody's.
TEST_CASE("adamw and sum_of_squares: 300 tensors that follow one another in one buffer") {
  on_every_backend([](Bench& bench) {
    constexpr size_t count = 300, marks_behind = 64;
    std::vector<int64_t> begins(count + 1);
    for (size_t i = 0; i < count; ++i) begins[i + 1] = begins[i] + 1 + static_cast<int64_t>(i * 7 % 50);
    const int64_t all = begins[count];
    const auto is_untouched = [](size_t i) { return i % 7 == 3; };
    const Tensor value = bench.normal(DType::f32, {all}), gradient = bench.normal(DType::f32, {all}, 0.3),
                 m = bench.normal(DType::f32, {all}, 0.1), v = bench.zeros({all}),
                 rounded = bench.unset(DType::bf16, {all});
    std::vector<uint8_t> marks(count + marks_behind, TouchedBlocks::written);
    for (size_t i = 0; i < count; ++i) marks[i] = is_untouched(i) ? 0 : TouchedBlocks::written;
    const Tensor touched = bench.arena.make(DType::u8, {std::ssize(marks)});
    bench.arena.memory().copy_in(touched.data, marks.data(), marks.size());
    std::vector<AdamWTensor> tensors;
    std::vector<Tensor> gradients;
    for (size_t i = 0; i < count; ++i) {
      const auto view = [&](const Tensor& whole) {
        char* const begin = static_cast<char*>(whole.data) + static_cast<size_t>(begins[i]) * size_of(whole.dtype);
        return Tensor{begin, whole.dtype, {begins[i + 1] - begins[i]}};
      };
      const bool has_marks = i % 2 || is_untouched(i);
      tensors.push_back({.value = view(value), .gradient = view(gradient), .m = view(m), .v = view(v),
                         .decays = i % 3 == 0, .keeps_gradient = !has_marks && i % 5 != 1,
                         .touched_blocks = has_marks ? Tensor{touched.as<uint8_t>() + i, DType::u8, {1}} : Tensor{},
                         .rounded = i % 2 ? view(rounded) : Tensor{}});
      gradients.push_back(tensors.back().gradient);
      if (!is_untouched(i)) continue;
      for (const Tensor& part : {tensors.back().gradient, tensors.back().m})
        bench.fill(part, std::vector<double>(static_cast<size_t>(part.count()), 0.0));
      if (i % 2) bench.ops.copy({.x = tensors.back().value, .y = tensors.back().rounded});
    }
    const std::vector<double> before = bench.values(gradient);
    const Tensor sum = bench.unset(DType::f32, {1});
    bench.ops.sum_of_squares({.tensors = gradients, .result = sum});
    const double expected_sum = std::inner_product(before.begin(), before.end(), before.begin(), 0.0);
    CHECK_CLOSE(bench.values(sum), std::vector<double>{expected_sum}, 16 * epsilon_of(DType::f32));

    std::vector<double> values, first, second, kept;
    const std::vector<double> old_values = bench.values(value), old_m = bench.values(m);
    const reference::AdamW<double> adamw{1e-2f, 0.9f, 0.95f, 1e-8f, 0.1f};
    for (size_t i = 0; i < count; ++i) {
      const auto begin = static_cast<size_t>(begins[i]), size = static_cast<size_t>(begins[i + 1] - begins[i]);
      std::vector<double> x = part_of(old_values, begin, size), g = part_of(before, begin, size),
                          mean = part_of(old_m, begin, size), square(size);
      adamw.update(x, g, mean, square, 1, tensors[i].decays);
      append(values, x);
      append(first, mean);
      append(second, square);
      append(kept, tensors[i].keeps_gradient ? part_of(before, begin, size) : g);
    }
    bench.ops.adamw({.tensors = tensors, .learning_rate = 1e-2f, .beta1 = 0.9f, .beta2 = 0.95f, .epsilon = 1e-8f,
                     .weight_decay = 0.1f, .step = 1});
    const double tolerance = 8 * epsilon_of(DType::f32);
    CHECK_CLOSE(bench.values(value), values, tolerance);
    CHECK_CLOSE(bench.values(m), first, tolerance);
    CHECK_CLOSE(bench.values(v), second, tolerance);
    CHECK(bench.values(gradient) == kept);
    const std::vector<double> updated = bench.values(value), copies = bench.values(rounded);
    for (size_t i = 0; i < count; ++i)
      for (auto at = static_cast<size_t>(begins[i]); at < static_cast<size_t>(begins[i + 1]); ++at) {
        if (i % 2 == 0) REQUIRE(std::isnan(copies[at]));
        else REQUIRE(copies[at] == static_cast<double>(static_cast<float>(bf16(static_cast<float>(updated[at])))));
      }
    for (size_t i = 0; i < count; ++i)
      if (tensors[i].touched_blocks && !is_untouched(i)) marks[i] = TouchedBlocks::moments;
    std::vector<uint8_t> marked(marks.size());
    bench.arena.memory().copy_out(marked.data(), touched.data, marked.size());
    CHECK(marked == marks);
  });
}

// A device sums the squares of pieces of 4,096 elements. A block adds up the sums of a tensor's pieces, 256 at a time,
// and one block those of all tensors, 1,024 at a time.
TEST_CASE("sum_of_squares and clip_norms: a tensor of more than 256 pieces, and more than 1,024 pieces together") {
  on_every_backend([](Bench& bench) {
    if (bench.compute == DType::bf16) return;  // it changes nothing, and simulated pieces are slow
    constexpr int64_t long_size = 257 * 4096 + 5, short_tensors = 800;
    std::vector<double> all(static_cast<size_t>(long_size + short_tensors), 0.01);
    std::fill(all.end() - short_tensors, all.end(), 1.5);
    for (auto at = all.begin() + 256 * 4096; at < all.begin() + long_size; ++at) *at = 0.1;
    const Tensor buffer = bench.from(DType::f32, {std::ssize(all)}, all), result = bench.unset(DType::f32, {1});
    std::vector<Tensor> tensors{{buffer.data, DType::f32, {long_size}}};
    float* const behind = buffer.as<float>() + long_size;
    for (int64_t i = 0; i < short_tensors; ++i) tensors.push_back({behind + i, DType::f32, {1}});
    std::vector<ClippedTensor> gradients;
    std::vector<std::vector<double>> expected;
    for (const Tensor& tensor : tensors) {
      gradients.push_back({tensor});
      expected.push_back(bench.values(tensor));
    }
    // The error is that of 64 running sums of a host, as in test_optimizer.cc.
    const double tolerance = 128 * epsilon_of(DType::f32);
    bench.ops.sum_of_squares({.tensors = tensors, .result = result});
    CHECK_CLOSE(bench.values(result), std::vector<double>{reference::sum_of_squares(expected)}, tolerance);
    bench.ops.clip_norms({.tensors = gradients, .max_norm = 1, .result = result});
    const double remaining = reference::clip_norms(expected, 1);
    CHECK_CLOSE(bench.values(result), std::vector<double>{remaining}, tolerance);
    std::vector<double> clipped;
    for (const std::vector<double>& one : expected) append(clipped, one);
    CHECK_CLOSE(bench.values(buffer), clipped, tolerance);
    const double last_of_long = bench.values(buffer)[static_cast<size_t>(long_size - 1)];
    CHECK(std::abs(last_of_long - expected[0].back()) <= tolerance * expected[0].back());
  });
}

TEST_CASE("clip_norms: 300 tensors that follow one another in one buffer, every third too long") {
  on_every_backend([](Bench& bench) {
    constexpr size_t count = 300;
    std::vector<ClippedTensor> tensors;
    std::vector<std::vector<double>> expected;
    std::vector<double> all;
    for (size_t i = 0; i < count; ++i) {
      expected.emplace_back(1 + i * 7 % 50, i % 3 == 0 ? 1.5 : 0.01);
      all.insert(all.end(), expected.back().begin(), expected.back().end());
    }
    const Tensor buffer = bench.from(DType::f32, {static_cast<int64_t>(all.size())}, all);
    all.clear();
    for (const std::vector<double>& one : expected) {
      char* const begin = static_cast<char*>(buffer.data) + all.size() * sizeof(float);
      tensors.push_back({{begin, DType::f32, {static_cast<int64_t>(one.size())}}});
      all.insert(all.end(), one.begin(), one.end());
    }
    const Tensor result = bench.unset(DType::f32, {1});
    bench.ops.clip_norms({.tensors = tensors, .max_norm = 1, .result = result});
    const double remaining = reference::clip_norms(expected, 1);
    all.clear();
    for (const std::vector<double>& one : expected) all.insert(all.end(), one.begin(), one.end());
    CHECK_CLOSE(bench.values(buffer), all, 3 * epsilon_of(DType::f32));
    CHECK_CLOSE(bench.values(result), std::vector<double>{remaining}, 4 * epsilon_of(DType::f32));
    const std::vector<double> clipped = bench.values(buffer);
    CHECK(clipped[1] == static_cast<double>(0.01f));  // the second tensor is short, and keeps its bits
  });
}

TEST_CASE("copy, lerp, activation, dropout: nothing behind a result's last element is written") {
  on_every_backend([](Bench& bench) {
    constexpr int64_t all = 48;
    const std::vector<double> before(all, 7);
    // A result of `count` elements at the start of a larger buffer.
    const auto check = [&](DType dtype, int64_t count, const std::function<void(const Tensor&)>& run) {
      const Tensor buffer = bench.from(dtype, {all}, before);
      run({buffer.data, dtype, {1, count}});
      const std::vector<double> after = bench.values(buffer);
      for (size_t i = static_cast<size_t>(count); i < all; ++i) CHECK(after[i] == 7);
      CHECK(part_of(after, 0, static_cast<size_t>(count)) != part_of(before, 0, static_cast<size_t>(count)));
    };
    for (int64_t count = 1; count <= 17; ++count) {
      CAPTURE(count);
      for (DType dtype : {DType::f32, DType::bf16}) {
        const Tensor x = bench.normal(dtype, {1, count}), dy = bench.normal(DType::f32, {1, count});
        const DType other = dtype == DType::f32 ? DType::bf16 : DType::f32;
        check(other, count, [&](const Tensor& y) { bench.ops.copy({.x = x, .y = y}); });
        check(dtype, count, [&](const Tensor& y) {
          bench.ops.activation_forward({.x = x, .y = y, .activation = Activation::gelu_tanh});
        });
        check(dtype, count, [&](const Tensor& dx) {
          bench.ops.activation_backward({.x = x, .dy = dy, .dx = dx, .activation = Activation::gelu_tanh});
        });
        check(dtype, count, [&](const Tensor& y) {
          bench.ops.dropout({.x = x, .y = y, .dropout = {.rate = 0.3f, .seed = 5, .site = 1}});
        });
      }
      const Tensor x = bench.normal(DType::f32, {1, count});
      check(DType::f32, count, [&](const Tensor& y) { bench.ops.lerp({.x = x, .y = y, .t = 0.5f}); });
    }
  });
}

TEST_CASE("embedding: a row's sum over more than 32 chunks, of 4,000 tokens with 2 types") {
  on_every_backend([](Bench& bench) {
    constexpr int64_t tokens = 4000, cols = 12;
    std::vector<int> token(tokens), type(tokens);
    for (size_t i = 0; i < token.size(); ++i) {
      token[i] = i % 37 == 0 ? 5 : 1;
      type[i] = i >= 2900 ? 1 : 0;
    }
    const Tensor dy = bench.normal(bench.compute, {tokens, cols});
    const Tensor dtokens = bench.zeros({7, cols}), dtypes = bench.zeros({2, cols});
    bench.ops.embedding_backward({.tokens = bench.integers({tokens}, token), .types = bench.integers({tokens}, type),
                                  .dy = dy, .dtoken_table = dtokens, .dtype_table = dtypes});
    const std::vector<double> gradients = bench.values(dy);
    std::vector<double> of_tokens(7 * cols), of_types(2 * cols);
    for (size_t i = 0; i < gradients.size(); ++i) {
      of_tokens[static_cast<size_t>(token[i / cols]) * cols + i % cols] += gradients[i];
      of_types[static_cast<size_t>(type[i / cols]) * cols + i % cols] += gradients[i];
    }
    const double tolerance = 64 * epsilon_of(DType::f32) * std::sqrt(static_cast<double>(tokens));
    CHECK_CLOSE(bench.values(dtokens), of_tokens, tolerance);
    CHECK_CLOSE(bench.values(dtypes), of_types, tolerance);
  });
}

// Each of 1,024 tokens comes four times, a thousand places apart, so that several warps sort it, and its indices have
// two digits. In f32 the sum of 1, 2^30, -2^30 and 0 is 0 in this order alone, and only if nothing else lies between.
TEST_CASE("embedding: the index sort keeps equal tokens together and in their order") {
  on_every_backend([](Bench& bench) {
    if (!bench.is_device) return;  // the CPU adds each row of dy to the table's row
    constexpr int64_t different = 1024, cols = 8;
    constexpr std::array<double, 4> values{1, 0x1p30, -0x1p30, 0};
    std::vector<int> tokens;
    std::vector<double> dy;
    for (const double value : values)
      for (int64_t i = 0; i < different; ++i) {
        tokens.push_back(static_cast<int>(i * 5 % different));
        dy.insert(dy.end(), cols, value);
      }
    const std::vector<double> start(1500 * cols, 0.5);
    const Tensor gradient = bench.from(DType::f32, {1500, cols}, start);
    const auto count = static_cast<int64_t>(tokens.size());
    bench.ops.embedding_backward({.tokens = bench.integers({count}, tokens),
                                  .dy = bench.from(bench.compute, {count, cols}, dy), .dtoken_table = gradient});
    CHECK(bench.values(gradient) == start);
  });
}

TEST_CASE("layernorm: more rows than a grid has blocks in its second dimension") {
  on_every_backend([](Bench& bench) {
    if (bench.compute == DType::bf16) return;  // one dtype is enough for a grid, and simulated rows are slow
    constexpr size_t rows = 65600, cols = 3;
    const Shape shape{rows, cols};
    const Tensor x = bench.normal(bench.compute, shape), gain = bench.normal(DType::f32, {cols}, 0.5, 1.5),
                 bias = bench.normal(DType::f32, {cols}), y = bench.unset(bench.compute, shape);
    bench.ops.layernorm_forward({.x = x, .gain = gain, .bias = bias, .y = y, .epsilon = 1e-2f});
    const std::vector<double> all = bench.values(x), g = bench.values(gain), b = bench.values(bias);
    std::vector<double> expected;
    for (size_t row = 0; row < rows; ++row) {
      const double* const s = all.data() + row * cols;
      const double average = (s[0] + s[1] + s[2]) / 3;
      double squares = 0;
      for (size_t c = 0; c < cols; ++c) squares += (s[c] - average) * (s[c] - average) / 3;
      for (size_t c = 0; c < cols; ++c)
        expected.push_back((s[c] - average) / std::sqrt(squares + static_cast<double>(1e-2f)) * g[c] + b[c]);
    }
    CHECK_CLOSE(bench.values(y), expected, 32 * epsilon_of(DType::f32) + epsilon_of(bench.compute));
  });
}

}  // namespace engine::test::test_kernel_edges
