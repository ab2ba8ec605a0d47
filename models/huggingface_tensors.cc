#include "models/huggingface_tensors.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "core/error.h"
#include "core/parallel.h"
#include "core/safetensors.h"
#include "models/tensor_loader.h"
#include "models/tensor_places.h"
#include "models/transposed_tensors.h"

namespace engine {

namespace fs = std::filesystem;
using Counting = HuggingFaceFormat::Tied::Counting;

namespace {

std::string part_of(const Parameter& parameter) {
  const std::string part = parameter.name.substr(0, parameter.name.find('.'));
  return parts_beside_trunk.contains(part) ? part : "trunk";
}

std::string text_of(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

fs::path weights_file(const fs::path& folder) {
  for (const char* name : {"model.safetensors", "model.safetensors.index.json"})
    if (fs::exists(folder / name)) return folder / name;
  // Names what lies there in place of them.
  std::string others;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    const auto ends = [&](const char* ending) { return name.ends_with(ending); };
    const bool has_weights = ends(".safetensors") || ends(".bin") || ends(".bin.index.json") || ends(".h5") ||
                             ends(".msgpack") || ends(".pt") || ends(".pth") || ends(".ckpt") || ends(".gguf") ||
                             ends(".onnx");
    if (has_weights && (others.empty() || name < others)) others = name;
  }
  fail(folder.string(), ": has no model.safetensors and no model.safetensors.index.json",
       others.empty()                     ? ""
       : others.ends_with(".safetensors") ? "; " + others + " has a name by which transformers does not find it"
                                          : "; " + others + " is not read: load it with transformers, and save it " +
                                                "with save_pretrained, which writes safetensors");
}

// Lists the first names and counts the others: "a, b, c, d and 7 more".
class NameList {
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

bool is_same(const Safetensors& file, const std::string& name, const std::string& other) {
  const Safetensors::Entry &a = file.at(name), &b = file.at(other);
  const bool same = a.shape == b.shape && (a.dtype == b.dtype ? std::memcmp(a.data, b.data, a.bytes) == 0
                                                              : file.floats(name) == file.floats(other));
  for (const Safetensors::Entry* entry : {&a, &b}) file.forget(entry->data, entry->bytes);
  return same;
}

// Finds names in a file, which may leave out the format's prefix and may use the old names of layernorms' gains and
// biases.
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

// Says why an entry does not fit a place; empty: it does.
std::string misfit(const std::string& name, const Safetensors::Entry& entry, const std::vector<int64_t>& wanted) {
  if (entry.shape != wanted)
    return name + " is " + text_of(entry.shape) + ", it should be " + text_of(wanted) + " by config.json";
  if (!holds_floats(entry.dtype)) return name + " holds " + entry.dtype + ", it should be F32, F16, BF16 or F64";
  return "";
}

// The tensors that a file holds for the model's places.
struct Sources {
  std::vector<Place> places;
  std::vector<const Safetensors::Entry*> entries;  // each place's; null where the parameter is new
};

// Matches a file's tensors with a model's parameters.
class TensorCheck {
 public:
  TensorCheck(const Safetensors& file, const std::string& path, const HuggingFaceFormat& format,
              Parameters& parameters, int64_t heads)
      : file_(file), entries_(file.entries()), path_(path), format_(format), parameters_(parameters), heads_(heads),
        names_(file, format) {}

  // Every tensor of the model is there as it should be, or new. The report names those that the model does not have.
  Sources run(const NewParts& new_parts, LoadReport& report) {
    Sources sources{places_of(format_, parameters_, heads_), {}};
    for (Place& place : sources.places)
      if (lacks_rows(place, new_parts)) place.shape.sizes[0] = new_parts.known_tokens;
    const std::set<std::string> news = new_parts_of(sources.places, new_parts, report);
    NameList missing, misshapen;
    for (const Place& place : sources.places) {
      sources.entries.push_back(nullptr);
      if (news.contains(part_of(*place.parameter))) continue;
      const std::string name = source_of(place.name);
      known_.insert(name);
      const auto found = entries_.find(name);
      if (found == entries_.end()) {
        missing.add(name + " " + text_of(shape_in_file(place)));
      } else if (const std::string wrong = misfit(name, found->second, shape_in_file(place)); !wrong.empty()) {
        misshapen.add(wrong);
      } else {
        sources.entries.back() = &found->second;
      }
    }
    find_left_out(report);
    refuse(missing, misshapen, report);
    check_tied_tensors();
    return sources;
  }

