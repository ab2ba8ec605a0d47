#include "tasks/gpt/token_file.h"

#include <array>
#include <cstring>
#include <fstream>
#include <map>
#include <optional>
#include <ostream>

#include "core/error.h"
#include "tasks/gpt/documents.h"

namespace engine {

namespace fs = std::filesystem;

namespace {

constexpr std::array<char, 8> kMagic{'E', 'N', 'G', 'T', 'O', 'K', 'S', '1'};

struct Trailer {
  uint64_t count, width, source_bytes;
  std::array<char, 8> magic;
};
static_assert(sizeof(Trailer) == 32);

// What the ids depend on, a line each.
std::string source_of(const std::vector<std::string>& files, const Tokenizer& tokenizer, const std::string& digest) {
  std::string source = "tokenizer " + digest + " vocabulary " + std::to_string(tokenizer.vocab_size()) + '\n';
  for (const std::string& file : files) {
    std::error_code error;
    const fs::path path = fs::absolute(file);
    const auto size = fs::file_size(path, error);
    if (error) fail("cannot read ", file, ": ", error.message());
    const auto changed = fs::last_write_time(path, error).time_since_epoch().count();
    if (error) fail("cannot read ", file, ": ", error.message());
    source += path.lexically_normal().string() + ' ' + std::to_string(size) + ' ' + std::to_string(changed) + '\n';
  }
  return source;
}

std::optional<Trailer> trailer_of(const MappedFile& file) {
  Trailer trailer;
  if (file.size() < sizeof trailer) return {};
  std::memcpy(&trailer, file.data() + file.size() - sizeof trailer, sizeof trailer);
  const uint64_t rest = file.size() - sizeof trailer;
  const bool whole = trailer.magic == kMagic && (trailer.width == 2 || trailer.width == 4) &&
                     trailer.source_bytes <= rest && trailer.count <= rest / trailer.width &&
                     trailer.count * trailer.width + trailer.source_bytes == rest;
  if (!whole) return {};
  return trailer;
}

bool is_current(const fs::path& cache, const std::string& source) {
  if (!fs::is_regular_file(cache)) return false;
  const MappedFile file(cache);
  const auto trailer = trailer_of(file);
  if (!trailer || trailer->source_bytes != source.size()) return false;
  return std::string_view(file.data() + trailer->count * trailer->width, source.size()) == source;
}

template <class Id>
void write_ids(std::ostream& out, const std::vector<int32_t>& ids, std::vector<Id>& narrow) {
  narrow.assign(ids.begin(), ids.end());
  out.write(reinterpret_cast<const char*>(narrow.data()), static_cast<std::streamsize>(narrow.size() * sizeof(Id)));
}

void build(std::ostream& out, const std::vector<std::string>& files, const Tokenizer& tokenizer,
           const std::string& source) {
  Trailer trailer{
      .count = 0, .width = tokenizer.vocab_size() <= 65536 ? 2u : 4u, .source_bytes = source.size(), .magic = kMagic};
  std::vector<int32_t> ids;
  std::vector<uint16_t> narrow;
  for_each_piece(files, [&](std::string_view text, bool ends_document) {
    ids.clear();
    tokenizer.encode(text, ids);
    if (ends_document && tokenizer.end_token() >= 0) ids.push_back(tokenizer.end_token());
    if (trailer.width == 2)
      write_ids(out, ids, narrow);
    else
      out.write(reinterpret_cast<const char*>(ids.data()), static_cast<std::streamsize>(ids.size() * sizeof(int32_t)));
    trailer.count += ids.size();
  });
  out.write(source.data(), static_cast<std::streamsize>(source.size()));
  out.write(reinterpret_cast<const char*>(&trailer), sizeof trailer);
}

fs::path made(const fs::path& cache, const std::vector<std::string>& files, const Tokenizer& tokenizer,
              const std::string& digest) {
  const std::string source = source_of(files, tokenizer, digest);
  if (is_current(cache, source)) return cache;
  std::error_code error;
  fs::create_directories(cache.parent_path(), error);
  if (error) fail("cannot make the folder ", cache.parent_path().string(), ": ", error.message());
  write_file(cache, [&](std::ostream& out) { build(out, files, tokenizer, source); });
  return cache;
}

}  // namespace

TokenFile::TokenFile(const fs::path& cache, const std::vector<std::string>& files, const Tokenizer& tokenizer,
                     const std::string& digest)
    : file_(made(cache, files, tokenizer, digest)), vocab_size_(tokenizer.vocab_size()), path_(cache.string()) {
  const auto trailer = trailer_of(file_);
  require(trailer.has_value(), path_, ": was changed by another program: remove it, and it is made again");
  count_ = static_cast<int64_t>(trailer->count);
  width_ = static_cast<int64_t>(trailer->width);
}

void TokenFile::append(int64_t begin, int64_t count, std::vector<int32_t>& ids) const {
  require(0 <= begin && 0 <= count && begin + count <= count_, path_, ": tokens ", begin, " to ", begin + count, " of ",
          count_);
  for (int64_t i = begin; i < begin + count; ++i) {
    uint32_t id = 0;
    std::memcpy(&id, file_.data() + i * width_, static_cast<size_t>(width_));
    require(id < static_cast<uint32_t>(vocab_size_), path_, ": token ", i, " is ", id, " of a vocabulary of ",
            vocab_size_, ": remove the file, and it is made again");
    ids.push_back(static_cast<int32_t>(id));
  }
}

std::string digest_of(const Tokenizer& tokenizer, const fs::path& folder) {
  write_folder(folder, [&](const fs::path& path) { tokenizer.save(path); });
  std::map<std::string, std::string> contents;  // in order of their names
  for (const auto& entry : fs::directory_iterator(folder))
    contents[entry.path().filename().string()] = read_text(entry.path());
  uint64_t hash = 0xcbf29ce484222325u;  // FNV-1a
  for (const auto& [name, content] : contents)
    for (const std::string* text : {&name, &content})
      for (char c : *text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  std::array<char, 17> text{};
  std::snprintf(text.data(), text.size(), "%016llx", static_cast<unsigned long long>(hash));
  return text.data();
}

}  // namespace engine
