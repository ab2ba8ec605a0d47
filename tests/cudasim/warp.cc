// Operations of a warp. Each lane brings an argument, and the last to come gives all of them their results.
#include <cuda_bf16.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "core/error.h"
#include "tests/cudasim/block.h"

namespace cudasim {

namespace {

using engine::detail::joined;
using Arguments = void* const (&)[32];

struct Exchange {
  uint64_t value;
  int source;
  uint64_t result;
};
Exchange& exchange(void* argument) { return *static_cast<Exchange*>(argument); }

// Gives every lane combine(its own, every other lane's value).
template <class Combine>
void combine_all(Arguments arguments, const Combine& combine) {
  for (void* const mine : arguments) {
    if (!mine) continue;
    exchange(mine).result = 0;
    for (int l = 0; l < 32; ++l)
      if (arguments[l]) combine(exchange(mine), exchange(arguments[l]), l);
  }
}

float low_half(uint32_t pair) { return __bfloat162float({static_cast<uint16_t>(pair)}); }
float high_half(uint32_t pair) { return __bfloat162float({static_cast<uint16_t>(pair >> 16)}); }

struct Rows {
  uint32_t* fragment;
  const void* row;
};
uint16_t element(Arguments arguments, int matrix, int row, int column) {
  const auto* const lane = static_cast<const Rows*>(arguments[8 * matrix + row]);
  uint16_t bits;
  std::memcpy(&bits, static_cast<const char*>(lane->row) + 2 * column, sizeof bits);
  return bits;
}
uint64_t conflicts = 0;

// Shared memory has 32 banks of 4 bytes. ldmatrix reads the 8 rows of one matrix in a phase, in one turn where rows
// that differ lie in different groups of 4 banks.
void count_conflicts(Arguments arguments) {
  for (int phase = 0; phase < 4; ++phase) {
    std::set<uintptr_t> rows_of[8];
    for (int lane = 8 * phase; lane < 8 * phase + 8; ++lane) {
      const uintptr_t piece = reinterpret_cast<uintptr_t>(static_cast<const Rows*>(arguments[lane])->row) / 16;
      rows_of[piece % 8].insert(piece);
    }
    size_t turns = 1;
    for (const auto& rows : rows_of) turns = std::max(turns, rows.size());
    conflicts += turns - 1;
  }
}

template <bool transposed>
void meet_load_matrix(Arguments arguments) {
  count_conflicts(arguments);
  for (int lane = 0; lane < 32; ++lane)
    for (int matrix = 0; matrix < 4; ++matrix) {
      const int major = lane / 4, minor = 2 * (lane % 4);
      const uint16_t first = transposed ? element(arguments, matrix, minor, major)
                                        : element(arguments, matrix, major, minor);
      const uint16_t second = transposed ? element(arguments, matrix, minor + 1, major)
                                         : element(arguments, matrix, major, minor + 1);
      static_cast<const Rows*>(arguments[lane])->fragment[matrix] = static_cast<uint32_t>(second) << 16 | first;
    }
}

struct Product {
  float* sums;
  const uint32_t* a;
  const uint32_t* b;
};
// Lays out the fragments of all lanes as matrices, by the layout that PTX documents for mma.m16n8k16.
void meet_multiply_add(Arguments arguments) {
  float a[16][16], b[16][8];
  for (int lane = 0; lane < 32; ++lane) {
    const auto& part = *static_cast<const Product*>(arguments[lane]);
    const int group = lane / 4, pair = 2 * (lane % 4);
    for (int i = 0; i < 4; ++i) {
      const int row = group + 8 * (i % 2), column = pair + 8 * (i / 2);
      a[row][column] = low_half(part.a[i]);
      a[row][column + 1] = high_half(part.a[i]);
    }
    for (int i = 0; i < 2; ++i) {
      b[pair + 8 * i][group] = low_half(part.b[i]);
      b[pair + 8 * i + 1][group] = high_half(part.b[i]);
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    const auto& part = *static_cast<const Product*>(arguments[lane]);
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + 8 * (i / 2), column = 2 * (lane % 4) + i % 2;
      double sum = static_cast<double>(part.sums[i]);
      for (int k = 0; k < 16; ++k) sum += static_cast<double>(a[row][k] * b[k][column]);  // exact products
      part.sums[i] = static_cast<float>(sum);
    }
  }
}

constexpr unsigned all_lanes = 0xffffffffu;

}  // namespace

uint64_t bank_conflicts() { return conflicts; }

uint64_t shuffle(const char* operation, uint64_t value, int source, unsigned mask) {
  if (!(mask >> source & 1))
    fail_kernel(joined(operation, " from lane ", source, ", which is not in the mask 0x", std::hex, mask));
  Exchange mine{value, source, 0};
  meet_warp(operation, mask, &mine, [](Arguments arguments) {
    for (void* const argument : arguments)
      if (argument) exchange(argument).result = exchange(arguments[exchange(argument).source]).value;
  });
  return mine.result;
}

unsigned ballot(bool predicate, unsigned mask) {
  Exchange mine{predicate, 0, 0};
  meet_warp("ballot", mask, &mine, [](Arguments arguments) {
    combine_all(arguments, [](Exchange& to, const Exchange& from, int l) { to.result |= from.value << l; });
  });
  return static_cast<unsigned>(mine.result);
}

unsigned match_any(unsigned value, unsigned mask) {
  Exchange mine{value, 0, 0};
  meet_warp("match_any", mask, &mine, [](Arguments arguments) {
    combine_all(arguments, [](Exchange& to, const Exchange& from, int l) {
      to.result |= uint64_t{from.value == to.value} << l;
    });
  });
  return static_cast<unsigned>(mine.result);
}

void sync_warp(unsigned mask) {
  meet_warp("sync_warp", mask, nullptr, [](Arguments) {});
}

void load_matrix(uint32_t (&fragment)[4], const void* row, bool transposed) {
  check_aligned(row, 16);
  Rows mine{fragment, row};
  meet_warp(transposed ? "load_matrix_x4_transposed" : "load_matrix_x4", all_lanes, &mine,
            transposed ? meet_load_matrix<true> : meet_load_matrix<false>);
}

void multiply_add(float (&sums)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  Product mine{sums, a, b};
  meet_warp("multiply_add_16x8x16", all_lanes, &mine, meet_multiply_add);
}

}  // namespace cudasim
