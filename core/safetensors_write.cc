#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <ostream>

#include "core/bf16.h"
#include "core/error.h"
#include "core/half.h"
#include "core/parallel.h"
#include "core/safetensors.h"

namespace engine {

namespace {

constexpr size_t piece_bytes = size_t{8} << 20;  // bytes that fill_rows writes at a time, a row at least

size_t bytes_of(const SafetensorsItem& item) {
  size_t bytes = safetensors_size_of(item.dtype);
  require(bytes > 0, "tensor ", item.name, ": safetensors have no dtype \"", item.dtype, "\"");
  for (int64_t size : item.shape) bytes *= static_cast<size_t>(size);
  return bytes;
}

void fill(const SafetensorsItem& item, int64_t begin, int64_t end, char* destination) {
  try {
    item.fill_rows ? item.fill_rows(begin, end, destination) : item.fill(destination);
  } catch (const Error& error) {
    fail("tensor ", item.name, ": ", error.what());
  }
}

void write_item(std::ostream& out, const SafetensorsItem& item, std::vector<char>& piece) {
  const size_t bytes = bytes_of(item);
  if (bytes == 0) return;
  if (!item.fill_rows || item.shape.empty()) {
    piece.resize(bytes);
    fill(item, 0, 1, piece.data());
    out.write(piece.data(), static_cast<std::streamsize>(bytes));
    return;
  }
  const int64_t rows = item.shape[0];
  const size_t row_bytes = bytes / static_cast<size_t>(rows);
  const int64_t piece_rows = std::max<int64_t>(1, static_cast<int64_t>(piece_bytes / row_bytes));
  for (int64_t begin = 0; begin < rows; begin += piece_rows) {
    const int64_t end = std::min(rows, begin + piece_rows);
    piece.resize(static_cast<size_t>(end - begin) * row_bytes);
    fill(item, begin, end, piece.data());
    out.write(piece.data(), static_cast<std::streamsize>(piece.size()));
  }
}

}  // namespace

void write_safetensors(const std::filesystem::path& file, const std::vector<SafetensorsItem>& items,
                       const std::map<std::string, std::string>& metadata) {
  std::vector<const SafetensorsItem*> in_order;
  for (const SafetensorsItem& item : items) in_order.push_back(&item);
  std::stable_sort(in_order.begin(), in_order.end(), [](const SafetensorsItem* a, const SafetensorsItem* b) {
    return safetensors_size_of(a->dtype) > safetensors_size_of(b->dtype);
  });
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  size_t offset = 0;
  for (const SafetensorsItem* item : in_order) {
    const size_t bytes = bytes_of(*item);
    require(!header.contains(item->name), file.string(), ": two tensors are named ", item->name);
    header[item->name] = {{"dtype", item->dtype}, {"shape", item->shape}, {"data_offsets", {offset, offset + bytes}}};
    offset += bytes;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  write_file(file, [&](std::ostream& out) {
    const uint64_t length = text.size();
    out.write(reinterpret_cast<const char*>(&length), sizeof length);
    out.write(text.data(), static_cast<std::streamsize>(text.size()));
    std::vector<char> piece;
    for (const SafetensorsItem* item : in_order) write_item(out, *item, piece);
  });
}

bool try_store_floats(const float* values, size_t count, const std::string& dtype, char* destination) {
  std::atomic<bool> overflows = false;
  const auto store = [&](auto convert, auto is_lost) {
    parallel_chunks(static_cast<int64_t>(count), 1 << 18, [&](int64_t begin, int64_t end) {
      bool too_large = false;
      for (int64_t i = begin; i < end; ++i) {
        const auto stored = convert(values[i]);
        too_large |= is_lost(values[i], stored);
        std::memcpy(destination + static_cast<size_t>(i) * sizeof stored, &stored, sizeof stored);
      }
      if (too_large) overflows = true;
    });
    return !overflows;
  };
  const auto never = [](float, auto) { return false; };
  if (dtype == "F32") return store([](float value) { return value; }, never);
  if (dtype == "BF16") return store([](float value) { return bf16(value); }, never);
  if (dtype == "F16")
    return store(float_to_half, [](float value, uint16_t stored) {
      return (stored & 0x7fffu) == 0x7c00u && std::abs(value) != INFINITY;
    });
  fail("floats are stored as F32, F16 or BF16, not as \"", dtype, "\"");
}

void store_floats(const float* values, size_t count, const std::string& dtype, char* destination) {
  const bool good = try_store_floats(values, count, dtype, destination);
  require(good, values_too_large_for_half);
}

}  // namespace engine
