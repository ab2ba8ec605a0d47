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

// A table, or its gradient, with its index, and what the arguments call them.
struct Named {
  const char *index_name, *name;
  const Tensor &index, &table;
};

// Tokens, positions and types of an operation on activations `x`.
struct Tables {
  int64_t tokens, cols;
  Table all[3];

  Tables(const char* operation, const char* x_name, const Tensor& x, const Named (&named)[3])
      : tokens(named[0].index.count()), cols(named[0].table.cols()) {
    require(static_cast<bool>(named[0].table), operation, ": ", named[0].name, " is missing");
    check_activation(operation, x_name, x, tokens, cols);
    for (int i = 0; i < 3; ++i) all[i] = table_of(operation, named[i]);
  }

 private:
  Table table_of(const char* operation, const Named& of) const {
    require(static_cast<bool>(of.index) == static_cast<bool>(of.table), operation, ": of ", of.index_name, " and ",
            of.name, " only one is given");
    if (!of.table) return {};
    check_vector(operation, of.index_name, of.index, DType::i32, tokens);
    check_matrix(operation, of.name, of.table, DType::f32, of.table.rows(), cols);
    check_indices(operation, of.index_name, of.index, of.table.rows());
    return {of.index.as<int32_t>(), of.table.as<float>()};
  }
};

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
  const Tables tables("embedding_forward", "y", args.y,
                      {{"tokens", "token_table", args.tokens, args.token_table},
                       {"positions", "position_table", args.positions, args.position_table},
                       {"types", "type_table", args.types, args.type_table}});
  const int64_t cols = tables.cols;
  with_elements(args.y, [&](auto* y) {
    parallel_chunks(tables.tokens, std::max<int64_t>(1, 16384 / cols), [&](int64_t begin, int64_t end) {
      DropoutFactors factors(args.dropout);
      for (int64_t n = begin; n < end; ++n) forward_row(tables.all, n, cols, args.dropout, factors, y + n * cols);
    });
  });
}

void CpuOps::embedding_backward(const EmbeddingBackwardArgs& args) {
  const Tables tables("embedding_backward", "dy", args.dy,
                      {{"tokens", "dtoken_table", args.tokens, args.dtoken_table},
                       {"positions", "dposition_table", args.positions, args.dposition_table},
                       {"types", "dtype_table", args.types, args.dtype_table}});
  with_elements(args.dy, [&](auto* dy) {
    parallel_chunks(tables.cols, 64, [&](int64_t begin, int64_t end) {
      backward_columns(tables.all, tables.tokens, tables.cols, begin, end, args.dropout, dy);
    });
  });
}

}  // namespace engine::ENGINE_ISA