 private:
  // Whether the file has the place's table or bias of a smaller vocabulary than the model's.
  bool lacks_rows(const Place& place, const NewParts& new_parts) const {
    const auto found = entries_.find(source_of(place.name));
    return new_parts.tokens > new_parts.known_tokens && !place.transposed && place.shape.sizes[0] == new_parts.tokens &&
           found != entries_.end() && !found->second.shape.empty() &&
           found->second.shape[0] == new_parts.known_tokens;
  }

  // Whether the model has the parameter of a tied tensor, and the file has the tensor.
  bool matters(const HuggingFaceFormat::Tied& tied) const {
    return parameters_.find(tied.parameter) && !parameters_.find(tied.unless) &&
           entries_.contains(names_.of(tied.name));
  }

  // Returns the name in the file of a tensor. Where the file saved only the one that is tied to it, or that one counts,
  // it is that one's.
  std::string source_of(const std::string& wanted) const {
    const std::string name = names_.of(wanted);
    const bool is_there = entries_.contains(name);
    for (const auto& tied : format_.tied)
      if (wanted == tied.same_as && matters(tied) && (!is_there || tied.counts == Counting::this_one))
        return names_.of(tied.name);
    return name;
  }

  // Chooses the parts of the model that are initialised, and reports the others as loaded.
  std::set<std::string> new_parts_of(const std::vector<Place>& places, const NewParts& new_parts,
                                     LoadReport& report) const {
    struct Part {
      bool is_there = false, is_misshapen = false;
    };
    std::map<std::string, Part> parts;
    for (const Place& place : places) {
      Part& part = parts[part_of(*place.parameter)];
      const auto found = entries_.find(source_of(place.name));
      if (found == entries_.end()) continue;
      (found->second.shape == shape_in_file(place) ? part.is_there : part.is_misshapen) = true;
    }
    std::set<std::string> news;
    for (const auto& [name, part] : parts) {
      const bool is_new = new_parts.always.contains(name) ||
                          (new_parts.allowed.contains(name) && (part.is_misshapen || !part.is_there));
      (is_new ? report.fresh : report.loaded).push_back(name);
      if (is_new) news.insert(name);
    }
    return news;
  }

  // Reports the tensors that are neither the model's, nor tied to one of them, nor buffers.
  void find_left_out(LoadReport& report) {
    for (const char* pattern : format_.buffers)
      for (int64_t layer = 0; layer < parameters_.layers(); ++layer)
        known_.insert(names_.of(with_layer(pattern, layer)));
    if (format_.logits_bias) known_.insert(format_.logits_bias);
    for (const auto& tied : format_.tied)
      if (matters(tied)) known_.insert({names_.of(tied.name), names_.of(tied.same_as)});
    for (const auto& [name, entry] : entries_)
      if (!known_.contains(name)) report.left_out.push_back(name);
  }

  // A name that the model does not have often explains one that is missing.
  void refuse(const NameList& missing, const NameList& misshapen, const LoadReport& report) const {
    if (!missing && !misshapen) return;
    NameList unknown;
    for (const std::string& name : report.left_out) unknown.add(name);
    std::string text;
    const auto add = [&](const char* what, const NameList& list) {
      if (list) text += (text.empty() ? "" : "; ") + std::string(what) + list.text();
    };
    add("missing tensors: ", missing);
    add("", misshapen);
    add("tensors that this model does not have: ", unknown);
    fail(path_, ": ", text);
  }

  void check_tied_tensors() const {
    for (const auto& tied : format_.tied) {
      if (!matters(tied) || *tied.unless || tied.counts != Counting::neither) continue;
      const std::string name = names_.of(tied.name), other = source_of(tied.same_as);
      if (name != other && !is_same(file_, name, other))
        fail(path_, ": tensor ", name, " differs from ", other, ", but they are one in transformers");
    }
  }

