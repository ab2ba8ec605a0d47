// The folder of a golden model, to be changed before it is loaded.
#pragma once

#include <cstring>
#include <nlohmann/json.hpp>

#include "core/files.h"
#include "core/safetensors.h"
#include "tests/temporary.h"

namespace engine::test {

struct ChangedFolder {
  TemporaryFolder folder;
  nlohmann::json config;
  std::vector<SafetensorsItem> tensors;

  explicit ChangedFolder(const std::filesystem::path& model) {
    config = nlohmann::json::parse(read_text(model / "config.json"));
    const Safetensors file = Safetensors::open(model / "model.safetensors");
    for (const auto& [tensor, entry] : file.entries())
      add(tensor, entry.shape, std::string(entry.data, entry.bytes), entry.dtype);
  }
  void add(const std::string& name, const std::vector<int64_t>& shape, const std::string& bytes,
           const std::string& dtype = "F32") {
    tensors.push_back({name, dtype, shape, [bytes](char* to) { std::memcpy(to, bytes.data(), bytes.size()); }});
  }
  void rename(const std::string& from, const std::string& to) {
    for (SafetensorsItem& tensor : tensors)
      if (const size_t at = tensor.name.find(from); at != std::string::npos) tensor.name.replace(at, from.size(), to);
  }
  void remove(const std::string& part) {
    std::erase_if(tensors, [&](const SafetensorsItem& t) { return t.name.find(part) != std::string::npos; });
  }
  const std::filesystem::path& write() const {
    write_file(folder.path() / "config.json", config.dump());
    write_safetensors(folder.path() / "model.safetensors", tensors);
    return folder.path();
  }
};

}  // namespace engine::test
