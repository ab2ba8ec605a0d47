#include "tasks/squad/training_windows.h"

#include <algorithm>
#include <cstring>

namespace engine {

namespace {

template <class T>
std::string_view bytes_of(const T* first, size_t count) {
  return {reinterpret_cast<const char*>(first), count * sizeof(T)};
}

}  // namespace

void TrainingWindows::add(const EncodedQuestions& questions) {
  const QuestionSet& set = questions.set();
  std::vector<uint64_t> contexts, texts;
  for (size_t c = 0; c < set.contexts.size(); ++c) contexts.push_back(append_ids(questions.context_ids(c)));
  for (size_t q = 0; q < set.questions.size(); ++q) texts.push_back(append_ids(questions.question_ids(q)));
  for (const Window& window : questions.windows()) {
    const Question& question = set.questions[window.question];
    const auto answer = questions.answer_in(window);
    const Record record{.question = texts[window.question],
                        .context = contexts[question.context] + window.begin,
                        .question_tokens = static_cast<uint32_t>(questions.question_ids(window.question).size()),
                        .context_tokens = static_cast<uint32_t>(window.end - window.begin),
                        .first_of_context = static_cast<uint32_t>(questions.first_of_context(window)),
                        .first = answer ? static_cast<int32_t>(answer->first) : -1,
                        .last = answer ? static_cast<int32_t>(answer->second) : -1,
                        .share = question.share};
    digest_ = hash_of(bytes_of(&record, 1), digest_);
    records_.append(bytes_of(&record, 1));
    lengths_.push_back(static_cast<int32_t>(questions.length(window)));
    shares_.push_back(question.share);
  }
  questions_ += static_cast<int64_t>(set.questions.size());
  cut_questions_ += questions.cut_questions();
}

void TrainingWindows::finish() {
  ids_.finish();
  records_.finish();
}

uint64_t TrainingWindows::append_ids(const std::vector<int32_t>& ids) {
  const uint64_t place = ids_.size() / sizeof(int32_t);
  const std::string_view bytes = bytes_of(ids.data(), ids.size());
  digest_ = hash_of(bytes, digest_);
  ids_.append(bytes);
  return place;
}

TrainingWindows::Record TrainingWindows::record(size_t window) const {
  Record record;
  std::memcpy(&record, records_.bytes().data() + window * sizeof record, sizeof record);
  return record;
}

Encoding TrainingWindows::ids_at(uint64_t place, uint32_t count) const {
  Encoding encoding{std::vector<int32_t>(count), {}};
  std::memcpy(encoding.ids.data(), ids_.bytes().data() + place * sizeof(int32_t), count * sizeof(int32_t));
  encoding.offsets.resize(count);  // nothing in a training reads them
  return encoding;
}

WindowInput TrainingWindows::input(size_t window) const {
  const Record at = record(window);
  WindowInput input{.framed = frame_pair(framing_, ids_at(at.question, at.question_tokens),
                                         ids_at(at.context, at.context_tokens), 0, at.context_tokens),
                    .context = at.first_of_context,
                    .context_tokens = at.context_tokens,
                    .answer = {}};
  if (at.first >= 0) input.answer = {static_cast<size_t>(at.first), static_cast<size_t>(at.last)};
  return input;
}

std::vector<float> TrainingWindows::take_shares() {
  if (std::all_of(shares_.begin(), shares_.end(), [](float share) { return share == 1; })) shares_.clear();
  return std::move(shares_);
}

}  // namespace engine
