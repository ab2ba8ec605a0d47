#include "tasks/thought/packed_documents.h"

#include <algorithm>
#include <iostream>

#include "core/error.h"
#include "tasks/documents.h"

namespace engine {

namespace {

// Makes the ids of documents, with a break behind each.
TokenMaker maker_of(const std::vector<std::string>& files, const Tokenizer& tokenizer) {
  return {"documents with breaks", [&](const TokenMaker::Take& take) {
            std::vector<int32_t> ids;
            const auto encode = [&](const DocumentPiece& piece, std::span<const int32_t> found) {
              ids.assign(found.begin(), found.end());
              if (piece.ends) ids.push_back(token_break);
              take(ids);
            };
            if (const size_t empty = encode_pieces(files, tokenizer, encode))
              std::cerr << files.front() << (files.size() > 1 ? " and the other files" : "") << ": " << empty
                        << " documents without text are passed over\n";
          }};
}

}  // namespace

PackedDocuments::PackedDocuments(const std::filesystem::path& cache, const std::vector<std::string>& files,
                                 const Tokenizer& tokenizer, const DocumentRule& rule)
    : rule_(rule), file_(cache, files, tokenizer, maker_of(files, tokenizer)) {
  const std::vector<int64_t> breaks = file_.breaks();
  documents_ = static_cast<int64_t>(breaks.size());
  int64_t begin = 0;
  for (const int64_t end : breaks) {
    for (int64_t at = begin, length; at < end; at += length) {
      length = std::min(rule.context + 1, end - at);
      if (length < rule.min_piece && length < rule.context + 1) {
        ++dropped_;
        continue;
      }
      begins_.push_back(at);
      lengths_.push_back(static_cast<int32_t>(length));
    }
    begin = end + 1;
  }
  require(!begins_.empty(), files.front(), ": no document has ", rule.min_piece,
          " tokens, as thought.min_piece wants: lower it, or give longer documents");
  require(begins_.size() <= INT32_MAX, files.front(), ": ", begins_.size(), " pieces of documents are too many");
  rows_ = pack_rows(lengths_, static_cast<int32_t>(rule.context + 1));
}

void PackedDocuments::append(int32_t piece) {
  const auto at = static_cast<size_t>(piece);
  file_.append(begins_[at], lengths_[at], scratch_);
}

int64_t PackedDocuments::shorter_than(int64_t tokens) const {
  if (!rule_.joined)
    return std::count_if(lengths_.begin(), lengths_.end(), [&](int32_t length) { return length < tokens; });
  int64_t count = 0;
  for (int64_t row = 0; row < rows(); ++row) {
    int64_t all = 0;
    for (const int32_t piece : rows_.row(row)) all += lengths_[static_cast<size_t>(piece)];
    count += all < tokens;
  }
  return count;
}

std::string PackedDocuments::report() const {
  std::string text;
  const auto add = [&](int64_t count, const char* what) { text.append(std::to_string(count)).append(what); };
  add(documents_, " documents, ");
  add(pieces(), " pieces in ");
  add(rows(), " rows, ");
  add(dropped_, " short ends dropped");
  return text;
}

}  // namespace engine
