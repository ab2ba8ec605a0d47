#include "tasks/squad/recipe.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>
#include <sstream>
#include <unordered_map>

#include "core/error.h"
#include "core/hash.h"
#include "core/json.h"
#include "core/random.h"
#include "tasks/squad/passages.h"
#include "text/unicode.h"

namespace engine {

namespace {

constexpr uint64_t stream_of_recipe = 0x726563697065ull << 8;  // keeps these random numbers apart from all others

// A question's context, with the bytes of its answers.
struct Passage {
  Context context;
  std::vector<ByteRange> answers;

  bool holds(const Question& question, ByteRange part) const {
    const std::string_view text = std::string_view(context.text).substr(part.first, part.second - part.first);
    return std::any_of(question.truths.begin(), question.truths.end(), [&](const std::string& truth) {
      return !truth.empty() && text.find(truth) != std::string_view::npos;
    });
  }
};

int64_t characters(std::string_view text) { return static_cast<int64_t>(count_characters(text)); }

Passage passage_of(const QuestionSet& set, const Question& question) {
  Passage passage{set.contexts[question.context], {}};
  if (!passage.context.document) passage.context.document = characters(passage.context.text);
  for (const AnswerSpan& answer : question.answers) {
    const size_t begin = byte_of(passage.context.text, answer.begin);
    passage.answers.emplace_back(begin, begin + answer.text.size());
  }
  return passage;
}

// Collects the questions with their new contexts, each of which is kept once.
class NewSet {
 public:
  explicit NewSet(const QuestionSet& old) {
    set_.moved = old.moved;
    set_.lost = old.lost;
    set_.blank = old.blank;
    set_.files = old.files;
  }
  void add(Question question, Passage passage) {
    question.answers.clear();
    for (const auto& [begin, end] : passage.answers) {
      const std::string_view text = passage.context.text;
      AnswerSpan answer{std::string(text.substr(begin, end - begin)), characters(text.substr(0, begin)), 0};
      answer.end = answer.begin + characters(answer.text);
      question.answers.push_back(std::move(answer));
    }
    const auto [found, is_new] = places_.try_emplace(
        passage.context.text + '\n' + std::to_string(passage.context.begin), set_.contexts.size());
    if (is_new) set_.contexts.push_back(std::move(passage.context));
    question.context = found->second;
    set_.questions.push_back(std::move(question));
  }
  QuestionSet take() { return std::move(set_); }

