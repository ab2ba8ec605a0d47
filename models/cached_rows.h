// Tokens that continue sequences of a decoding state, and the rows of the state that belong to them, as lists of one
// upload.
#pragma once

#include <algorithm>
#include <span>

#include "models/pass.h"
#include "models/upload.h"

namespace engine {

// These are some segments of rows in a decoding state, with the beginning and the end of each.
struct CachedSegments {
  Upload& upload;
  Upload::List begin, end;
  int64_t longest = 0;

  CachedSegments(Upload& upload_, int64_t count)
      : upload(upload_), begin(upload.list(count)), end(upload.list(count)) {}
  void set(size_t i, int64_t first, int64_t rows) {
    upload[begin][i] = static_cast<int32_t>(first);
    upload[end][i] = static_cast<int32_t>(first + rows);
    longest = std::max(longest, rows);
  }
  // The longest counts as a multiple of `unit` rows.
  Segments segments(int64_t unit) const { return upload.segments(begin, end, (longest + unit - 1) / unit * unit); }
};

// These are tokens of sequences back to back, with the row of the decoding state that each is written to.
struct CachedRow {
  Upload& upload;
  Upload::List ids, positions, rows, offsets;
  size_t token = 0, sequence = 0;
  int64_t longest = 0;

  CachedRow(Upload& upload_, int64_t tokens, int64_t sequences)
      : upload(upload_), ids(upload.list(tokens)), positions(upload.list(tokens)), rows(upload.list(tokens)),
        offsets(upload.list(sequences + 1)) {
    upload[offsets][0] = 0;
  }
  // `cached` tokens lie before them, and first_row is the row of the decoding state of the first of these.
  // own_positions are those of the tokens where they are not counted from `cached`.
  void add(std::span<const int32_t> tokens, int64_t cached, int64_t first_row,
           std::span<const int32_t> own_positions = {}) {
    const auto count = static_cast<int64_t>(tokens.size());
    for (int64_t t = 0; t < count; ++t, ++token) {
      const auto place = static_cast<size_t>(t);
      upload[ids][token] = tokens[place];
      upload[positions][token] = own_positions.empty() ? static_cast<int32_t>(cached + t) : own_positions[place];
      upload[rows][token] = static_cast<int32_t>(first_row + cached + t);
    }
    longest = std::max(longest, count);
    upload[offsets][++sequence] = static_cast<int32_t>(token);
  }
  Layout layout() const { return {upload.segments(offsets, longest), upload.tensor(positions)}; }
};

}  // namespace engine
