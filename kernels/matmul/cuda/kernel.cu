// Our own matrix products. One loop goes over tiles of K, which are copied several steps ahead, and a class does the
// arithmetic.
#include <algorithm>

#include "kernels/cuda/launch.h"
#include "kernels/matmul/cuda/epilogue.h"
#include "kernels/matmul/cuda/fma.h"
#include "kernels/matmul/cuda/tensor_cores.h"
#include "kernels/sizes.h"

namespace engine::cuda {

namespace {

template <class Unit>
constexpr size_t shared_bytes() {
  constexpr size_t operands = sizeof(typename Unit::Element) * Unit::stages * (Unit::A::elements + Unit::B::elements);
  constexpr size_t sums = sizeof(float) * Unit::rows * Unit::cols;
  return operands > sums ? operands : sums;
}

// Gives each block a tile of c, down eight tiles and then one across. Blocks that run at one time then share their rows
// of a and columns of b in the L2 cache.
struct TilePlace {
  int64_t row, col;

  __device__ __forceinline__ TilePlace(int64_t block, int64_t tile_rows, int64_t tile_cols) {
    constexpr int64_t high = 8;
    const int64_t first = block / (high * tile_cols) * high, within = block % (high * tile_cols);
    const int64_t group = std::min(high, tile_rows - first);
    row = first + within % group;
    col = within / group;
  }
};

// Computes a tile of c and, by blockIdx.z, a part of K, in whole steps. Part z writes its matrix behind that of part
// z-1, `part_bytes` apart.
template <class Unit>
__global__ void __launch_bounds__(Unit::threads, Unit::blocks_at_once)
    multiply_kernel(Factor a, Factor b, int64_t part_k, int64_t part_bytes, Epilogue epilogue, bool fours) {
  using Element = typename Unit::Element;
  constexpr int stage_elements = Unit::A::elements + Unit::B::elements;
  Element* const tiles = dynamic_shared<Element>();
  const TilePlace place(blockIdx.x, (a.outer + Unit::rows - 1) / Unit::rows, (b.outer + Unit::cols - 1) / Unit::cols);
  const int64_t first_row = place.row * Unit::rows, first_col = place.col * Unit::cols;
  const TileLoader<typename Unit::A, Unit::threads> load_a(a, first_row);
  const TileLoader<typename Unit::B, Unit::threads> load_b(b, first_col);

  const int64_t begin = blockIdx.z * part_k, end = std::min(begin + part_k, a.k);
  const int steps = static_cast<int>((end - begin + Unit::k_step - 1) / Unit::k_step);
  const auto start = [&](int step) {
    Element* const tile = tiles + step % Unit::stages * stage_elements;
    if (step < steps) {
      load_a.start(tile, begin + int64_t{step} * Unit::k_step);
      load_b.start(tile + Unit::A::elements, begin + int64_t{step} * Unit::k_step);
    }
    copy_async_commit();  // each step commits a group, if only an empty one, so that always as many are pending
  };
  for (int step = 0; step < Unit::stages - 1; ++step) start(step);

  Unit unit;
  for (int step = 0; step < steps; ++step) {
    copy_async_wait<Unit::stages - 2>();
    sync_block();  // the step's tiles are there, and no thread reads those of the step before any more
    start(step + Unit::stages - 1);
    const Element* const tile = tiles + step % Unit::stages * stage_elements;
    unit.multiply(tile, tile + Unit::A::elements);
  }
  copy_async_wait<0>();
  sync_block();
  float* const sums = reinterpret_cast<float*>(tiles);
  unit.put(sums);
  sync_block();

  epilogue.c.data += blockIdx.z * part_bytes;
  if (fours) {
    for (int i = static_cast<int>(threadIdx.x); i < Unit::rows * Unit::cols / 4; i += Unit::threads) {
      const int row = i / (Unit::cols / 4), col = i % (Unit::cols / 4) * 4;
      if (first_row + row >= a.outer || first_col + col >= b.outer) continue;
      Vector16<float> t = load_vector(sums + sum_offset<Unit::cols>(row, col));
      finish(epilogue, first_row + row, first_col + col, t.at);
    }
  } else {
    for (int i = static_cast<int>(threadIdx.x); i < Unit::rows * Unit::cols; i += Unit::threads) {
      const int row = i / Unit::cols, col = i % Unit::cols;
      if (first_row + row >= a.outer || first_col + col >= b.outer) continue;
      float t[1] = {sums[sum_offset<Unit::cols>(row, col)]};
      finish(epilogue, first_row + row, first_col + col, t);
    }
  }
}

template <int width>
__global__ void __launch_bounds__(256)
    finish_kernel(DeviceMatrix sums, int64_t parts, int64_t part_bytes, int64_t rows, int64_t cols, Epilogue epilogue) {
  const int64_t across = cols / width, i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= rows * across) return;
  const int64_t row = i / across, col = i % across * width;
  float t[width];
  load_floats(sums, row, col, t);
  for (int64_t part = 1; part < parts; ++part) {
    sums.data += part_bytes;
    float more[width];
    load_floats(sums, row, col, more);
    for (int j = 0; j < width; ++j) t[j] += more[j];
  }
  finish(epilogue, row, col, t);
}

// Returns the number of parts of K. Few tiles are divided until they fill a device, by the shape alone, and no part is
// too short.
int64_t parts_of(int64_t tiles, int64_t k) {
  constexpr int64_t blocks_wanted = 256, most_parts = 32, shortest = 512;
  return std::clamp<int64_t>(std::min(blocks_wanted / std::max<int64_t>(tiles, 1), k / shortest), 1, most_parts);
}

template <class Unit>
void multiply(const Product& p, Arena& workspace, cudaStream_t stream) {
  const int64_t rows = p.a.outer, cols = p.b.outer, tiles = ceil_div(rows, Unit::rows) * ceil_div(cols, Unit::cols);
  const int64_t part_k = rounded_up(ceil_div(p.a.k, parts_of(tiles, p.a.k)), Unit::k_step);
  const int64_t parts = std::max<int64_t>(ceil_div(p.a.k, std::max<int64_t>(part_k, 1)), 1);
  Epilogue epilogue = p.epilogue;
  if (parts > 1) {
    epilogue = {};
    epilogue.c = workspace.make(DType::f32, {parts * rows, cols});
  }
  const int64_t part_bytes = parts > 1 ? rows * cols * int64_t{sizeof(float)} : 0;
  launch(multiply_kernel<Unit>, blocks(tiles, 1, parts), Unit::threads, shared_bytes<Unit>(), stream, p.a, p.b,
         part_k, part_bytes, epilogue, cols % 4 == 0 && takes_fours(epilogue));
  if (parts > 1) finish_product(epilogue.c, parts, rows, cols, p.epilogue, stream);
}

}  // namespace

