#include "core/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "core/bf16.h"
#include "core/error.h"
#include "core/half.h"
#include "core/json.h"
#include "core/parallel.h"

namespace engine {

using nlohmann::json;

namespace {

static_assert(std::endian::native == std::endian::little, "safetensors are little endian; so must this machine be");

constexpr uint64_t most_header_bytes = 100'000'000;

// Reads a count of elements or bytes in a header: a JSON integer that an int64 holds.
int64_t size_in(const json& value, const char* what, const std::string& where) {
  if (!value.is_number_unsigned() || value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX))
    fail(where, ": a ", what, " is ", value.dump(-1, ' ', true).substr(0, 60), ", it should be an integer from 0");
  return value.get<int64_t>();
}

Safetensors::Entry entry_in(const json& field, const std::string& where, const char* data, size_t data_bytes,
                            const std::string& file) {
  Safetensors::Entry entry;
  entry.file = file;
  entry.dtype = json_string(field, "dtype", where);
  const size_t size = safetensors_size_of(entry.dtype);
  if (size == 0) fail(where, ": dtype \"", entry.dtype.substr(0, 60), "\" is unknown");
  const json& shape = json_member(field, "shape", where);
  const json& range = json_member(field, "data_offsets", where);
  if (field.size() != 3) fail(where, ": a tensor has dtype, shape and data_offsets and nothing else");
  if (!shape.is_array()) fail(where, ": \"shape\" should be a list of integers");
  if (!range.is_array() || range.size() != 2) fail(where, ": \"data_offsets\" should be [begin, end]");
  int64_t bytes = static_cast<int64_t>(size);
  for (const json& dimension : shape) {
    entry.shape.push_back(size_in(dimension, "dimension", where));
    if (__builtin_mul_overflow(bytes, entry.shape.back(), &bytes)) fail(where, ": its shape has more bytes than 2^63");
  }
  const int64_t begin = size_in(range[0], "data offset", where), end = size_in(range[1], "data offset", where);
  if (begin > end || static_cast<size_t>(end) > data_bytes)
    fail(where, ": bytes ", begin, " to ", end, " of ", data_bytes, " bytes of data",
         begin > end ? "" : ": the file is cut short");
  if (end - begin != bytes)
    fail(where, ": its shape and dtype have ", bytes, " bytes, its data_offsets ", end - begin);
  entry.data = data + begin;
  entry.bytes = static_cast<size_t>(bytes);
  return entry;
}

std::string quoted(const std::string& name) {
  return json(name.substr(0, 200)).dump(-1, ' ', true, json::error_handler_t::replace);
}

}  // namespace

int64_t Safetensors::Entry::count() const {
  int64_t product = 1;
  for (int64_t size : shape) product *= size;
  return product;
}

void Safetensors::add_file(const std::filesystem::path& path) {
  const std::string file = path.string();
  const MappedFile& mapped = files_.emplace_back(path);
  uint64_t header_bytes = 0;
  if (mapped.size() < sizeof header_bytes) fail(file, ": ", mapped.size(), " bytes are too few for safetensors");
  std::memcpy(&header_bytes, mapped.data(), sizeof header_bytes);
  const size_t after_length = mapped.size() - sizeof header_bytes;
  if (header_bytes > most_header_bytes)
    fail(file, ": no safetensors: its header would have ", header_bytes, " bytes, more than ", most_header_bytes);
  if (header_bytes > after_length)
    fail(file, ": its header should have ", header_bytes, " bytes, but the file ends after ", after_length);
  const std::string_view text(mapped.data() + sizeof header_bytes, static_cast<size_t>(header_bytes));
  if (!text.starts_with('{')) fail(file, ": no safetensors: its header does not begin with {");
  const json header = parse_json(text, file + ": header");
  const char* const data = text.data() + text.size();
  const size_t data_bytes = after_length - text.size();

  std::vector<const Entry*> in_order;
  for (const auto& [name, field] : header.items()) {
    const std::string where = file + ": tensor " + quoted(name);
    if (name == "__metadata__") {
      if (field.is_null()) continue;  // readers of the format take it for an absent one
      if (!field.is_object()) fail(file, ": __metadata__ should be an object of strings");
      for (const auto& [key, value] : field.items()) metadata_[key] = json_string(field, key.c_str(), file);
      continue;
    }
    if (!field.is_object()) fail(where, ": should be an object of dtype, shape and data_offsets");
    const auto [place, is_new] = entries_.emplace(name, entry_in(field, where, data, data_bytes, file));
    if (!is_new) fail(where, ": is in ", place->second.file, " too");
    in_order.push_back(&place->second);
  }
  std::sort(in_order.begin(), in_order.end(), [](const Entry* a, const Entry* b) {
    return std::pair(a->data, a->bytes) < std::pair(b->data, b->bytes);
  });
  const char* end = data;
  for (const Entry* entry : in_order) {
    if (entry->data != end)
      fail(file, ": the tensors' byte ranges ", entry->data < end ? "overlap" : "leave a gap", " at byte ",
           std::min(entry->data, end) - data, " of the data");
    end += entry->bytes;
  }
  if (end != data + data_bytes)
    fail(file, ": ", data_bytes, " bytes of data, but the tensors have ", end - data);
}

