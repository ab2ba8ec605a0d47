#include "kernels/rows/embedding.h"

#include "kernels/checks.h"

namespace engine {

void check_embedding(const char* operation, const char* x_name, const Tensor& x, const EmbeddingTables& tables) {
  const int64_t tokens = tables[0].index.count(), cols = tables[0].table.cols();
  require(static_cast<bool>(tables[0].table), operation, ": ", tables[0].name, " is missing");
  check_activation(operation, x_name, x, tokens, cols);
  for (const EmbeddingTable& of : tables) {
    require(static_cast<bool>(of.index) == static_cast<bool>(of.table), operation, ": of ", of.index_name, " and ",
            of.name, " only one is given");
    if (!of.table) continue;
    check_vector(operation, of.index_name, of.index, DType::i32, tokens);
    if (of.may_be_bf16) check_activation(operation, of.name, of.table, of.table.rows(), cols);
    else check_matrix(operation, of.name, of.table, DType::f32, of.table.rows(), cols);
  }
}

EmbeddingTables embedding_tables(const EmbeddingForwardArgs& args) {
  return {{{"tokens", "token_table", args.tokens, args.token_table, /*may_be_bf16=*/true},
           {"positions", "position_table", args.positions, args.position_table},
           {"types", "type_table", args.types, args.type_table}}};
}

EmbeddingTables embedding_tables(const EmbeddingBackwardArgs& args) {
  return {{{"tokens", "dtoken_table", args.tokens, args.dtoken_table},
           {"positions", "dposition_table", args.positions, args.dposition_table},
           {"types", "dtype_table", args.types, args.dtype_table}}};
}

void check_touched_blocks(const EmbeddingBackwardArgs& args) {
  if (args.touched_blocks)
    check_vector("embedding_backward", "touched_blocks", args.touched_blocks, DType::u8,
                 TouchedBlocks::count(args.dtoken_table.count()));
}

}  // namespace engine
