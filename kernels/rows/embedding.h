// The sum of a token's, a position's and a type's embedding, with dropout.
//
//   y[n] = drop(token_scale token_table[tokens[n]] + position_table[positions[n]] + type_table[types[n]])
// positions and types are there exactly where their tables are.
//
// Backward. Each table's row is added once for every token that points to it, so with d[n] = dy[n] keep / (1 - rate)
//   dtoken_table[tokens[n]] += token_scale d[n], and, without a scale, the same for positions and types.
// Nothing is saved but the indices; backward draws the mask a second time. Written: y. Added to: the gradients of the
// tables.
//
// Numerics: at most two additions and two products in f32; NaNs go where their rows go. An index outside its table is
// an error that names it, found before anything is written; on a device it adds nothing and the error comes when
// results are next read.
// Determinism: on the CPU the columns are divided into ranges, and each range takes all tokens in their order; on a
// device tokens are put in order by their rows and added in chunks. Either way the order follows from the tokens alone.
#pragma once

#include <array>

#include "kernels/arguments.h"

namespace engine {

struct EmbeddingForwardArgs {
  Tensor tokens;                      // i32 [N]
  Tensor positions, types;            // optional, i32 [N]
  Tensor token_table;                 // f32 or bf16 [V, C]
  Tensor position_table, type_table;  // f32, there as positions and types
  Tensor y;                           // [N, C]
  Dropout dropout;
  float token_scale = 1;

  template <class Each>
  void each_tensor(const Each& each) {
    each("tokens", tokens, Role::input);
    each("positions", positions, Role::input);
    each("types", types, Role::input);
    each("token_table", token_table, Role::input, named_share(tokens, token_table));
    each("position_table", position_table, Role::input, named_share(tokens, position_table));
    each("type_table", type_table, Role::input, named_share(tokens, type_table));
    each("y", y, Role::output);
    each("dropout.counters", dropout.counters, Role::input);
  }
};
struct EmbeddingBackwardArgs {
  Tensor tokens, positions, types;
  Tensor dy;                                          // [N, C]
  Tensor dtoken_table, dposition_table, dtype_table;  // f32, +=
  Dropout dropout;
  float token_scale = 1;
  Tensor touched_blocks;                              // optional TouchedBlocks of dtoken_table, set where added to

  template <class Each>
  void each_tensor(const Each& each) {
    each("tokens", tokens, Role::input);
    each("positions", positions, Role::input);
    each("types", types, Role::input);
    each("dy", dy, Role::input);
    each("dtoken_table", dtoken_table, Role::both, named_share(tokens, dtoken_table));
    each("dposition_table", dposition_table, Role::both, named_share(tokens, dposition_table));
    each("dtype_table", dtype_table, Role::both, named_share(tokens, dtype_table));
    each("touched_blocks", touched_blocks, Role::both);
    each("dropout.counters", dropout.counters, Role::input);
  }
};

// A table, or its gradient, with its index, and their names in the arguments.
struct EmbeddingTable {
  const char *index_name, *name;
  const Tensor &index, &table;
  bool may_be_bf16 = false;  // else f32 alone
};
using EmbeddingTables = std::array<EmbeddingTable, 3>;  // of tokens, positions and types

EmbeddingTables embedding_tables(const EmbeddingForwardArgs&);
EmbeddingTables embedding_tables(const EmbeddingBackwardArgs&);

// Checks that tables, indices and the activation `x` fit one another, but not the indices' values.
void check_embedding(const char* operation, const char* x_name, const Tensor& x, const EmbeddingTables& tables);

void check_touched_blocks(const EmbeddingBackwardArgs&);

}  // namespace engine
