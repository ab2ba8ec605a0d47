// The tokens of the words met last, one cache a thread, of fixed size: real text repeats its words, so most are found
// here and never merged. Words of at most 15 bytes and 3 tokens have a place; a new word takes the place of an old one.
#pragma once

#include <bit>
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

  // Appends the tokens of a word of the tokenizer `owner` (1, 2, ...) if they are known. The text that holds the word
  // goes on to text_end at least.
  bool append(uint32_t owner, std::string_view word, const char* text_end, std::vector<int32_t>& ids) {
    if (word.size() > longest_word) {
      wanted_.count = 0;
      return false;
    }
    wanted_ = key_of(owner, word, text_end);
    const uint64_t mixed = (wanted_.low ^ std::rotl(wanted_.high * 0x9e3779b97f4a7c15u, 29)) * 0xd6e8feb86659fd93u;
    place_ = &slots_[mixed >> (64 - slots_log2)];
    if (place_->low != wanted_.low || place_->high != wanted_.high || place_->owner != owner) {
      wanted_.count = 1;
      return false;
    }
    const size_t size = ids.size();
    ids.resize(size + most_tokens);
    std::memcpy(&ids[size], place_->ids, sizeof place_->ids);
    ids.resize(size + place_->count);
    return true;
  }

  // The tokens of the word that append() has just not found.
  void keep(const std::vector<int32_t>& tokens) {
    if (wanted_.count == 0 || tokens.size() > most_tokens) return;
    wanted_.count = tokens.size() & 15;
    std::memcpy(wanted_.ids, tokens.data(), tokens.size() * sizeof(int32_t));
    *place_ = wanted_;
  }

 private:
  static constexpr size_t longest_word = 15, most_tokens = 3;
  static constexpr int slots_log2 = 15;
  static_assert(std::endian::native == std::endian::little, "words are cut from integers by their low bytes");

  struct alignas(32) Slot {
    uint64_t low = 0, high = 0;  // the word's bytes, zeros behind them; its length is the topmost byte
    uint32_t owner : 28 = 0, count : 4 = 0;
    int32_t ids[most_tokens];
  };

  static Slot key_of(uint32_t owner, std::string_view word, const char* text_end) {
    Slot slot;
    uint64_t bytes[2] = {0, 0};
    if (text_end - word.data() >= 16) {
      std::memcpy(bytes, word.data(), 16);
      const size_t bits = 8 * word.size();
      bytes[0] &= bits < 64 ? (uint64_t{1} << bits) - 1 : UINT64_MAX;
      bytes[1] &= bits > 64 ? (uint64_t{1} << (bits - 64)) - 1 : 0;
    } else {
      std::memcpy(bytes, word.data(), word.size());
    }
    slot.low = bytes[0];
    slot.high = bytes[1] | static_cast<uint64_t>(word.size()) << 56;
    slot.owner = owner & 0xfffffff;
    return slot;
  }

  std::vector<Slot> slots_ = std::vector<Slot>(size_t{1} << slots_log2);
  Slot* place_ = nullptr;
  Slot wanted_;
};

}  // namespace engine
