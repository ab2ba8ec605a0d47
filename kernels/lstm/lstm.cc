#include "kernels/lstm/lstm.h"

#include "kernels/checks.h"

namespace engine {
namespace {

// Returns C. Checks what both directions have.
template <class Args>
int64_t check_common(const char* name, const Args& args) {
  const int64_t width = args.weight.cols(), rows = args.y.rows(), sequences = args.segments.count();
  require(width > 0, name, ": weight is ", args.weight.shape.text());
  check_activation(name, "weight", args.weight, 4 * width, width);
  check_activation(name, "gates", args.gates, rows, 4 * width);
  check_matrix(name, "y", args.y, args.gates.dtype, rows, width);
  check_matrix(name, "c", args.c, DType::f32, rows, width);
  check_vector(name, "segments.begin", args.segments.begin, DType::i32, sequences);
  check_vector(name, "segments.end", args.segments.end, DType::i32, sequences);
  require(args.compute == DType::f32 || args.compute == DType::bf16, name, ": cannot compute in ",
          name_of(args.compute));
  return width;
}

// Checks the two states of each sequence, of which both or none are there.
void check_states(const char* name, const char* h_name, const Tensor& h, const char* c_name, const Tensor& c,
                  int64_t sequences, int64_t width) {
  if (!h && !c) return;
  check_matrix(name, h_name, h, DType::f32, sequences, width);
  check_matrix(name, c_name, c, DType::f32, sequences, width);
}

}  // namespace

void check_lstm_forward(const LstmForwardArgs& args, size_t packed_bytes) {
  const char* name = "lstm_forward";
  const int64_t width = check_common(name, args), sequences = args.segments.count();
  check_states(name, "first_h", args.first_h, "first_c", args.first_c, sequences, width);
  check_states(name, "last_h", args.last_h, "last_c", args.last_c, sequences, width);
  require(!args.packed_weight || args.packed_weight.bytes() == packed_bytes, name, ": packed_weight has ",
          args.packed_weight.bytes(), " bytes, must have ", packed_bytes);
}

void check_lstm_backward(const LstmBackwardArgs& args) {
  const char* name = "lstm_backward";
  const int64_t width = check_common(name, args), sequences = args.segments.count(), rows = args.y.rows();
  check_states(name, "first_h", args.first_h, "first_c", args.first_c, sequences, width);
  check_states(name, "dlast_h", args.dlast_h, "dlast_c", args.dlast_c, sequences, width);
  check_states(name, "dfirst_h", args.dfirst_h, "dfirst_c", args.dfirst_c, sequences, width);
  check_activation(name, "dy", args.dy, rows, width);
  check_matrix(name, "dgates", args.dgates, args.gates.dtype, rows, 4 * width);
  check_matrix(name, "h_before", args.h_before, args.gates.dtype, rows, width);
}

}  // namespace engine