  const Safetensors& file_;
  const std::map<std::string, Safetensors::Entry>& entries_;
  const std::string& path_;
  const HuggingFaceFormat& format_;
  Parameters& parameters_;
  int64_t heads_;
  NamesInFile names_;
  std::set<std::string> known_;
};

}  // namespace

bool has_tensor(const fs::path& folder, const HuggingFaceFormat& format, const std::string& name) {
  const Safetensors file = Safetensors::open(weights_file(folder));
  return file.entries().contains(NamesInFile(file, format).of(name));
}

bool has_untied_tensors(const fs::path& folder, const HuggingFaceFormat& format) {
  const Safetensors file = Safetensors::open(weights_file(folder));
  const NamesInFile names(file, format);
  std::map<std::string, std::string> found;  // the first tensor of each group of tied ones
  for (const auto& tied : format.tied)
    for (const std::string& name : {names.of(tied.same_as), names.of(tied.name)}) {
      if (!*tied.unless || !file.entries().contains(name)) continue;
      const std::string& first = found.emplace(tied.same_as, name).first->second;
      if (first != name && !is_same(file, first, name)) return true;
    }
  return false;
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

LoadReport load_weights(const fs::path& folder, const HuggingFaceFormat& format, const ModelConfig& config,
                        Parameters& parameters, Memory& memory, bool with_gradients, DType matrices,
                        const NewParts& new_parts) {
  const fs::path path = weights_file(folder);
  const Safetensors file = Safetensors::open(path);
  LoadReport report;
  const std::string path_text = path.string();
  TensorCheck check(file, path_text, format, parameters, config.num_heads);
  const auto [places, entries] = check.run(new_parts, report);
  parameters.allocate(memory, with_gradients, matrices);
  for (Parameter& parameter : parameters.all())
    if (std::find(report.fresh.begin(), report.fresh.end(), part_of(parameter)) != report.fresh.end())
      parameters.initialise(parameter, new_parts.seed);
  for (const Place& place : places)
    if (place.shape.count() < place.parameter->shape.count() && place.shape.sizes[0] == new_parts.known_tokens)
      parameters.initialise(*place.parameter, new_parts.seed);

  TensorLoader loader(file, memory, parameters);
  for (size_t i = 0; i < places.size(); ++i)
    if (entries[i]) loader.add(places[i], *entries[i]);
  loader.finish();
  parameters.values_changed(/*copies_too=*/true);
  return report;
}

void save_weights(const fs::path& folder, const HuggingFaceFormat& format, const ModelConfig& config,
                  Parameters& parameters, const std::string& dtype) {
  for (const Parameter& parameter : parameters.all())
    require(parameter.value.dtype == DType::f32, "a model that was loaded with matrices in bf16 is not saved");
  Memory& memory = parameters.memory();
  std::vector<float> staged;  // copy of a device's parameter
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
  std::vector<Place> places = places_of(format, parameters, config.num_heads);
  std::set<std::string> copies;
  for (const auto& tied : format.tied)
    for (size_t i = 0, count = places.size(); i < count; ++i)
      if (tied.counts == Counting::the_other && places[i].name == tied.same_as &&
          places[i].parameter->name == tied.parameter && copies.insert(tied.name).second)
        places.emplace_back(places[i]).name = tied.name;
  std::vector<SafetensorsItem> items;
  for (const Place& place : places) {
    const auto fill_rows = [&, place](int64_t begin, int64_t end, char* to) {
      const float* values = on_host(*place.parameter) + place.first;
      if (place.transposed) {
        const bool good = store_transposed(values, place.shape[0], place.shape[1], dtype, begin, end, to);
        require(good, values_too_large_for_half);
        return;
      }
      const int64_t row = place.shape.count() / place.shape[0], together = place.rows_together();
      const auto row_bytes = row * static_cast<int64_t>(safetensors_size_of(dtype));
      for (int64_t first = begin, last; first < end; first = last) {
        last = std::min(end, (first / together + 1) * together);
        store_floats(values + place.our_row(first) * row, static_cast<size_t>((last - first) * row), dtype,
                     to + (first - begin) * row_bytes);
      }
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