 private:
  QuestionSet set_;
  std::unordered_map<std::string, size_t> places_;
};

// Keeps these parts of a passage, and the answers that lie in one of them. The first answer stays the first.
void keep_parts(Passage& passage, const std::vector<ByteRange>& parts) {
  std::string text;
  std::vector<size_t> places;  // of the parts in the new text
  for (const auto& [begin, end] : parts) {
    places.push_back(text.size());
    text += passage.context.text.substr(begin, end - begin);
  }
  std::vector<ByteRange> answers;
  for (const auto& [from, to] : passage.answers)
    for (size_t i = 0; i < parts.size(); ++i)
      if (from >= parts[i].first && to <= parts[i].second)
        answers.emplace_back(places[i] + from - parts[i].first, places[i] + to - parts[i].first);
  passage.context.text = std::move(text);
  passage.answers = std::move(answers);
}

bool has_answer_in(const Passage& passage, ByteRange part) {
  return std::any_of(passage.answers.begin(), passage.answers.end(), [&](const ByteRange& answer) {
    return answer.first < part.second && answer.second > part.first;
  });
}

void remove_repeated_answers(const Question& question, Passage& passage, RecipeCounts& counts) {
  if (passage.answers.empty()) return;
  std::vector<ByteRange> kept;
  const std::vector<ByteRange> lines = lines_of(passage.context.text);
  for (auto [begin, end] : lines) {
    end = std::min(end + 1, passage.context.text.size());  // the line end goes with its line
    const bool is_repetition = !has_answer_in(passage, {begin, end}) && passage.holds(question, {begin, end});
    if (!is_repetition) kept.emplace_back(begin, end);
  }
  if (kept.size() == lines.size()) return;
  counts.dropped_lines += static_cast<int64_t>(lines.size() - kept.size());
  // Neighbours become one part, so that an answer over several lines stays whole.
  std::vector<ByteRange> parts;
  for (const ByteRange& line : kept)
    if (!parts.empty() && parts.back().second == line.first) parts.back().second = line.second;
    else parts.push_back(line);
  keep_parts(passage, parts);
}

Passage part_of(const Passage& passage, ByteRange part) {
  Passage result = passage;
  result.context.begin += characters(std::string_view(passage.context.text).substr(0, part.first));
  keep_parts(result, {part});
  return result;
}

// Gives the line that holds the first answer. Returns whether there is one.
bool take_gold_line(Passage& passage) {
  if (passage.answers.empty()) return true;
  const auto [begin, end] = passage.answers.front();
  for (const ByteRange& line : lines_of(passage.context.text))
    if (line.first <= begin && end <= line.second) {
      passage = part_of(passage, line);
      return true;
    }
  return false;
}

// Sentences that an answer lies in are one. Those of a line change places, but where an answer reaches over lines.
void shuffle_sentences(Passage& passage, Random& random) {
  std::vector<ByteRange> order;
  for (const auto& [begin, end] : passage.answers)
    if (passage.context.text.substr(begin, end - begin).find('\n') != std::string::npos) return;
  for (const auto& [first, last] : lines_of(passage.context.text)) {
    std::vector<ByteRange> sentences;
    for (auto [begin, end] : sentences_of(std::string_view(passage.context.text).substr(first, last - first))) {
      const ByteRange sentence{begin + first, end + first};
      const bool is_joined = !sentences.empty() && std::any_of(passage.answers.begin(), passage.answers.end(),
          [&](const ByteRange& answer) { return answer.first < sentence.first && answer.second > sentence.first; });
      if (is_joined) sentences.back().second = sentence.second;
      else sentences.push_back(sentence);
    }
    // The last sentence, which may end without a space, stays the last.
    for (size_t i = sentences.empty() ? 0 : sentences.size() - 1; i > 1; --i)
      std::swap(sentences[i - 1], sentences[random.below(static_cast<uint32_t>(i))]);
    order.insert(order.end(), sentences.begin(), sentences.end());
    if (last < passage.context.text.size()) order.emplace_back(last, last + 1);
  }
  std::vector<ByteRange> answers(passage.answers.size());
  std::string text;
  for (const auto& [begin, end] : order) {
    for (size_t i = 0; i < answers.size(); ++i) {
      const auto [from, to] = passage.answers[i];
      if (from >= begin && from < end) answers[i] = {text.size() + from - begin, text.size() + to - begin};
    }
    text += passage.context.text.substr(begin, end - begin);
  }
  passage.context.text = std::move(text);
  passage.answers = std::move(answers);
}

// Makes the negatives of a question.
std::vector<std::pair<Question, Passage>> negatives_of(const Question& question, const Passage& passage,
                                                       int64_t least) {
  std::vector<std::pair<Question, Passage>> negatives;
  if (question.answers.empty()) return negatives;
  const std::vector<ByteRange> lines = lines_of(passage.context.text);
  for (size_t i = 0; i < lines.size(); ++i) {
    if (has_answer_in(passage, lines[i]) || passage.holds(question, lines[i])) continue;
    Passage line = part_of(passage, lines[i]);
    if (characters(line.context.text) < least || is_blank(line.context.text)) continue;
    Question negative = question;
    negative.id.append("#").append(std::to_string(i + 1));
    negative.truths.clear();
    negatives.emplace_back(std::move(negative), std::move(line));
  }
  return negatives;
}

}  // namespace

// The scores of negatives that predict has written, by their ids.
class NegativeScores {
 public:
  explicit NegativeScores(const SquadConfig& config) : ratio_(config.negative_ratio) {
    for (const std::string& file : config.negative_scores) {
      const nlohmann::json all = parse_json_file(file);
      if (!all.is_object()) fail(file, ": should be an object with a score an id, as predict writes it");
      for (const auto& [id, score] : all.items()) {
        if (!score.is_number() || !(score.get<double>() >= 0)) fail(file, ": \"", id.substr(0, 80), "\" has no score");
        scores_[id] = score.get<double>();
      }
    }
  }
  // Sets how often an epoch takes each of a question's negatives. Those that it never takes go.
  void choose(std::vector<std::pair<Question, Passage>>& negatives) const {
    double sum = 0;
    for (const auto& [question, passage] : negatives) sum += score_of(question);
    std::erase_if(negatives, [&](auto& negative) {
      Question& question = negative.first;
      const double score = score_of(question);
      const double part = ratio_ == 0 ? (score > 0.5 ? 1 : 0) : sum > 0 ? std::min(1.0, ratio_ * score / sum) : 0;
      question.share *= static_cast<float>(part);
      return part == 0;
    });
  }

 private:
  double score_of(const Question& negative) const {
    const auto found = scores_.find(negative.id);
    if (found == scores_.end())
      fail("squad.negative_scores hold none for \"", negative.id.substr(0, 80),
           "\": predict writes them with squad.score_negatives, of a run with squad.fold for that fold alone, and for ",
           "lines of squad.min_paragraph_length");
    return found->second;
  }