Safetensors Safetensors::open(const std::filesystem::path& path) {
  Safetensors result;
  result.path_ = path.string();
  if (path.extension() != ".json") {
    result.add_file(path);
    return result;
  }
  const json index = parse_json_file(path, most_header_bytes);
  const json& weight_map = json_member(index, "weight_map", result.path_);
  if (!weight_map.is_object()) fail(result.path_, ": \"weight_map\" should be an object of tensor -> file");
  std::map<std::string, std::string> file_of;
  std::set<std::string> shards;
  for (const auto& [name, value] : weight_map.items()) {
    if (!value.is_string()) fail(result.path_, ": tensor ", quoted(name), ": its file should be a string");
    const std::string shard = value.get<std::string>();
    const bool is_path = shard.find_first_of(std::string_view("/\0", 2)) != std::string::npos;
    if (shard.empty() || shard == "." || shard == ".." || is_path)
      fail(result.path_, ": tensor ", quoted(name), ": ", quoted(shard), " is no file name in this folder");
    file_of[name] = (path.parent_path() / shard).string();
    shards.insert(file_of[name]);
  }
  for (const std::string& shard : shards) result.add_file(shard);
  for (const auto& [name, file] : file_of) {
    const auto found = result.entries_.find(name);
    if (found == result.entries_.end() || found->second.file != file)
      fail(file, ": lacks tensor ", quoted(name), ", which ", result.path_, " says is there");
  }
  for (const auto& [name, entry] : result.entries_)
    if (!file_of.contains(name))
      fail(entry.file, ": has a tensor ", quoted(name), " that ", result.path_, " does not name");
  return result;
}

const Safetensors::Entry& Safetensors::at(const std::string& name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) fail(path_, ": has no tensor ", quoted(name));
  return found->second;
}

void Safetensors::forget(const char* begin, size_t bytes) const {
  for (const MappedFile& file : files_)
    if (file.data() <= begin && begin < file.data() + file.size()) file.forget(begin, bytes);
}

std::vector<float> Safetensors::floats(const std::string& name) const {
  const Entry& entry = at(name);
  if (!holds_floats(entry.dtype))
    fail(entry.file, ": tensor ", quoted(name), " holds ", entry.dtype, ", it should be F32, F16, BF16 or F64");
  std::vector<float> values(static_cast<size_t>(entry.count()));
  load_floats(entry.data, values.size(), entry.dtype, values.data());
  return values;
}

bool holds_floats(const std::string& dtype) {
  return dtype == "F32" || dtype == "F16" || dtype == "BF16" || dtype == "F64";
}

size_t safetensors_size_of(const std::string& dtype) {
  static const std::map<std::string, size_t> sizes = {
      {"BOOL", 1}, {"U8", 1},  {"I8", 1},   {"F8_E5M2", 1}, {"F8_E4M3", 1}, {"F8_E8M0", 1}, {"I16", 2}, {"U16", 2},
      {"F16", 2},  {"BF16", 2}, {"I32", 4}, {"U32", 4},     {"F32", 4},     {"I64", 8},     {"U64", 8}, {"F64", 8},
      {"C64", 8}};
  const auto found = sizes.find(dtype);
  return found == sizes.end() ? 0 : found->second;
}

namespace {

template <class Stored, class T, class Convert>
void convert(const char* source, size_t count, T* values, const Convert& to_float) {
  parallel_chunks(static_cast<int64_t>(count), 1 << 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      Stored stored;
      std::memcpy(&stored, source + static_cast<size_t>(i) * sizeof stored, sizeof stored);
      values[i] = T(to_float(stored));
    }
  });
}

}  // namespace

template <class T>
void load_floats(const char* source, size_t count, const std::string& dtype, T* values) {
  if (dtype == "F32") return convert<float>(source, count, values, [](float x) { return x; });
  if (dtype == "F16") return convert<uint16_t>(source, count, values, half_to_float);
  if (dtype == "BF16") return convert<bf16>(source, count, values, [](bf16 x) { return static_cast<float>(x); });
  if (dtype == "F64") return convert<double>(source, count, values, [](double x) { return static_cast<float>(x); });
  fail(dtype, " are no floating point numbers that are read: F32, F16, BF16 or F64");
}
template void load_floats(const char*, size_t, const std::string&, float*);
template void load_floats(const char*, size_t, const std::string&, bf16*);

}  // namespace engine