void finish_product(const DeviceMatrix& sums, int64_t parts, int64_t rows, int64_t cols, const Epilogue& epilogue,
                    cudaStream_t stream) {
  constexpr unsigned threads = 256;
  const bool fours = cols % 4 == 0 && sums.takes_vectors(4) && takes_fours(epilogue);
  with_width<4>(fours, [&](auto width) {
    launch(finish_kernel<width.value>, blocks(ceil_div(rows * cols / width.value, threads)), threads, 0, stream, sums,
           parts, rows * cols * sums.element_bytes(), rows, cols, epilogue);
  });
}

void multiply_by_own_kernel(const Product& p, Arena& workspace, cudaStream_t stream) {
  // Large tiles read their operands half as often. They are used where there are enough of them to keep a device busy.
  const bool large = ceil_div(p.a.outer, 128) * ceil_div(p.b.outer, 128) >= 64;
  with_flag(p.a.k_contiguous, [&](auto a) {
    with_flag(p.b.k_contiguous, [&](auto b) {
      if (p.compute == DType::f32) multiply<MultiplyAdds<a.value, b.value>>(p, workspace, stream);
      else if (large) multiply<TensorCores<128, a.value, b.value>>(p, workspace, stream);
      else multiply<TensorCores<64, a.value, b.value>>(p, workspace, stream);
    });
  });
}

}  // namespace engine::cuda
