#include "kernels/rows/embedding.h"

#include <algorithm>

#include "core/parallel.h"
#include "kernels/checks.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/dropout.h"
#include "kernels/cpu/vector_loop.h"

namespace engine::ENGINE_ISA {
namespace {

// A table of the sum, null where it is absent, and the row of it that each token takes.
template <class T>
struct TableOf {
  const int32_t* index;
  T* rows;
  float scale;

  T* row(int64_t n, int64_t cols) const { return rows + index[n] * cols; }
};
using Table = TableOf<float>;

// The tables of tokens, positions and types of an operation on activations `x`.
struct TableArguments {
  int64_t tokens, cols;
  Table all[3];

  TableArguments(const char* operation, const char* x_name, const Tensor& x, const EmbeddingTables& named,
                 float token_scale)
      : tokens(named[0].index.count()), cols(named[0].table.cols()) {
    check_embedding(operation, x_name, x, named);
    for (size_t i = 0; i < 3; ++i) {
      all[i] = {};
      if (!named[i].table) continue;
      check_indices(operation, named[i].index_name, named[i].index, named[i].table.rows());
      // A forward pass may have a token table in bf16, which it takes by itself.
      float* const rows = named[i].table.dtype == DType::f32 ? named[i].table.as<float>() : nullptr;
      all[i] = {named[i].index.as<int32_t>(), rows, i ? 1 : token_scale};
    }
  }
};

template <class T, class Y>
void forward_row(const TableOf<T>& tokens, const Table& positions, const Table& types, int64_t n, int64_t cols,
                 const Dropout& dropout, DropoutFactors& factors, Y* y) {
  const T* token = tokens.row(n, cols);
  const float* position = positions.rows ? positions.row(n, cols) : nullptr;
  const float* type = types.rows ? types.row(n, cols) : nullptr;
  const int64_t element = (dropout.first_row + n) * cols;
  each_vector(cols, [&](int64_t i, auto part) {
    vfloat v = load(token + i, part) * tokens.scale;
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
        store(row, load(row, part) + d * table.scale, part);
      }
    });
  }
}

void mark_rows(const int32_t* tokens, int64_t count, int64_t cols, const Tensor& touched_blocks) {
  uint8_t* const touched = touched_blocks.as<uint8_t>();
  for (int64_t n = 0; n < count && cols > 0; ++n) {
    const int64_t begin = tokens[n] * cols, end = begin + cols - 1;
    for (int64_t i = begin / TouchedBlocks::block; i <= end / TouchedBlocks::block; ++i)
      touched[i] = TouchedBlocks::written;
  }
}

}  // namespace

void CpuOps::embedding_forward(const EmbeddingForwardArgs& args) {
  const TableArguments tables("embedding_forward", "y", args.y, embedding_tables(args), args.token_scale);
  const int64_t cols = tables.cols;
  const Table& positions = tables.all[1], &types = tables.all[2];
  with_elements(args.token_table, [&]<class T>(T* rows) {
    const TableOf<T> tokens{tables.all[0].index, rows, args.token_scale};
    with_elements(args.y, [&](auto* y) {
      parallel_chunks(tables.tokens, std::max<int64_t>(1, 16384 / cols), [&](int64_t begin, int64_t end) {
        DropoutFactors factors(args.dropout);
        for (int64_t n = begin; n < end; ++n)
          forward_row(tokens, positions, types, n, cols, args.dropout, factors, y + n * cols);
      });
    });
  });
}

void CpuOps::embedding_backward(const EmbeddingBackwardArgs& args) {
  const TableArguments tables("embedding_backward", "dy", args.dy, embedding_tables(args), args.token_scale);
  check_touched_blocks(args);
  if (args.touched_blocks) mark_rows(args.tokens.as<int32_t>(), tables.tokens, tables.cols, args.touched_blocks);
  with_elements(args.dy, [&](auto* dy) {
    parallel_chunks(tables.cols, 64, [&](int64_t begin, int64_t end) {
      backward_columns(tables.all, tables.tokens, tables.cols, begin, end, args.dropout, dy);
    });
  });
}

}  // namespace engine::ENGINE_ISA
