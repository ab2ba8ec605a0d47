#include "kernels/rows/embedding.h"

#include "kernels/rows/embedding_ref.h"
#include "tests/invariance.h"

namespace engine::test::test_embedding {

namespace {

using Reference = reference::Embedding<double>;

const Dropout dropout_of_a_third{.rate = 0.3f, .seed = 7, .site = 3, .step = 11, .first_row = 5};

// Returns the reference of all magnitudes, whose results are the sizes of sums.
Reference sizes_of(Reference reference) {
  for (Reference::Table& table : reference.tables) {
    table.values = magnitudes(table.values);
    table.gradient = magnitudes(table.gradient);
    table.scale = std::abs(table.scale);
  }
  reference.dy = magnitudes(reference.dy);
  reference.forward();
  if (!reference.dy.empty()) reference.backward();
  return reference;
}

std::vector<int> indices(Random& random, int64_t count, uint32_t rows) {
  std::vector<int> values(static_cast<size_t>(count));
  for (int& value : values) value = static_cast<int>(random.below(rows));
  return values;
}

void check_forward_and_backward(Bench& bench, int64_t tokens, int64_t cols, bool positions, bool types, bool drops,
                                uint32_t vocabulary = 19, float scale = 1, DType token_table = DType::f32) {
  CAPTURE(tokens); CAPTURE(cols); CAPTURE(positions); CAPTURE(types); CAPTURE(drops); CAPTURE(name_of(token_table));
  const Dropout dropout = drops ? dropout_of_a_third : Dropout{};
  Reference expected{.cols = static_cast<size_t>(cols), .tables = {}, .dropout = dropout, .y = {}, .dy = {}};
  Tensor index[3], table[3], gradient[3];
  const uint32_t rows[3] = {vocabulary, 7, 2};
  for (size_t i = 0; i < 3; ++i) {
    if ((i == 1 && !positions) || (i == 2 && !types)) continue;
    const std::vector<int> rows_taken = indices(bench.random, tokens, rows[i]);
    index[i] = bench.integers({tokens}, rows_taken);
    table[i] = bench.normal(i ? DType::f32 : token_table, {rows[i], cols});
    gradient[i] = bench.normal(DType::f32, {rows[i], cols});
    expected.tables.push_back({rows_taken, bench.values(table[i]), bench.values(gradient[i]), i ? 1 : scale});
  }
  const Tensor y = bench.unset(bench.compute, {tokens, cols}), dy = bench.normal(bench.compute, {tokens, cols});
  bench.ops.embedding_forward({.tokens = index[0], .positions = index[1], .types = index[2], .token_table = table[0],
                               .position_table = table[1], .type_table = table[2], .y = y, .dropout = dropout,
                               .token_scale = scale});
  expected.forward();
  CHECK_ELEMENTS(bench.values(y), expected.y, sum_errors(expected.y, sizes_of(expected).y, 3, bench.compute));
  expected.dy = bench.values(dy);
  const Reference sizes = sizes_of(expected);
  expected.backward();
  bench.ops.embedding_backward({.tokens = index[0], .positions = index[1], .types = index[2], .dy = dy,
                                .dtoken_table = gradient[0], .dposition_table = gradient[1],
                                .dtype_table = gradient[2], .dropout = dropout, .token_scale = scale});
  // A table's row is a running sum of up to all tokens.
  for (size_t i = 0, taken = 0; i < 3; ++i) {
    if (!table[i]) continue;
    const Values& sums = expected.tables[taken].gradient;
    CHECK_ELEMENTS(bench.values(gradient[i]), sums,
                   sum_errors(sums, sizes.tables[taken].gradient, tokens + 1, DType::f32));
    ++taken;
  }
}

}  // namespace

TEST_CASE("embedding: the reference's backward is the derivative of its forward") {
  Random random(5, 0);
  Reference c{.cols = 3, .tables = {}, .dropout = dropout_of_a_third, .y = {}, .dy = {}};
  for (size_t i = 0; i < 15; ++i) c.dy.push_back(random.normal());
  for (uint32_t rows : {4u, 3u}) {
    Reference::Table table{indices(random, 5, rows), {}, std::vector<double>(rows * 3, 0.0), rows == 4 ? 2.5 : 1};
    for (size_t i = 0; i < rows * 3; ++i) table.values.push_back(random.normal());
    c.tables.push_back(table);
  }
  c.backward();
  for (Reference::Table& table : c.tables)
    check_derivative(table.gradient, table.values, [&] { c.forward(); return dot(c.y, c.dy); });
}

TEST_CASE("embedding: forward and backward with every choice of optional arguments and odd shapes") {
  on_every_backend([](Bench& bench) {
    for (int choice = 0; choice < 8; ++choice)
      check_forward_and_backward(bench, 21, 33, choice & 1, choice & 2, choice & 4);
    for (int64_t cols : {1, 3, 17, 65, 100, 200}) check_forward_and_backward(bench, 301, cols, true, false, true);
    check_forward_and_backward(bench, 1, 64, true, true, false);
    check_forward_and_backward(bench, 1300, 8, true, true, false, 1500);
    check_forward_and_backward(bench, 300, 17, true, true, true, 19, /*scale=*/4.5f);
    for (int64_t cols : {1, 12, 17, 64, 200})
      check_forward_and_backward(bench, 40, cols, cols != 12, cols != 64, cols == 17, 19, 4.5f, DType::bf16);
  });
}

TEST_CASE("embedding: the touched blocks are those of the gradient that are written") {
  on_every_backend([](Bench& bench) {
    for (const int64_t cols : {5, 100, 384}) {
      CAPTURE(cols);
      const std::vector<int> rows{9, 2, 9, 77};
      const Tensor tokens = bench.integers({4}, rows), dy = bench.normal(bench.compute, {4, cols});
      const Tensor gradient = bench.zeros({100, cols}), types = bench.integers({4}, {0, 1, 1, 0});
      const Tensor touched = bench.arena.make_zeros(DType::u8, {TouchedBlocks::count(100 * cols)});
      bench.ops.embedding_backward({.tokens = tokens, .types = types, .dy = dy, .dtoken_table = gradient,
                                    .dtype_table = bench.zeros({2, cols}), .touched_blocks = touched});
      std::vector<uint8_t> marked_blocks(touched.bytes()), expected(touched.bytes());
      bench.ops.memory().copy_out(marked_blocks.data(), touched.data, marked_blocks.size());
      const std::vector<double> values = bench.values(gradient);
      for (const int row : rows)
        for (int64_t i = row * cols; i < (row + 1) * cols; ++i)
          expected[static_cast<size_t>(i / TouchedBlocks::block)] = TouchedBlocks::written;
      CHECK(marked_blocks == expected);
      for (size_t i = 0; i < values.size(); ++i)
        if (values[i] != 0) CHECK(marked_blocks[i / TouchedBlocks::block] == TouchedBlocks::written);
      const Tensor wrong = bench.arena.make_zeros(DType::u8, {TouchedBlocks::count(100 * cols) + 1});
      CHECK_THROWS_AS(bench.ops.embedding_backward(
                          {.tokens = tokens, .dy = dy, .dtoken_table = gradient, .touched_blocks = wrong}), Error);
    }
  });
}

TEST_CASE("embedding: no tokens change nothing") {
  on_every_backend([](Bench& bench) {
    const Tensor none = bench.arena.make(DType::i32, {0}), table = bench.normal(DType::f32, {3, 4});
    const std::vector<double> before = bench.values(table);
    const Tensor y = bench.arena.make(bench.compute, {0, 4});
    bench.ops.embedding_forward({.tokens = none, .token_table = table, .y = y});
    bench.ops.embedding_backward({.tokens = none, .dy = y, .dtoken_table = table});
    CHECK(bench.values(table) == before);
  });
}

TEST_CASE("embedding: the same bits at any number of threads") {
  on_every_backend([](Bench& bench) {
    const Tensor tokens = bench.integers({700}, indices(bench.random, 700, 11));
    const Tensor table = bench.normal(DType::f32, {11, 200}), dy = bench.normal(bench.compute, {700, 200});
    check_same_at_any_thread_count([&] {
      ArenaScope scope(bench.arena);
      const Tensor y = bench.unset(bench.compute, {700, 200}), gradient = bench.zeros({11, 200});
      bench.ops.embedding_forward({.tokens = tokens, .token_table = table, .y = y, .dropout = dropout_of_a_third});
      bench.ops.embedding_backward(
          {.tokens = tokens, .dy = dy, .dtoken_table = gradient, .dropout = dropout_of_a_third});
      std::vector<double> all = bench.values(y);
      append(all, bench.values(gradient));
      return all;
    });
  });
}

TEST_CASE("embedding: an index outside its table is an error that names it, before anything is written") {
  on_every_backend([](Bench& bench) {
    const Tensor table = bench.zeros({5, 4}), positions = bench.zeros({2, 4}), y = bench.zeros({3, 4});
    const Tensor good = bench.integers({3}, {0, 4, 2}), large = bench.integers({3}, {0, 1, 5});
    const Tensor negative = bench.integers({3}, {0, -1, 1});
    CHECK_THROWS_WITH_AS((bench.ops.embedding_forward({.tokens = large, .token_table = table, .y = y}), bench.finish()),
                         "embedding_forward: tokens[2] is 5, not in 0 ... 4", Error);
    CHECK_THROWS_WITH_AS((bench.ops.embedding_forward({.tokens = good, .positions = negative, .token_table = table,
                                                       .position_table = positions, .y = y}), bench.finish()),
                         "embedding_forward: positions[1] is -1, not in 0 ... 1", Error);
    CHECK_THROWS_WITH_AS(
        bench.ops.embedding_forward({.tokens = good, .positions = negative, .token_table = table, .y = y}),
        "embedding_forward: of positions and position_table only one is given", Error);
    const Tensor dy = bench.normal(DType::f32, {3, 4}, 1, 5);
    CHECK_THROWS_WITH_AS((bench.ops.embedding_backward({.tokens = large, .dy = dy, .dtoken_table = table}),
                          bench.finish()),
                         "embedding_backward: tokens[2] is 5, not in 0 ... 4", Error);
    if (!bench.is_device) CHECK(bench.values(table) == std::vector<double>(20, 0.0));
  });
}

}  // namespace engine::test::test_embedding
