#include "models/tensor_loader.h"

#include <algorithm>

#include "core/parallel.h"
#include "kernels/checks.h"
#include "models/transposed_tensors.h"

namespace engine {

namespace {

constexpr size_t transposed_at_a_time = size_t{16} << 20;  // bytes in the file, enough for many threads
constexpr int64_t piece_elements = 1 << 18;

}  // namespace

TensorLoader::TensorLoader(const Safetensors& file, const Memory& memory, Parameters& parameters)
    : file_(file), parameters_(parameters), is_host_(&memory == &host_memory()) {}

void TensorLoader::add(const Place& place, const Safetensors::Entry& entry) {
  const int64_t elements = place.shape.count();
  Tensor to{nullptr, DType::f32, {elements}};
  if (is_host_) {
    const Tensor& value = place.parameter->value;
    to = value.reshaped({value.count(), 1}).row_range(place.first, place.first + elements);
  } else {
    staged_.resize(static_cast<size_t>(elements));
    to.data = staged_.data();
  }
  const int64_t row = place.transposed ? 1 : elements / place.shape[0];
  const int64_t together = (place.transposed ? place.shape[0] : place.rows_together()) * row;
  const int64_t grain = place.transposed ? transposed_grain : piece_elements;
  for (int64_t block = 0; block < place.shape[0] * row; block += together)
    for (int64_t begin = block; begin < block + together; begin += grain)
      pieces_.push_back({&place, &entry, begin, std::min(block + together, begin + grain), to});
  if (place.transposed) {
    transposed_.push_back(&entry);
    transposed_bytes_ += entry.bytes;
  }
  if (!is_host_ || transposed_bytes_ >= transposed_at_a_time) finish();
  if (!is_host_) parameters_.write(*place.parameter, place.first, elements, staged_.data());
}

void TensorLoader::finish() {
  parallel_for(static_cast<int64_t>(pieces_.size()), [&](int64_t i) {
    const Piece& piece = pieces_[static_cast<size_t>(i)];
    with_elements(piece.to, [&](auto* to) { load(piece, to); });
  });
  for (const Safetensors::Entry* entry : transposed_) file_.forget(entry->data, entry->bytes);
  pieces_.clear();
  transposed_.clear();
  transposed_bytes_ = 0;
}

template <class T>
void TensorLoader::load(const Piece& piece, T* to) const {
  const auto& [place, entry, begin, end, all] = piece;
  const Shape& shape = place->shape;
  if (place->transposed)
    return load_transposed(entry->data, shape[1], shape[0], entry->dtype, begin, end, to);
  const int64_t row = shape.count() / shape[0];
  const size_t element = safetensors_size_of(entry->dtype), count = static_cast<size_t>(end - begin);
  const char* const from = entry->data + static_cast<size_t>(begin) * element;
  load_floats(from, count, entry->dtype, to + place->our_row(begin / row) * row + begin % row);
  file_.forget(from, count * element);
}

}  // namespace engine
