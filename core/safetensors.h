// Safetensors (https://github.com/huggingface/safetensors, "Format") holds named tensors in one file: the header's
// length (8 bytes, little endian), a JSON header (at most 100 MB) of name -> dtype, shape, byte range, then the bytes.
// Every field of a header is checked before it is used: lengths, offsets, overlaps, gaps, shapes against ranges.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "core/files.h"

namespace engine {

class Safetensors {
 public:
  struct Entry {
    std::string dtype;           // "F32", "F16", "BF16", "I64", ...
    std::vector<int64_t> shape;  // empty for a scalar
    const char* data;            // bytes in the mapped file, not aligned
    size_t bytes;
    std::string file;            // path, for errors
    int64_t count() const;
  };
  // Opens a single file, or all shards that an index (a name that ends in .json) names.
  static Safetensors open(const std::filesystem::path& file_or_index);

  const std::map<std::string, Entry>& entries() const { return entries_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const Entry& at(const std::string& name) const;  // an Error names the tensor and the file
  // Gives back the memory that these bytes of an entry take in this process. They are read from the file again if
  // needed.
  void forget(const char* begin, size_t bytes) const;
  // Returns the values as f32, from F32, F16, BF16 or F64. An Error names a tensor of another dtype and its file.
  std::vector<float> floats(const std::string& name) const;

 private:
  void add_file(const std::filesystem::path& file);

  std::vector<MappedFile> files_;
  std::map<std::string, Entry> entries_;
  std::map<std::string, std::string> metadata_;
  std::string path_;
};

// A tensor to write. Exactly one of the two functions is given. They write bytes already in `dtype`.
struct SafetensorsItem {
  std::string name;
  std::string dtype;  // any of the format's
  std::vector<int64_t> shape;
  std::function<void(char* destination)> fill;  // writes the whole tensor
  // Writes rows begin ... end-1 of the first dimension, so that a large tensor never lies in memory a second time.
  std::function<void(int64_t begin, int64_t end, char* destination)> fill_rows = {};
};
// Writes a file as write_file does. Wider dtypes come first, so that all tensors are aligned in the file.
void write_safetensors(const std::filesystem::path& file, const std::vector<SafetensorsItem>& items,
                       const std::map<std::string, std::string>& metadata = {{"format", "pt"}});

bool holds_floats(const std::string& dtype);           // F32, F16, BF16, F64
size_t safetensors_size_of(const std::string& dtype);  // bytes of an element, 0 where no dtype has that name
// Converts the bytes of "F32", "F16", "BF16" or "F64" to f32 or bf16 values, F64 by way of f32. The source needs no
// alignment.
template <class T>
void load_floats(const char* source, size_t count, const std::string& dtype, T* values);
// Converts f32 values to the bytes of "F32", "F16" or "BF16", rounding to nearest, ties to even. A finite value that
// F16 cannot hold is an Error. The second function returns false then, for parallel bodies, which must not throw.
void store_floats(const float* values, size_t count, const std::string& dtype, char* destination);
inline constexpr char values_too_large_for_half[] =
    "it has values that F16 cannot hold (the largest is 65504): store it as BF16 or F32";
[[nodiscard]] bool try_store_floats(const float* values, size_t count, const std::string& dtype, char* destination);

}  // namespace engine
