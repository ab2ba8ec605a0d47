#include "kernels/embedding.h"

#include <algorithm>

#include "core/parallel.h"
#include "kernels/checks.h"
#include "kernels/cpu_ops.h"
#include "kernels/dropout_simd.h"
#include "kernels/vector_loop.h"

namespace engine::ENGINE_ISA {
namespace {

// A table that is added, or null where it is absent, and the row of it that each token takes.
struct Table {
  const int32_t* index;
  float* rows;

  float* row(int64_t n, int64_t cols) const { return rows + index[n] * cols; }
};

Table table_of(const char* operation, const char* index_name, const char* name, const Tensor& index,
               const Tensor& table, int64_t tokens, int64_t cols) {
  require(static_cast<bool>(index) == static_cast<bool>(table), operation, ": of ", index_name, " and ", name,
          " only one is given");
  if (!table) return {};
  check_vector(operation, index_name, index, DType::i32, tokens);
  check_matrix(operation, name, table, DType::f32, table.rows(), cols);
  check_indices(operation, index_name, index, table.rows());
  return {index.as<int32_t>(), table.as<float>()};
}

template <class Y>
void forward_row(const Table (&tables)[3], int64_t n, int64_t cols, const Dropout& dropout, DropoutFactors& factors,
                 Y* y) {
  const float* token = tables[0].row(n, cols);
  const float* position = tables[1].rows ? tables[1].row(n, cols) : nullptr;
  const float* type = tables[2].rows ? tables[2].row(n, cols) : nullptr;
  const int64_t element = (dropout.first_row + n) * cols;
  each_vector(cols, [&](int64_t i, auto part) {
    vfloat v = load(token + i, part);
    if (position) v += load(position + i, part);
    if (type) v += load(type + i, part);
    if (dropout.rate > 0) v *= factors.at(element + i);
    store(y + i, v, part);
  });
}

// Adds the gradients of all tokens to the columns begin ... end-1 of every table.
template <class DY>
void backward_columns(const Table (&tables)[3], int64_t tokens, int64_t cols, int64_t begin, int64_t end,
                      const Dropout& dropout, const DY* dy) {
  DropoutFactors factors(dropout);
  for (int64_t n = 0; n < tokens; ++n) {
    each_vector(end - begin, [&](int64_t i, auto part) {
      vfloat d = load(dy + n * cols + begin + i, part);
      if (dropout.rate > 0) d *= factors.at((dropout.first_row + n) * cols + begin + i);
      for (const Table& table : tables) {
        if (!table.rows) continue;
        float* row = table.row(n, cols) + begin + i;
        store(row, load(row, part) + d, part);
      }
    });
  }
}

}  // namespace

void CpuOps::embedding_forward(const EmbeddingForwardArgs& args) {
  const char* name = "embedding_forward";
  const int64_t tokens = args.tokens.count(), cols = args.token_table.cols();
  require(static_cast<bool>(args.token_table), name, ": token_table is missing");
  check_activation(name, "y", args.y, tokens, cols);
  const Table tables[3] = {
      table_of(name, "tokens", "token_table", args.tokens, args.token_table, tokens, cols),
      table_of(name, "positions", "position_table", args.positions, args.position_table, tokens, cols),
      table_of(name, "types", "type_table", args.types, args.type_table, tokens, cols)};
  with_elements(args.y, [&](auto* y) {
    parallel_chunks(tokens, std::max<int64_t>(1, 16384 / cols), [&](int64_t begin, int64_t end) {
      DropoutFactors factors(args.dropout);
      for (int64_t n = begin; n < end; ++n) forward_row(tables, n, cols, args.dropout, factors, y + n * cols);
    });
  });
}

void CpuOps::embedding_backward(const EmbeddingBackwardArgs& args) {
  const char* name = "embedding_backward";
  const int64_t tokens = args.tokens.count(), cols = args.dtoken_table.cols();
  require(static_cast<bool>(args.dtoken_table), name, ": dtoken_table is missing");
  check_activation(name, "dy", args.dy, tokens, cols);
  const Table tables[3] = {
      table_of(name, "tokens", "dtoken_table", args.tokens, args.dtoken_table, tokens, cols),
      table_of(name, "positions", "dposition_table", args.positions, args.dposition_table, tokens, cols),
      table_of(name, "types", "dtype_table", args.types, args.dtype_table, tokens, cols)};
  with_elements(args.dy, [&](auto* dy) {
    parallel_chunks(cols, 64, [&](int64_t begin, int64_t end) {
      backward_columns(tables, tokens, cols, begin, end, args.dropout, dy);
    });
  });
}

}  // namespace engine::ENGINE_ISA
