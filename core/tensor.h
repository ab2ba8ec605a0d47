// Tensor: a view of contiguous, row-major memory on one device. It never owns it (see arena.h for owners).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "core/bf16.h"
#include "core/error.h"

namespace engine {

enum class DType : uint8_t { f32, bf16, i32, u8 };

inline size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::bf16: return 2;
    case DType::u8: return 1;
    default: return 4;
  }
}

const char* name_of(DType dtype);

template <class T>
inline constexpr DType dtype_of = DType::f32;
template <>
inline constexpr DType dtype_of<bf16> = DType::bf16;
template <>
inline constexpr DType dtype_of<int32_t> = DType::i32;
template <>
inline constexpr DType dtype_of<uint8_t> = DType::u8;

// A shape has up to four dimensions. Rank 0 is the shape of a tensor that is absent.
struct Shape {
  std::array<int64_t, 4> sizes{};
  int rank = 0;

  Shape() = default;
  Shape(std::initializer_list<int64_t> list) {
    require(list.size() <= sizes.size(), "a shape has at most four dimensions, not ", list.size());
    for (int64_t size : list) sizes[static_cast<size_t>(rank++)] = size;
  }
  int64_t operator[](int i) const { return sizes[static_cast<size_t>(i < 0 ? rank + i : i)]; }
  int64_t count() const {
    int64_t product = rank ? 1 : 0;
    for (int i = 0; i < rank; ++i) product *= (*this)[i];
    return product;
  }
  bool operator==(const Shape&) const = default;
  std::string text() const;  // as "[3, 5]"
};

struct Tensor {
  void* data = nullptr;
  DType dtype = DType::f32;
  Shape shape;

  // An optional argument that is left out is a Tensor{}, which converts to false.
  explicit operator bool() const { return data != nullptr; }
  int64_t count() const { return shape.count(); }
  size_t bytes() const { return static_cast<size_t>(count()) * size_of(dtype); }
  // A tensor is a matrix, too: the last dimension are the columns, all others together the rows.
  int64_t cols() const { return shape.rank ? shape[-1] : 0; }
  int64_t rows() const { return cols() ? count() / cols() : 0; }

  // Returns the elements as T*. An Error if the tensor holds another dtype.
  template <class T>
  T* as() const {
    require(!data || dtype == dtype_of<T>, "a tensor of ", name_of(dtype), " was read as ", name_of(dtype_of<T>));
    return static_cast<T*>(data);
  }
  // Returns rows begin ... end-1 as a matrix of its own.
  Tensor row_range(int64_t begin, int64_t end) const {
    // require would make the shape's text, and allocate memory, at every call.
    if (begin < 0 || begin > end || end > rows()) [[unlikely]]
      fail("rows ", begin, " to ", end, " of ", shape.text());
    return {
        static_cast<char*>(data) + static_cast<size_t>(begin * cols()) * size_of(dtype), dtype, {end - begin, cols()}};
  }
  Tensor reshaped(Shape other) const {
    if (other.count() != count()) [[unlikely]] fail("a tensor ", shape.text(), " cannot be seen as ", other.text());
    return {data, dtype, other};
  }
};

}  // namespace engine