  double ratio_;
  std::unordered_map<std::string, double> scores_;
};

std::string RecipeCounts::text() const {
  std::ostringstream text;
  if (without_paragraph) text << "; " << without_paragraph << " questions left out, whose answers stand on no line";
  if (dropped_lines) text << "; " << dropped_lines << " lines left out that repeat an answer";
  if (negatives) text << "; " << *negatives << " lines without the answer";
  if (confusing) text << "; " << confusing << " confusing sentences";
  return text.str();
}

void keep_languages(QuestionSet& set, const SquadConfig& config) {
  for (Question& question : set.questions)
    if (question.language.empty()) question.language = config.language;
  if (config.languages.empty()) return;
  std::erase_if(set.questions, [&](const Question& question) {
    if (question.language.empty())
      fail_usage("squad.languages is set, but no file says the language of question \"", question.id.substr(0, 80),
                 "\": set squad.language to that of files which do not say it");
    return std::find(config.languages.begin(), config.languages.end(), question.language) == config.languages.end();
  });
}

void give_folds(QuestionSet& set, const SquadConfig& config) {
  if (config.folds == 0) return;
  for (Question& question : set.questions)
    if (question.fold < 0)
      question.fold =
          static_cast<int64_t>(hash_of(set.contexts[question.context].text) % static_cast<uint64_t>(config.folds));
}

void leave_out_fold(QuestionSet& set, int64_t fold) {
  std::erase_if(set.questions, [&](const Question& question) { return question.fold == fold; });
}

void leave_only_fold(QuestionSet& set, int64_t fold) {
  std::erase_if(set.questions, [&](const Question& question) { return question.fold != fold; });
}

Recipe::Recipe(const SquadConfig& config, uint64_t seed) : config_(config), seed_(seed) {
  if (config.negatives != "none") counts_.negatives = 0;
  if (config.confusing_sentences > 0) confusing_.emplace(config.confusing_words);
  if (config.negatives == "hard") scores_ = std::make_unique<NegativeScores>(config);
}

Recipe::~Recipe() = default;

void Recipe::follow(QuestionSet& set) {
  const bool gold = config_.paragraphs == "gold", with_negatives = config_.negatives != "none";
  if (!config_.remove_multi_answer_sentences && !gold && !with_negatives && !config_.shuffle_sentences && !confusing_)
    return;
  NewSet made(set);
  for (const Question& question : set.questions) {
    Random random(seed_, stream_of_recipe ^ hash_of(question.id));
    Passage passage = passage_of(set, question);
    // Their numbers are those of the whole document's lines.
    std::vector<std::pair<Question, Passage>> negatives;
    if (with_negatives) negatives = negatives_of(question, passage, config_.min_paragraph_length);
    if (config_.remove_multi_answer_sentences) remove_repeated_answers(question, passage, counts_);
    if (scores_) scores_->choose(negatives);
    if (gold && !take_gold_line(passage)) {
      ++counts_.without_paragraph;
      continue;
    }
    if (with_negatives) *counts_.negatives += static_cast<int64_t>(negatives.size());
    if (config_.shuffle_sentences) shuffle_sentences(passage, random);
    if (confusing_ && static_cast<double>(random.uniform()) < config_.confusing_sentences) {
      const std::string sentence = confusing_->sentence_for(set, question, random);
      if (!sentence.empty()) passage.context.text += (passage.context.text.ends_with(' ') ? "" : " ") + sentence;
      counts_.confusing += !sentence.empty();
    }
    made.add(question, std::move(passage));
    for (auto& [negative, line] : negatives) made.add(std::move(negative), std::move(line));
  }
  set = made.take();
}

void cut_contexts(QuestionSet& set, int64_t words) {
  if (words == 0) return;
  for (Context& context : set.contexts) {
    int64_t begun = 0;
    bool is_in_word = false;
    for (const char *at = context.text.data(), *const end = at + context.text.size(); at < end;) {
      const char* const before = at;
      const bool is_space = class_of(next_character(at)) == CharacterClass::space;
      if (is_in_word && is_space && begun == words) {
        if (!context.document) context.document = characters(context.text);
        context.text.resize(static_cast<size_t>(before - context.text.data()));
        break;
      }
      begun += !is_space && !is_in_word;
      is_in_word = !is_space;
    }
  }
}

void leave_only_negatives(QuestionSet& set, const SquadConfig& config) {
  NewSet made(set);
  for (const Question& question : set.questions)
    for (auto& [negative, line] : negatives_of(question, passage_of(set, question), config.min_paragraph_length))
      made.add(std::move(negative), std::move(line));
  set = made.take();
}

}  // namespace engine
