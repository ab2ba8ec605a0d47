// The windows of a training. They are taken from encoded questions piece by piece, so neither the questions nor their
// texts stay in memory. Every context and question is kept once, as token ids, and each window as the places of its
// tokens among them.
#pragma once

#include <filesystem>
#include <optional>
#include <vector>

#include "core/hash.h"
#include "core/scratch_bytes.h"
#include "tasks/squad/windows.h"

namespace engine {

class TrainingWindows {
 public:
  TrainingWindows() = default;
  // More than `most_in_memory` bytes of ids go into a file in `folder`, and so do as many of windows (scratch_bytes.h).
  TrainingWindows(const Tokenizer& tokenizer, const std::filesystem::path& folder, size_t most_in_memory)
      : framing_(tokenizer.framing()), ids_(folder, most_in_memory), records_(folder, most_in_memory) {}

  void add(const EncodedQuestions& questions);
  void finish();  // comes behind the last add

  size_t size() const { return records_.size() / sizeof(Record); }
  int64_t questions() const { return questions_; }
  int64_t cut_questions() const { return cut_questions_; }
  bool is_in_file() const { return ids_.is_in_file() || records_.is_in_file(); }
  WindowInput input(size_t window) const;
  // A number that tells questions, contexts, answers and shares apart.
  uint64_t digest() const { return digest_; }

  // The number of tokens of each window, and how often an epoch takes it; no shares: once. They leave this object.
  std::vector<int32_t> take_lengths() { return std::move(lengths_); }
  std::vector<float> take_shares();

 private:
  struct Record {
    uint64_t question, context;  // places of the first ids
    uint32_t question_tokens, context_tokens, first_of_context;
    int32_t first, last;  // tokens of the answer; -1: the window does not hold it
    float share;
  };
  static_assert(sizeof(Record) == 40, "no byte of a record is without a value");

  // Returns the place of the first id.
  uint64_t append_ids(const std::vector<int32_t>& ids);
  Record record(size_t window) const;
  Encoding ids_at(uint64_t place, uint32_t count) const;

  Framing framing_;
  ScratchBytes ids_, records_;
  std::vector<int32_t> lengths_;
  std::vector<float> shares_;
  uint64_t digest_ = empty_hash;
  int64_t questions_ = 0, cut_questions_ = 0;
};

}  // namespace engine
