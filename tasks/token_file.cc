#include "tasks/token_file.h"

#include <array>
#include <cstring>
#include <fstream>
#include <iostream>
#include <optional>
#include <ostream>

#include "core/error.h"
#include "core/file_bytes.h"
#include "core/folders.h"
#include "core/hash.h"
#include "tasks/documents.h"
#include "tasks/reading_report.h"

namespace engine {

namespace fs = std::filesystem;

namespace {

constexpr std::array<char, 8> magic{'E', 'N', 'G', 'T', 'O', 'K', 'S', '2'};

struct Trailer {
  uint64_t count, width, source_bytes, hash;
  std::array<char, 8> magic;
};
static_assert(sizeof(Trailer) == 40);

// Everything that the ids depend on, a line each.
std::string source_of(const std::vector<std::string>& files, const Tokenizer& tokenizer, const TokenMaker& maker) {
  std::string source = "tokenizer " + hexadecimal(tokenizer.digest()) + '\n';
  if (!maker.name.empty()) source += maker.name + '\n';
  for (const std::string& file : files) {
    require_regular(file);
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
  const bool whole = trailer.magic == magic && (trailer.width == 2 || trailer.width == 4) &&
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

// Names the files in a line for the user.
std::string text_of(const std::vector<std::string>& files) {
  return files.front() + (files.size() > 1 ? " and the other files" : "");
}

void build(std::ostream& out, const TokenMaker& maker, int32_t vocab_size, const std::string& source,
           ReadingReport& report) {
  Trailer trailer{.count = 0,
                  .width = vocab_size <= 65535 ? 2u : 4u,  // one value is left for breaks
                  .source_bytes = source.size(),
                  .hash = empty_hash,
                  .magic = magic};
  const auto write = [&](const auto& ids) {
    const std::string_view bytes(reinterpret_cast<const char*>(ids.data()), ids.size() * sizeof ids[0]);
    trailer.hash = hash_of(bytes, trailer.hash);
    trailer.count += ids.size();
    out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  };
  std::vector<uint16_t> narrow;
  maker.make([&](std::span<const int32_t> ids) {
    report.add(ids.size());
    if (trailer.width == 4) return write(ids);
    narrow.assign(ids.begin(), ids.end());
    write(narrow);
  });
  out.write(source.data(), static_cast<std::streamsize>(source.size()));
  out.write(reinterpret_cast<const char*>(&trailer), sizeof trailer);
}

fs::path made(const fs::path& cache, const std::vector<std::string>& files, const Tokenizer& tokenizer,
              const TokenMaker& maker) {
  const std::string source = source_of(files, tokenizer, maker);
  if (is_current(cache, source)) return cache;
  make_folders(cache.parent_path());
  ReadingReport report(std::cerr, text_of(files));
  write_file(cache, [&](std::ostream& out) { build(out, maker, tokenizer.vocab_size(), source, report); });
  return cache;
}

}  // namespace

TokenFile::TokenFile(const fs::path& cache, const std::vector<std::string>& files, const Tokenizer& tokenizer)
    : TokenFile(cache, files, tokenizer,
                {"", [&](const TokenMaker::Take& take) {
                   if (const size_t empty = encode_documents(files, tokenizer, take))
                     std::cerr << text_of(files) << ": " << empty << " documents without text are passed over\n";
                 }}) {}

TokenFile::TokenFile(const fs::path& cache, const std::vector<std::string>& files, const Tokenizer& tokenizer,
                     const TokenMaker& maker)
    : file_(made(cache, files, tokenizer, maker)), vocab_size_(tokenizer.vocab_size()), path_(cache.string()) {
  const auto trailer = trailer_of(file_);
  require(trailer.has_value(), path_, ": was changed by another program: remove it, and it is made again");
  count_ = static_cast<int64_t>(trailer->count);
  width_ = static_cast<int64_t>(trailer->width);
  hash_ = trailer->hash;
}

std::vector<int64_t> TokenFile::breaks() const {
  std::vector<int64_t> places;
  const auto scan = [&]<class Id>(Id all_bits) {
    for (int64_t i = 0; i < count_; ++i) {
      Id id;
      std::memcpy(&id, file_.data() + i * width_, sizeof id);
      if (id == all_bits) places.push_back(i);
    }
  };
  if (width_ == 2) scan(uint16_t{0xffff});
  else scan(~uint32_t{0});
  return places;
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

}  // namespace engine
