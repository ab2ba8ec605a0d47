// Copies the tensors of a file to the parameters that they fill.
#pragma once

#include <vector>

#include "core/memory.h"
#include "core/safetensors.h"
#include "models/tensor_places.h"

namespace engine {

// A TensorLoader loads tensors in one loop over pieces of them all where the host can write the parameters. Else one
// after another goes through the host. What was loaded of the file leaves the memory, so that a file never lies there
// as a whole beside the model.
class TensorLoader {
 public:
  TensorLoader(const Safetensors& file, const Memory& memory, Parameters& parameters);

  // Takes a tensor for a place, in the place's shape. Both must outlive finish().
  void add(const Place& place, const Safetensors::Entry& entry);
  // Loads what was added.
  void finish();

 private:
  struct Piece {
    const Place* place;
    const Safetensors::Entry* entry;
    int64_t begin, end;  // elements, or rows of a transposed matrix
    Tensor to;           // all elements of the place
  };
  template <class T>
  void load(const Piece& piece, T* to) const;

  const Safetensors& file_;
  Parameters& parameters_;
  const bool is_host_;
  std::vector<Piece> pieces_;
  std::vector<const Safetensors::Entry*> transposed_;  // those of the pieces that are read across their rows
  size_t transposed_bytes_ = 0;
  std::vector<float> staged_;  // a tensor on its way to a device
};

}  // namespace engine
