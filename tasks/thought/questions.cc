#include "tasks/thought/questions.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/file_bytes.h"
#include "core/json.h"
#include "tasks/language_model.h"

namespace engine {

namespace {

std::vector<int32_t> completion_of(const std::string& text, const Tokenizer& tokenizer, const ChoiceRule& rule) {
  std::vector<int32_t> ids(static_cast<size_t>(rule.before_completion), rule.thought);
  tokenizer.encode_continued(text, ids);
  return ids;
}

ChoiceQuestion question_of(const nlohmann::json& json, const Tokenizer& tokenizer, const ChoiceRule& rule,
                     const std::string& where) {
  ChoiceQuestion question;
  question.context = encode_prompt(tokenizer, json_string(json, "context", where));
  const nlohmann::json& completions = json_member(json, "completions", where);
  require(completions.is_array() && !completions.empty(), where, ": \"completions\" is no list of texts");
  for (size_t i = 0; i < completions.size(); ++i) {
    require(completions[i].is_string(), where, ": completion ", i, " is no text");
    std::vector<int32_t> ids = completion_of(completions[i].get<std::string>(), tokenizer, rule);
    const auto is_thought = [&](int32_t id) { return id == rule.thought; };
    require(!std::all_of(ids.begin(), ids.end(), is_thought), where, ": completion ", i,
            " is empty: nothing of it can be scored");
    question.completions.push_back(std::move(ids));
  }
  if (rule.needs_answers || json_has(json, "answer", where)) {
    const auto most = static_cast<int64_t>(completions.size()) - 1;
    question.answer = json_integer(json, "answer", where, 0, most);
  }
  return question;
}

// The last token of a completion is only predicted.
bool fits(const ChoiceQuestion& question, const ModelConfig& model) {
  size_t longest = 0;
  for (const std::vector<int32_t>& completion : question.completions) longest = std::max(longest, completion.size());
  return static_cast<int64_t>(question.context.size() + longest) - 1 <= model.max_positions;
}

}  // namespace

ChoiceFile read_choices(const std::string& file, const Tokenizer& tokenizer, const ModelConfig& model,
                            const ChoiceRule& rule) {
  ChoiceFile result{.file = file, .name = std::filesystem::path(file).stem().string(), .questions = {}};
  const FileBytes bytes(file);
  each_json_line(bytes.text(), file, [&](const nlohmann::json& json, const std::string& where, size_t line) {
    require(json.is_object(), where, " is no object with context, completions and answer");
    ChoiceQuestion question;
    try {
      question = question_of(json, tokenizer, rule, where);
    } catch (const Error& error) {
      const std::string what = error.what();
      if (what.starts_with(where)) throw;
      fail(where, ": ", what);
    }
    question.line = line;
    if (fits(question, model)) result.questions.push_back(std::move(question));
    else ++result.skipped;
  });
  if (result.questions.empty() && result.skipped > 0)
    fail(file, ": all ", result.skipped, " questions are longer than the model, which has ", model.max_positions,
         " positions");
  require(!result.questions.empty(), file, ": holds no question");
  return result;
}

std::vector<std::string> question_names(const std::vector<std::string>& files) {
  std::vector<std::string> names;
  for (const std::string& file : files) {
    names.push_back(std::filesystem::path(file).stem().string());
    if (std::find(names.begin(), names.end() - 1, names.back()) != names.end() - 1)
      fail_usage("thought.questions: two files are named ", names.back(), ", and so would their metrics: rename one");
  }
  return names;
}

std::vector<ChoiceFile> read_choice_files(const std::vector<std::string>& files, const Tokenizer& tokenizer,
                                              const ModelConfig& model, const ChoiceRule& rule) {
  question_names(files);
  std::vector<ChoiceFile> read;
  for (const std::string& file : files) read.push_back(read_choices(file, tokenizer, model, rule));
  return read;
}

}  // namespace engine
