// Each thread has a cache of fixed size for the tokens of recent words. Real text repeats its words, so most are found
// here and never merged. Words of at most 15 bytes and 3 tokens have a place. A new word takes the place of an old one.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

namespace engine {

class WordCache {
 public:
  static WordCache& of_this_thread() {
    thread_local WordCache cache;
    return cache;
  }

  // Returns a number for a tokenizer, to tell its words from those of others.
  static uint32_t new_owner() {
    static std::atomic<uint32_t> owners{0};
    return ++owners;
  }

  static constexpr size_t longest_word = 15, most_tokens = 3;
  struct alignas(32) Word {
    uint64_t low = 0, high = 0;  // the word's bytes, zeros behind them; its length is the topmost byte
    uint32_t owner : 28 = 0, count : 4 = 0;
    int32_t ids[most_tokens];
  };

  // Finds a word of the tokenizer `owner` (1, 2, ...) with its tokens, or nullptr if they are not known. The next call
  // may overwrite it. The text that holds the word goes on to text_end at least.
  const Word* find(uint32_t owner, std::string_view word, const char* text_end) {
    if (word.size() > longest_word) return nullptr;
    wanted_ = key_of(owner, word, text_end);
    const uint64_t mixed = (wanted_.low ^ std::rotl(wanted_.high * 0x9e3779b97f4a7c15u, 29)) * 0xd6e8feb86659fd93u;
    bucket_ = &buckets_[mixed >> (64 - buckets_log2)];
    for (const Word& known : bucket_->words)
      if (known.low == wanted_.low && known.high == wanted_.high && known.owner == wanted_.owner) return &known;
    return nullptr;
  }

  // Keeps the tokens of the word that find() has just not found. The older word of its bucket makes room.
  void keep(std::string_view word, const std::vector<int32_t>& tokens) {
    if (word.size() > longest_word || tokens.size() > most_tokens) return;
    wanted_.count = tokens.size() & 15;
    std::memcpy(wanted_.ids, tokens.data(), tokens.size() * sizeof(int32_t));
    bucket_->words[1] = bucket_->words[0];
    bucket_->words[0] = wanted_;
  }

 private:
  static constexpr int buckets_log2 = 16;
  static_assert(std::endian::native == std::endian::little, "words are cut from integers by their low bytes");

  struct alignas(64) Bucket {
    Word words[2];
  };

  static Word key_of(uint32_t owner, std::string_view word, const char* text_end) {
    Word key;
    uint64_t bytes[2] = {0, 0};
    if (text_end - word.data() >= 16) {
      std::memcpy(bytes, word.data(), 16);
      const size_t bits = 8 * word.size();
      bytes[0] &= bits < 64 ? (uint64_t{1} << bits) - 1 : UINT64_MAX;
      bytes[1] &= bits > 64 ? (uint64_t{1} << (bits - 64)) - 1 : 0;
    } else {
      std::memcpy(bytes, word.data(), word.size());
    }
    key.low = bytes[0];
    key.high = bytes[1] | static_cast<uint64_t>(word.size()) << 56;
    key.owner = owner & 0xfffffff;
    return key;
  }

  std::vector<Bucket> buckets_ = std::vector<Bucket>(size_t{1} << buckets_log2);  // 4 MiB
  Bucket* bucket_ = nullptr;
  Word wanted_;
};

// Appends the tokens of words to ids. Those of known words go through a small buffer, since growing the ids by one word
// at a time would cost more than finding it.
class TokenWriter {
 public:
  explicit TokenWriter(std::vector<int32_t>& ids) : ids_(ids) {}
  ~TokenWriter() { flush(); }
  TokenWriter(const TokenWriter&) = delete;
  TokenWriter& operator=(const TokenWriter&) = delete;

  void add(const WordCache::Word& known) {
    std::memcpy(&buffer_[buffered_], known.ids, sizeof known.ids);
    advance(known.count);
  }
  // Appends the token if it is wanted. No branch depends on that.
  void add(int32_t token, bool is_wanted) {
    buffer_[buffered_] = token;
    advance(is_wanted);
  }
  void add(const std::vector<int32_t>& tokens) {
    flush();
    ids_.insert(ids_.end(), tokens.begin(), tokens.end());
  }

 private:
  void advance(size_t tokens) {
    buffered_ += tokens;
    if (buffered_ + WordCache::most_tokens > buffer_.size()) flush();
  }
  void flush() {
    ids_.insert(ids_.end(), buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(buffered_));
    buffered_ = 0;
  }

  std::vector<int32_t>& ids_;
  std::array<int32_t, 1024> buffer_;
  size_t buffered_ = 0;
};

}  // namespace engine
