#include "tasks/mlm/sequences.h"

#include <algorithm>

#include "core/error.h"
#include "tasks/documents.h"
#include "text/unicode.h"
#include "training/subset.h"

namespace engine {

namespace {

bool is_kept(char32_t character) {
  const CharacterClass of = class_of(character);
  if (of == CharacterClass::letter || of == CharacterClass::number) return true;
  return character < 0x80 && std::string_view(",.!?'\"-").find(static_cast<char>(character)) != std::string_view::npos;
}

// Calls line(text, number, whether it begins a document) for every line of the files' documents.
template <class Line>
void for_each_line(const std::vector<std::string>& files, const Line& line) {
  for_each_piece(files, [&](const DocumentPiece& piece) {
    size_t number = piece.line;
    for (size_t at = 0; at < piece.text.size(); ++number) {
      const size_t end = std::min(piece.text.find('\n', at), piece.text.size());
      try {
        line(piece.text.substr(at, end - at), piece.begins && at == 0);
      } catch (const Error& error) {
        fail(piece.file, ": line ", has_json_lines(piece.file) ? piece.line : number, ": ", error.what());
      }
      at = end + 1;
    }
  });
}

void encode_lines(const std::vector<std::string>& files, const Tokenizer& tokenizer, const SequenceRule& rule,
                  const TokenMaker::Take& take) {
  std::vector<int32_t> ids;
  for_each_line(files, [&](std::string_view text, bool begins) {
    const std::string cleaned = rule.clean ? cleaned_text(text) : std::string(text);
    ids.clear();
    if (rule.lines || begins) tokenizer.encode(cleaned, ids);
    else if (!cleaned.empty()) tokenizer.encode_continued(" " + cleaned, ids);
    if (rule.lines) ids.push_back(token_break);
    take(ids);
  });
}

}  // namespace

std::string cleaned_text(std::string_view text) {
  std::string result;
  bool space = false;
  for (const char* place = text.data(); place < text.data() + text.size();) {
    const char32_t character = next_character(place);
    if (class_of(character) == CharacterClass::space) {
      space = true;
    } else if (is_kept(character)) {
      if (space && !result.empty()) result += ' ';
      space = false;
      append_utf8(result, character);
    }
  }
  return result;
}

Sequences::Sequences(const std::filesystem::path& cache, const std::vector<std::string>& files,
                     const Tokenizer& tokenizer, const SequenceRule& rule)
    : framing_(&tokenizer.framing()), special_(static_cast<int32_t>(framing_->special_tokens(false))) {
  const int64_t room = rule.length - special_;
  require(room > 0, "a sequence of ", rule.length, " tokens has no room beside the ", special_, " special ones");
  if (rule.lines || rule.clean) {
    const std::string name = std::string(rule.lines ? "lines" : "text") + (rule.clean ? ", cleaned" : "");
    file_ = std::make_shared<TokenFile>(
        cache, files, tokenizer,
        TokenMaker{name, [&](const TokenMaker::Take& take) { encode_lines(files, tokenizer, rule, take); }});
  } else {
    file_ = std::make_shared<TokenFile>(cache, files, tokenizer);
  }
  const auto add = [&](int64_t begin, int64_t count) {
    begins_.push_back(begin);
    counts_.push_back(static_cast<int32_t>(std::min(count, room)));
  };
  if (!rule.lines) {
    for (int64_t begin = 0; begin < file_->size(); begin += room) add(begin, file_->size() - begin);
    return;
  }
  int64_t begin = 0;
  for (const int64_t end : file_->breaks()) {
    if (end > begin) add(begin, end - begin);
    else ++skipped_;
    if (end - begin > room) ++cut_;
    begin = end + 1;
  }
}

void Sequences::append(int64_t i, std::vector<int32_t>& tokens) const {
  const auto at = static_cast<size_t>(i);
  for (const Framing::Piece& piece : framing_->single) {
    if (piece.text < 0) tokens.push_back(piece.token);
    else file_->append(begins_[at], counts_[at], tokens);
  }
}

int64_t Sequences::count_without(const std::function<bool(int32_t)>& is_scorable) const {
  // Mostly the first few tokens of a sequence decide.
  constexpr int64_t tokens_a_look = 16;
  std::vector<int32_t> tokens;
  int64_t count = 0;
  for (size_t i = 0; i < begins_.size(); ++i) {
    bool found = false;
    for (int64_t at = 0; at < counts_[i] && !found; at += tokens_a_look) {
      tokens.clear();
      file_->append(begins_[i] + at, std::min(tokens_a_look, counts_[i] - at), tokens);
      found = std::any_of(tokens.begin(), tokens.end(), is_scorable);
    }
    count += !found;
  }
  return count;
}

Sequences Sequences::split_off(int64_t count) {
  Sequences last = *this;
  const auto kept = static_cast<ptrdiff_t>(size() - count);
  last.begins_.erase(last.begins_.begin(), last.begins_.begin() + kept);
  last.counts_.erase(last.counts_.begin(), last.counts_.begin() + kept);
  last.skipped_ = last.cut_ = 0;
  begins_.resize(static_cast<size_t>(kept));
  counts_.resize(static_cast<size_t>(kept));
  return last;
}

void Sequences::keep(int64_t count) {
  const int64_t all = size();
  for (int64_t i = 0; i < count; ++i) {
    const auto from = static_cast<size_t>(spread_index(i, count, all));
    begins_[static_cast<size_t>(i)] = begins_[from];
    counts_[static_cast<size_t>(i)] = counts_[from];
  }
  begins_.resize(static_cast<size_t>(count));
  counts_.resize(static_cast<size_t>(count));
}

}  // namespace engine
