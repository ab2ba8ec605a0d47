// Safetensors: named tensors in one file; a JSON header (at most 100 MB) of name -> dtype, shape, byte range.
// Every field of a header is checked before a byte is believed: lengths, offsets, overlaps, gaps, shapes against ranges.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "core/files.h"
#include "core/tensor.h"

namespace engine {

class Safetensors {
 public:
  struct Entry {
    std::string dtype;           // "F32", "F16", "BF16", "I64", ...
    std::vector<int64_t> shape;
    const char* data;
    size_t bytes;
    int64_t count() const;
  };
  // A single file, or all shards that an index (model.safetensors.index.json) names.
  static Safetensors open(const std::filesystem::path& file_or_index);

  const std::map<std::string, Entry>& entries() const { return entries_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  // The values as f32 (from F32, F16, BF16 or F64); an error names the tensor and file if it holds something else.
  std::vector<float> floats(const std::string& name) const;

 private:
  std::vector<MappedFile> files_;
  std::map<std::string, Entry> entries_;
  std::map<std::string, std::string> metadata_;
  std::string path_;
};

// What to write: values are f32 and are stored as `dtype` ("F32", "F16" or "BF16"); raw bytes go as they are.
struct SafetensorsItem {
  std::string name;
  std::string dtype;
  std::vector<int64_t> shape;
  std::function<void(char* destination)> fill;  // writes count * size bytes, already in dtype
};
void write_safetensors(const std::filesystem::path& file, const std::vector<SafetensorsItem>& items,
                       const std::map<std::string, std::string>& metadata = {{"format", "pt"}});
// f32 values to the bytes of "F32", "F16" or "BF16", rounding to nearest, ties to even.
void store_floats(const float* values, size_t count, const std::string& dtype, char* destination);

}  // namespace engine
