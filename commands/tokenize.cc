#include "commands/tokenize.h"

#include <algorithm>
#include <iostream>

#include "commands/lines.h"
#include "commands/numbers.h"
#include "commands/verb.h"
#include "core/parallel.h"
#include "tasks/documents.h"
#include "tasks/language_model.h"

namespace engine {

namespace {

constexpr size_t lines_tokenized_at_once = 4096;

std::string json_of(const Framed& framed, bool with_types) {
  std::string text = "{\"ids\":";
  append_json(text, framed.ids);
  text += ",\"offsets\":";
  append_json(text, framed.offsets);
  if (with_types) {
    text += ",\"type_ids\":";
    append_json(text, framed.types);
  }
  return text + "}\n";
}

std::string bytes_of(const std::vector<int32_t>& ids) {
  return {reinterpret_cast<const char*>(ids.data()), ids.size() * sizeof(int32_t)};
}

class TokenizeVerb final : public Verb {
 public:
  void add_flags(Flags& flags) override {
    flags.add("DIR", folder_, "a run folder or a model folder");
    flags.add("--input", request_.inputs, "text files", {.required = true});
    flags.add("--special_tokens", tokenizing_.special_tokens,
              "with those that the tokenizer puts around a text, such as [CLS]");
    flags.add("--pairs", tokenizing_.pairs, "a line is text<TAB>text");
    flags.add("--max_length", tokenizing_.max_length,
              "tokens of a line at most; of a pair the longer text is cut first", {.range = at_least(1)});
    flags.add("--format", format_, "jsonl, or bin: the ids alone, little-endian int32, line behind line",
              {.range = one_of({"jsonl", "bin"})});
    flags.add("--train", request_.kind, "makes a new vocabulary: wordpiece or bpe",
              {.range = one_of({"wordpiece", "bpe"}),
               .excludes = {"--special_tokens", "--pairs", "--max_length", "--format"}});
    const auto of_training = [](const Range& range) { return FlagRule{.range = range, .needs = "--train"}; };
    flags.add("--output", request_.folder, "where the new one goes", of_training({}));
    flags.add("--vocab_size", request_.options.vocab_size, "its tokens", of_training(at_least(1)));
    flags.add("--min_frequency", request_.options.min_frequency, "of a pair that becomes a token",
              of_training(at_least(1)));
    flags.add("--most_characters", request_.options.most_characters, "wordpiece: the most frequent ones",
              of_training(at_least(1)));
    flags.add("--cased", cased_, "wordpiece: capitals and accents count", of_training({}));
  }

  int run(Communicator&) override {
    if (request_.kind.empty() == folder_.empty())
      fail_usage(
          "tokenize takes a folder with a tokenizer before --input, or makes one with --train KIND --output FOLDER");
    tokenizing_.format = format_ == "bin" ? TokensFormat::bin : TokensFormat::jsonl;
    if (!folder_.empty()) {
      const std::unique_ptr<Tokenizer> tokenizer = open_tokenizer(folder_);
      for (const std::string& file : request_.inputs) tokenize_lines(*tokenizer, file, tokenizing_, std::cout);
      return 0;
    }
    if (request_.folder.empty()) fail_usage("--train needs --output FOLDER, where the new tokenizer goes");
    request_.options.lowercase = !cased_;
    train_vocabulary(request_, std::cout);
    return 0;
  }

 private:
  std::string folder_, format_ = "jsonl";
  TokenizeRequest tokenizing_;
  VocabularyRequest request_;
  bool cased_ = false;
};

}  // namespace

void tokenize_lines(const Tokenizer& tokenizer, const std::string& input_file, const TokenizeRequest& request,
                    std::ostream& out) {
  const Limit limit{.max_length = request.max_length, .special_tokens = request.special_tokens};
  const auto encode = [&](std::string_view line) {
    if (!request.pairs) return encode_framed(tokenizer, line, limit);
    const auto tabs = std::count(line.begin(), line.end(), '\t');
    require(tabs == 1, "has ", tabs, " tabs: with --pairs each line is text<TAB>text");
    const size_t tab = line.find('\t');
    return encode_framed(tokenizer, line.substr(0, tab), line.substr(tab + 1), limit);
  };
  in_batches(input_file, "tokenizing", [&](size_t first, const std::vector<std::string>& lines) {
    std::vector<std::string> texts(lines.size());
    parallel_for_or_throw(static_cast<int64_t>(lines.size()), [&](int64_t i) {
      const auto line = static_cast<size_t>(i);
      const Framed framed = at_line(input_file, first + line, [&] { return encode(lines[line]); });
      texts[line] = request.format == TokensFormat::bin ? bytes_of(framed.ids) : json_of(framed, request.pairs);
    });
    for (const std::string& text : texts) out << text;
    flush(out);
  }, lines_tokenized_at_once);
}

void train_vocabulary(const VocabularyRequest& request, std::ostream& out) {
  VocabularyTrainer trainer(request.kind == "bpe" ? VocabularyTrainer::Kind::bpe : VocabularyTrainer::Kind::wordpiece,
                            request.options);
  size_t bytes = 0;
  for_each_piece(request.inputs, [&](const DocumentPiece& piece) {
    trainer.add(piece.text);
    bytes += piece.text.size();
  });
  const std::unique_ptr<Tokenizer> tokenizer = trainer.train();
  tokenizer->save(request.folder);
  out << request.folder << ": " << tokenizer->vocab_size() << " tokens from " << bytes << " bytes of text\n";
  flush(out);
}

std::unique_ptr<Verb> make_tokenize_verb() { return std::make_unique<TokenizeVerb>(); }

}  // namespace engine
