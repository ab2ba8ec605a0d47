#include "kernels/observe/count_ops.h"

#include "tests/operation.h"

namespace engine::test::test_count_ops {

TEST_CASE("count: operations of a piece of work with their FLOPs and bytes, by hand") {
  std::vector<OperationCount> counts;
  const std::unique_ptr<Ops> ops = make_count_ops(counts);
  Arena arena{host_memory()};
  const Tensor a = arena.make_zeros(DType::f32, {5, 7}), b = arena.make_zeros(DType::bf16, {7, 3});
  const Tensor c = arena.make_zeros(DType::f32, {5, 3});
  for (int i = 0; i < 2; ++i) ops->matmul({.a = a, .b = b, .c = c});
  ops->matmul({.a = a, .b = b, .c = c, .accumulate = true});
  REQUIRE(counts.size() == 2);
  CHECK(counts[0].name == "matmul");
  CHECK(counts[0].shapes == "a [5, 7] f32, b [7, 3] bf16, c [5, 3] f32");
  CHECK(counts[0].calls == 2);
  CHECK(counts[0].flops == 2 * 5 * 7 * 3);
  CHECK(counts[0].bytes == 4 * 35 + 2 * 21 + 4 * 15);
  CHECK(counts[1].bytes == counts[0].bytes + 4 * 15);  // c is read as well
  ops->pack_matrix({.b = a, .compute = DType::bf16, .packed = arena.make(DType::u8, {2 * 35})});
  CHECK(counts[2].bytes == 4 * 35 + 2 * 35);

  // The queries of one sequence see 2 and 3 of 3 keys, those of the other 0 and 1 of 1 key. q, k and v are columns.
  counts.clear();
  const Tensor qkv = arena.make_zeros(DType::f32, {4, 24}), y = arena.make_zeros(DType::f32, {4, 8});
  const Tensor queries = arena.make_zeros(DType::i32, {3}), keys = arena.make_zeros(DType::i32, {3});
  queries.as<int32_t>()[1] = 2;
  queries.as<int32_t>()[2] = 4;
  keys.as<int32_t>()[1] = 3;
  keys.as<int32_t>()[2] = 4;
  ops->attention_forward({.q = Columns(qkv, 0, 8), .k = Columns(qkv, 8, 8), .v = Columns(qkv, 16, 8), .heads = 2,
                          .queries = Segments::packed(queries, 2), .keys = Segments::packed(keys, 3), .causal = true,
                          .y = y});
  REQUIRE(counts.size() == 1);
  CHECK(counts[0].flops == 4 * 8 * (2 + 3 + 0 + 1));
  CHECK(counts[0].bytes == 4 * 4 * 24 + 4 * 2 * 4 + 2 * 4 * 4 * 8);  // y may keep rows, so it counts as read

  // An embedding moves only the rows that are looked up.
  counts.clear();
  const Tensor tokens = arena.make_zeros(DType::i32, {2}), table = arena.make_zeros(DType::f32, {100, 8});
  ops->embedding_forward({.tokens = tokens, .token_table = table, .y = y.row_range(0, 2)});
  CHECK(counts[0].bytes == 2 * 4 + 2 * 8 * 4 + 2 * 8 * 4);
}

}  // namespace engine::test::test_count_ops
