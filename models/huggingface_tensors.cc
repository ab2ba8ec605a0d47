#include "models/huggingface_tensors.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <map>

#include "core/error.h"
#include "core/parallel.h"
#include "core/safetensors.h"

namespace engine {

namespace fs = std::filesystem;

namespace {

std::string with_layer(std::string name, int64_t layer) {
  const size_t star = name.find('*');
  return star == std::string::npos ? name : name.replace(star, 1, std::to_string(layer));
}

// A tensor of the file: rows of a parameter, all of them mostly.
struct Place {
  Parameter* parameter;
  std::string name;  // in the file, with the prefix
  bool transposed;
  Shape shape;         // of these rows
  int64_t first = 0;   // element of the parameter
};

std::string part_of(const Parameter& parameter) {
  const std::string part = parameter.name.substr(0, parameter.name.find('.'));
  return part == "pooler" || part == "masked_head" || part == "classifier" ? part : "trunk";
}

// Of the parameters that the model has; a table names those of every head.
std::vector<Place> places_of(const HuggingFaceFormat& format, Parameters& parameters) {
  const int64_t layers = parameters.layers();
  std::vector<Place> places;
  int64_t named = 0;
  for (const TensorNames& names : format.names) {
    const bool of_a_layer = names.ours.find('*') != std::string::npos;
    for (int64_t layer = 0; layer < (of_a_layer ? layers : 1); ++layer) {
      Parameter* const parameter = parameters.find(with_layer(names.ours, layer));
      if (!parameter) continue;
      Place place{parameter, with_layer(names.theirs, layer), names.transposed, parameter->shape};
      place.shape.sizes[0] /= names.parts;
      place.first = names.part * place.shape.count();
      named += place.shape.count();
      places.push_back(std::move(place));
    }
  }
  require(named == parameters.count(), "the Hugging Face names of ", format.architecture,
          " do not name every parameter");
  return places;
}

std::vector<int64_t> shape_in_file(const Place& place) {
  std::vector<int64_t> shape(place.shape.sizes.begin(), place.shape.sizes.begin() + place.shape.rank);
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

// The names of a file: with or without the format's prefix, layernorms' gains and biases maybe by their old names.
class NamesInFile {
 public:
  NamesInFile(const Safetensors& file, const HuggingFaceFormat& format) : entries_(file.entries()) {
    const std::string prefix = format.prefix;
    const bool has_prefix =
        std::any_of(entries_.begin(), entries_.end(), [&](const auto& e) { return e.first.starts_with(prefix); });
    if (!has_prefix) left_away_ = prefix;
  }
  std::string of(const std::string& name) const {
    const std::string shorter = name.starts_with(left_away_) ? name.substr(left_away_.size()) : name;
    if (entries_.contains(shorter)) return shorter;
    for (const auto& [now, before] :
         {std::pair{"LayerNorm.weight", "LayerNorm.gamma"}, {"LayerNorm.bias", "LayerNorm.beta"}})
      if (shorter.ends_with(now)) {
        const std::string older = shorter.substr(0, shorter.size() - std::strlen(now)) + before;
        if (entries_.contains(older)) return older;
      }
    return shorter;
  }

 private:
  const std::map<std::string, Safetensors::Entry>& entries_;
  std::string left_away_;
};

// What is wrong with an entry for a place; empty: nothing.
std::string misfit(const std::string& name, const Safetensors::Entry& entry, const std::vector<int64_t>& wanted) {
  if (entry.shape != wanted)
    return name + " is " + text_of(entry.shape) + ", it should be " + text_of(wanted) + " by config.json";
  if (!holds_floats(entry.dtype)) return name + " holds " + entry.dtype + ", it should be F32, F16, BF16 or F64";
  return "";
}

// What a file holds for the model's places.
struct Sources {
  std::vector<Place> places;
  std::vector<const Safetensors::Entry*> entries;  // of each place; null where the parameter is new
};

// Every tensor is there as it should be, or new, and nothing else is; what the file holds for other heads is left out.
Sources check_tensors(const Safetensors& file, const std::string& path, const HuggingFaceFormat& format,
                      Parameters& parameters, const NewParts& new_parts, LoadReport& report) {
  const auto& entries = file.entries();
  const NamesInFile in_file(file, format);
  Sources sources{places_of(format, parameters), {}};
  struct Part {
    bool is_there = false, is_misshapen = false;
  };
  std::map<std::string, Part> parts;
  for (const Place& place : sources.places) {
    Part& part = parts[part_of(*place.parameter)];
    const auto found = entries.find(in_file.of(place.name));
    if (found == entries.end()) continue;
    (found->second.shape == shape_in_file(place) ? part.is_there : part.is_misshapen) = true;
  }
  std::set<std::string> news;
  for (const auto& [name, part] : parts) {
    const bool is_new = new_parts.always.contains(name) ||
                        (new_parts.allowed.contains(name) && (part.is_misshapen || !part.is_there));
    (is_new ? report.fresh : report.loaded).push_back(name);
    if (is_new) news.insert(name);
  }

  Names missing, misshapen, unknown;
  std::set<std::string> known;
  for (const Place& place : sources.places) {
    sources.entries.push_back(nullptr);
    if (news.contains(part_of(*place.parameter))) continue;
    const std::string name = in_file.of(place.name);
    known.insert(name);
    const auto found = entries.find(name);
    if (found == entries.end()) {
      missing.add(name + " " + text_of(shape_in_file(place)));
    } else if (const std::string wrong = misfit(name, found->second, shape_in_file(place)); !wrong.empty()) {
      misshapen.add(wrong);
    } else {
      sources.entries.back() = &found->second;
    }
  }
  const auto know = [&](const char* pattern) {
    for (int64_t layer = 0; layer < parameters.layers(); ++layer) known.insert(in_file.of(with_layer(pattern, layer)));
  };
  std::for_each(format.buffers.begin(), format.buffers.end(), know);
  if (format.logits_bias) known.insert(format.logits_bias);
  const auto matters = [&](const auto& tied) {
    return parameters.find(tied.parameter) && entries.contains(in_file.of(tied.name));
  };
  for (const auto& tied : format.tied)
    if (matters(tied)) known.insert(in_file.of(tied.name));
  std::set<std::string> of_other_heads;
  const auto leave_out = [&](const std::string& name) { of_other_heads.insert(in_file.of(name)); };
  std::for_each(format.other_heads.begin(), format.other_heads.end(), leave_out);
  for (const auto& tied : format.tied) leave_out(tied.name);
  for (const TensorNames& names : format.names)
    if (names.ours.find('*') == std::string::npos) leave_out(names.theirs);
  for (const auto& [name, entry] : entries) {
    if (known.contains(name)) continue;
    if (of_other_heads.contains(name)) report.left_out.push_back(name);
    else unknown.add(name);
  }

  std::string text;
  const auto add = [&](const char* what, const Names& list) {
    if (list) text += (text.empty() ? "" : "; ") + std::string(what) + list.text();
  };
  add("missing tensors: ", missing);
  add("", misshapen);
  add("tensors that this model does not have: ", unknown);
  if (!text.empty()) fail(path, ": ", text);
  for (const auto& tied : format.tied)
    if (matters(tied)) check_tied(file, in_file.of(tied.name), in_file.of(tied.same_as), path);
  return sources;
}

}  // namespace

bool has_tensor(const fs::path& folder, const HuggingFaceFormat& format, const std::string& name) {
  const Safetensors file = Safetensors::open(weights_file(folder));
  return file.entries().contains(NamesInFile(file, format).of(name));
}

std::vector<float> read_logits_bias(const fs::path& folder, const HuggingFaceFormat& format, int64_t vocab_size) {
  if (!format.logits_bias) return {};
  const fs::path path = weights_file(folder);
  const Safetensors file = Safetensors::open(path);
  const auto found = file.entries().find(format.logits_bias);
  if (found == file.entries().end()) return {};
  const std::string wrong = misfit(format.logits_bias, found->second, {1, vocab_size});
  if (!wrong.empty()) fail(path.string(), ": ", wrong);
  std::vector<float> bias = file.floats(format.logits_bias);
  if (std::all_of(bias.begin(), bias.end(), [](float value) { return value == 0; })) bias.clear();
  return bias;
}

const HuggingFaceFormat::Class& class_of(const HuggingFaceFormat& format, HeadKind head) {
  for (const auto& known : format.classes)
    if (known.head == head) return known;
  fail("models of architecture \"", format.architecture, "\" have no such head");
}

LoadReport load_weights(const fs::path& folder, const HuggingFaceFormat& format, Parameters& parameters, Memory& memory,
                        bool with_gradients, const NewParts& new_parts) {
  const fs::path path = weights_file(folder);
  const Safetensors file = Safetensors::open(path);
  LoadReport report;
  const auto [places, entries] =
      check_tensors(file, path.string(), format, parameters, new_parts, report);
  parameters.allocate(memory, with_gradients);
  for (Parameter& parameter : parameters.all())
    if (std::find(report.fresh.begin(), report.fresh.end(), part_of(parameter)) != report.fresh.end())
      parameters.initialise(parameter, new_parts.seed);

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
      const Shape& shape = places[place].shape;
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
  for (size_t i = 0; i < places.size(); ++i) {
    if (!entries[i]) continue;
    const Place& place = places[i];
    const int64_t elements = place.shape.count();
    float* const value = place.parameter->value.as<float>() + place.first;
    if (!is_host) staged.resize(static_cast<size_t>(elements));
    const int64_t count = place.transposed ? place.shape[0] : elements;
    const int64_t grain = place.transposed ? tile_cols : int64_t{1} << 20;
    for (int64_t begin = 0; begin < count; begin += grain)
      pieces.push_back({i, begin, std::min(count, begin + grain), is_host ? value : staged.data()});
    if (is_host) continue;
    load_pieces();
    parameters.write(*place.parameter, place.first, elements, staged.data());
  }
  load_pieces();
  parameters.values_changed(/*copies_too=*/true);
  return report;
}

void save_weights(const fs::path& folder, const HuggingFaceFormat& format, const ModelConfig& config,
                  Parameters& parameters, const std::string& dtype) {
  Memory& memory = parameters.memory();
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
  const std::string left_away = class_of(format, config.head).has_prefix ? "" : format.prefix;
  std::vector<SafetensorsItem> items;
  for (const Place& place : places_of(format, parameters)) {
    const auto fill_rows = [&, place](int64_t begin, int64_t end, char* to) {
      const float* values = on_host(*place.parameter) + place.first;
      if (place.transposed) {
        const bool good = store_transposed(values, place.shape[0], place.shape[1], dtype, begin, end, to);
        require(good, values_too_large_for_half);
        return;
      }
      const int64_t row = place.shape.count() / place.shape[0];
      store_floats(values + begin * row, static_cast<size_t>((end - begin) * row), dtype, to);
    };
    const std::string name = place.name.starts_with(left_away) ? place.name.substr(left_away.size()) : place.name;
    items.push_back({name, dtype, shape_in_file(place), nullptr, fill_rows});
  }
  std::vector<float> bias;
  if (format.logits_bias) {
    ModelConfig copy = config;
    bias = format.logits_bias_of(copy);
    bias.resize(static_cast<size_t>(config.vocab_size));
    const auto fill = [&](char* to) { store_floats(bias.data(), bias.size(), dtype, to); };
    items.push_back({format.logits_bias, dtype, {1, config.vocab_size}, fill});
  }
  write_safetensors(folder / "model.safetensors", items);
}

}  // namespace engine
