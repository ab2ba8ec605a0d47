#include "models/huggingface_tensors.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <set>

#include "core/error.h"
#include "core/parallel.h"
#include "core/safetensors.h"

namespace engine {

namespace fs = std::filesystem;

namespace {

std::string with_layer(const char* pattern, int64_t layer) {
  std::string name = pattern;
  const size_t star = name.find('*');
  return star == std::string::npos ? name : name.replace(star, 1, std::to_string(layer));
}

struct Place {
  Parameter* parameter;
  std::string name;  // in the file
  bool transposed;
};

std::vector<Place> places_of(const HuggingFaceFormat& format, int64_t layers, Parameters& parameters) {
  std::vector<Place> places;
  for (const TensorNames& names : format.names) {
    const bool of_a_layer = std::strchr(names.ours, '*') != nullptr;
    for (int64_t layer = 0; layer < (of_a_layer ? layers : 1); ++layer) {
      Parameter& parameter = parameters.at(with_layer(names.ours, layer));
      places.push_back({&parameter, with_layer(names.theirs, layer), names.transposed});
    }
  }
  require(places.size() == parameters.all().size(), "the Hugging Face names of ", format.architecture,
          " do not name every parameter");
  return places;
}

std::vector<int64_t> shape_in_file(const Place& place) {
  const Shape& ours = place.parameter->shape;
  std::vector<int64_t> shape(ours.sizes.begin(), ours.sizes.begin() + ours.rank);
  if (place.transposed) std::swap(shape[0], shape[1]);
  return shape;
}

std::string text_of(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

// A matrix is transposed by tiles: read by rows of one side, written by rows of the other, some cache lines at a time.
constexpr int64_t tile_rows = 16, tile_cols = 256;

// The rows begin ... end-1 of to [cols, rows], the transpose of the stored matrix [rows, cols], as f32.
void load_transposed(const char* from, int64_t rows, int64_t cols, const std::string& dtype, int64_t begin, int64_t end,
                     float* to) {
  const int64_t element = static_cast<int64_t>(safetensors_size_of(dtype));
  float tile[tile_rows][tile_cols];
  for (int64_t col = begin; col < end; col += tile_cols) {
    const int64_t width = std::min(tile_cols, end - col);
    for (int64_t row = 0; row < rows; row += tile_rows) {
      const int64_t height = std::min(tile_rows, rows - row);
      for (int64_t i = 0; i < height; ++i)
        load_floats(from + ((row + i) * cols + col) * element, static_cast<size_t>(width), dtype, tile[i]);
      for (int64_t j = 0; j < width; ++j)
        for (int64_t i = 0; i < height; ++i) to[(col + j) * rows + row + i] = tile[i][j];
    }
  }
}

// The rows begin ... end-1 of the transpose of from [rows, cols], in dtype, to `to`. False: F16 cannot hold a value.
bool store_transposed(const float* from, int64_t rows, int64_t cols, const std::string& dtype, int64_t begin,
                      int64_t end, char* to) {
  const int64_t element = static_cast<int64_t>(safetensors_size_of(dtype));
  std::atomic<bool> good = true;
  parallel_chunks(end - begin, tile_rows, [&](int64_t first, int64_t last) {
    float tile[tile_rows][tile_cols];
    for (int64_t row = 0; row < rows; row += tile_cols) {
      const int64_t width = std::min(tile_cols, rows - row);
      for (int64_t i = 0; i < width; ++i)
        for (int64_t j = first; j < last; ++j) tile[j - first][i] = from[(row + i) * cols + begin + j];
      for (int64_t j = first; j < last; ++j)
        if (!try_store_floats(tile[j - first], static_cast<size_t>(width), dtype, to + (j * rows + row) * element))
          good = false;
    }
  });
  return good;
}

fs::path weights_file(const fs::path& folder) {
  for (const char* name : {"model.safetensors", "model.safetensors.index.json"})
    if (fs::exists(folder / name)) return folder / name;
  const char* const hint = fs::exists(folder / "pytorch_model.bin")
                               ? "; pytorch_model.bin is not read: save the model with safetensors"
                               : "";
  fail(folder.string(), ": has no model.safetensors and no model.safetensors.index.json", hint);
}

// A list of names with an end: "a, b, c, d and 7 more".
class Names {
 public:
  void add(const std::string& name) {
    if (++count_ <= 4) text_ += (count_ > 1 ? ", " : "") + name;
  }
  explicit operator bool() const { return count_ > 0; }
  std::string text() const { return count_ > 4 ? text_ + " and " + std::to_string(count_ - 4) + " more" : text_; }

 private:
  std::string text_;
  int count_ = 0;
};

void check_tied(const Safetensors& file, const std::string& name, const std::string& other, const std::string& path) {
  const Safetensors::Entry &a = file.at(name), &b = file.at(other);
  const bool is_same = a.shape == b.shape && (a.dtype == b.dtype ? std::memcmp(a.data, b.data, a.bytes) == 0
                                                                 : file.floats(name) == file.floats(other));
  if (!is_same) fail(path, ": tensor ", name, " differs from ", other, "; only tied embeddings are supported");
}

// Every tensor is there as it should be and nothing else is; returns those of `places`.
std::vector<const Safetensors::Entry*> check_tensors(const Safetensors& file, const std::string& path,
                                                     const std::vector<Place>& places,
                                                     const HuggingFaceFormat& format, int64_t layers) {
  const std::string prefix = format.prefix;
  const auto& entries = file.entries();
  const bool has_prefix =
      std::any_of(entries.begin(), entries.end(), [&](const auto& e) { return e.first.starts_with(prefix); });
  const auto in_file = [&](const std::string& name) {
    return !has_prefix && name.starts_with(prefix) ? name.substr(prefix.size()) : name;
  };
  Names missing, misshapen, unknown;
  std::set<std::string> known;
  std::vector<const Safetensors::Entry*> result;
  for (const Place& place : places) {
    const std::string name = in_file(place.name);
    known.insert(name);
    const auto found = entries.find(name);
    const std::vector<int64_t> wanted = shape_in_file(place);
    if (found == entries.end()) {
      missing.add(name + " " + text_of(wanted));
    } else if (found->second.shape != wanted) {
      misshapen.add(name + " is " + text_of(found->second.shape) + ", it should be " + text_of(wanted));
    } else if (!holds_floats(found->second.dtype)) {
      misshapen.add(name + " holds " + found->second.dtype + ", it should be F32, F16, BF16 or F64");
    } else {
      result.push_back(&found->second);
    }
  }
  for (const auto& buffer : format.buffers)
    for (int64_t layer = 0; layer < layers; ++layer) known.insert(in_file(with_layer(buffer, layer)));
  for (const auto& tied : format.tied) known.insert(in_file(tied.name));
  for (const auto& [name, entry] : entries)
    if (!known.contains(name)) unknown.add(name);
  std::string text;
  const auto report = [&](const char* what, const Names& list) {
    if (list) text += (text.empty() ? "" : "; ") + std::string(what) + list.text();
  };
  report("missing tensors: ", missing);
  report("", misshapen);
  report("tensors that this model does not have: ", unknown);
  if (!text.empty()) fail(path, ": ", text);
  for (const auto& tied : format.tied)
    if (entries.contains(in_file(tied.name))) check_tied(file, in_file(tied.name), in_file(tied.same_as), path);
  return result;
}

}  // namespace

void load_weights(const fs::path& folder, const HuggingFaceFormat& format, int64_t layers, Parameters& parameters,
                  Memory& memory, bool with_gradients) {
  const fs::path path = weights_file(folder);
  const Safetensors file = Safetensors::open(path);
  const std::vector<Place> places = places_of(format, layers, parameters);
  const std::vector<const Safetensors::Entry*> entries = check_tensors(file, path.string(), places, format, layers);
  parameters.allocate(memory, with_gradients);

  // All tensors in one loop over pieces where the host can write them; else one after another, by way of the host.
  const bool is_host = &memory == &host_memory();
  struct Piece {
    size_t place;
    int64_t begin, end;  // elements, or rows of what is transposed
    float* to;           // where the parameter begins
  };
  std::vector<Piece> pieces;
  std::vector<float> staged;
  const auto load_pieces = [&] {
    parallel_for(static_cast<int64_t>(pieces.size()), [&](int64_t i) {
      const auto& [place, begin, end, to] = pieces[static_cast<size_t>(i)];
      const Shape& shape = places[place].parameter->shape;
      const Safetensors::Entry& entry = *entries[place];
      if (places[place].transposed) {
        load_transposed(entry.data, shape[1], shape[0], entry.dtype, begin, end, to);
      } else {
        const size_t element = safetensors_size_of(entry.dtype), first = static_cast<size_t>(begin);
        load_floats(entry.data + first * element, static_cast<size_t>(end - begin), entry.dtype, to + begin);
      }
    });
    pieces.clear();
  };
  for (size_t place = 0; place < places.size(); ++place) {
    const Tensor& value = places[place].parameter->value;
    if (!is_host) staged.resize(static_cast<size_t>(value.count()));
    const int64_t count = places[place].transposed ? value.shape[0] : value.count();
    const int64_t grain = places[place].transposed ? tile_cols : int64_t{1} << 20;
    for (int64_t begin = 0; begin < count; begin += grain)
      pieces.push_back({place, begin, std::min(count, begin + grain), is_host ? value.as<float>() : staged.data()});
    if (is_host) continue;
    load_pieces();
    memory.copy_in(value.data, staged.data(), value.bytes());
  }
  load_pieces();
}

void save_weights(const fs::path& folder, const HuggingFaceFormat& format, int64_t layers, Parameters& parameters,
                  Memory& memory, const std::string& dtype) {
  std::vector<float> staged;  // a parameter of a device that the host cannot read
  const Parameter* in_staged = nullptr;
  const auto on_host = [&](const Parameter& parameter) -> const float* {
    if (&memory == &host_memory()) return parameter.value.as<float>();
    if (in_staged != &parameter) {
      staged.resize(static_cast<size_t>(parameter.value.count()));
      memory.copy_out(staged.data(), parameter.value.data, parameter.value.bytes());
      in_staged = &parameter;
    }
    return staged.data();
  };
  std::vector<SafetensorsItem> items;
  for (const Place& place : places_of(format, layers, parameters)) {
    const auto fill_rows = [&, place](int64_t begin, int64_t end, char* to) {
      const Shape& shape = place.parameter->shape;
      const float* values = on_host(*place.parameter);
      if (place.transposed) {
        const bool good = store_transposed(values, shape[0], shape[1], dtype, begin, end, to);
        require(good, values_too_large_for_half);
        return;
      }
      const int64_t row = shape.count() / shape[0];
      store_floats(values + begin * row, static_cast<size_t>((end - begin) * row), dtype, to);
    };
    items.push_back({place.name, dtype, shape_in_file(place), nullptr, fill_rows});
  }
  write_safetensors(folder / "model.safetensors", items);
}

}  // namespace engine
