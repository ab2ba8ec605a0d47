#include "tasks/commands.h"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <ostream>

#include "core/parallel.h"
#include "models/generation.h"
#include "tasks/documents.h"
#include "text/unicode.h"

namespace engine {

namespace {

// Read, worked on and written together: an input larger than memory works.
constexpr size_t lines_at_once = 256, lines_embedded_at_once = 8192;

// work(first line number from 1, batch) for the lines of a file, up to `most` together, without their line ends.
template <class Work>
void in_batches(const std::string& file, const Work& work, size_t most = lines_at_once) {
  if (std::filesystem::is_directory(file)) fail("cannot read ", file, ": this is a folder");
  std::ifstream input(file, std::ios::binary);
  if (!input) fail("cannot read ", file, ": no such file, or no permission");
  std::vector<std::string> batch;
  size_t first = 1;
  const auto work_on_batch = [&] {
    if (!batch.empty()) work(first, batch);
    first += batch.size();
    batch.clear();
  };
  for (std::string line; std::getline(input, line);) {
    if (first == 1 && batch.empty()) line = std::string(text_of_file(line, file));
    if (!line.empty() && line.back() == '\r') line.pop_back();
    batch.push_back(std::move(line));
    if (batch.size() == most) work_on_batch();
  }
  if (input.bad()) fail("reading ", file, " failed after line ", first + batch.size() - 1);
  work_on_batch();
}

// work(), its errors naming the file and line.
template <class Work>
auto at_line(const std::string& file, size_t line, const Work& work) {
  try {
    return work();
  } catch (const Error& error) {
    fail(file, ":", line, ": ", error.what());
  }
}

void flush(std::ostream& out) {
  if (!out.flush()) fail("the results cannot be written: is the disk full, or the output closed?");
}

// The tokens of a line, `most` at most.
std::vector<int32_t> within(std::vector<int32_t> ids, int64_t most, const char* use) {
  if (static_cast<int64_t>(ids.size()) > most) fail(ids.size(), " tokens: the model can ", use, " ", most);
  return ids;
}

GenerationOptions options_of(const GenerateRequest& request, const Tokenizer& tokenizer) {
  const GenerationConfig& generation = request.generation;
  return {.temperature = generation.temperature,
          .top_k = generation.top_k,
          .top_p = generation.top_p,
          .max_new_tokens = generation.max_new_tokens,
          .seed = request.seed,
          .end_token = tokenizer.end_token()};
}

// How much of `text` can be shown now: all but an unfinished code point at its end.
size_t whole_characters(const std::string& text) {
  static const std::string replacement = "\xEF\xBF\xBD";
  const bool unfinished = text.size() >= replacement.size() &&
                          text.compare(text.size() - replacement.size(), std::string::npos, replacement) == 0;
  return unfinished ? text.size() - replacement.size() : text.size();
}

void stream_one(Machine& machine, LanguageModel& language, const GenerateRequest& request, std::ostream& out) {
  const Tokenizer& tokenizer = *language.tokenizer;
  const std::vector<std::vector<int32_t>> prompts{encode_prompt(tokenizer, request.prompt)};
  Generator generator(machine.ops, *language.model, machine.compute, 1);
  out << request.prompt << std::flush;
  std::vector<int32_t> tokens;
  size_t shown = 0;
  generator.generate(prompts, options_of(request, tokenizer), [&](size_t, int32_t token) {
    tokens.push_back(token);
    const std::string text = tokenizer.decode(tokens, /*skip_special_tokens=*/true);
    const size_t end = whole_characters(text);
    if (end > shown) out << text.substr(shown, end - shown) << std::flush;
    shown = std::max(shown, end);
  });
  out << tokenizer.decode(tokens, true).substr(shown) << '\n';
  flush(out);
}

// [0.5, -1.25]: each number with as few digits as give the same float again.
std::string json_list(std::span<const float> numbers) {
  std::string text = "[";
  for (const float number : numbers) {
    char digits[32];
    if (text.size() > 1) text += ", ";
    if (std::isfinite(number)) text.append(digits, std::to_chars(digits, digits + sizeof digits, number).ptr);
    else text += "null";
  }
  return text + "]";
}

}  // namespace

void generate_text(Machine& machine, LanguageModel& language, const GenerateRequest& request, std::ostream& out) {
  if (request.input_file.empty()) return stream_one(machine, language, request, out);
  const Tokenizer& tokenizer = *language.tokenizer;
  Generator generator(machine.ops, *language.model, machine.compute);
  GenerationOptions options = options_of(request, tokenizer);
  in_batches(request.input_file, [&](size_t first, const std::vector<std::string>& lines) {
    std::vector<std::vector<int32_t>> prompts;
    for (size_t i = 0; i < lines.size(); ++i)
      prompts.push_back(at_line(request.input_file, first + i, [&] {
        return within(encode_prompt(tokenizer, lines[i]), language.model->config().max_positions, "go on from");
      }));
    // Draws depend on a prompt's index in its batch: another seed a batch keeps the batches apart.
    options.seed = request.seed + first - 1;
    const auto continuations = generator.generate(prompts, options);
    for (size_t i = 0; i < lines.size(); ++i)
      out << nlohmann::ordered_json{{"prompt", lines[i]}, {"text", tokenizer.decode(continuations[i], true)}}.dump()
          << '\n';
    flush(out);
  });
}

void score_lines(Machine& machine, LanguageModel& language, const std::string& input_file, std::ostream& out) {
  in_batches(input_file, [&](size_t first, const std::vector<std::string>& lines) {
    std::vector<std::vector<int32_t>> sequences;
    for (size_t i = 0; i < lines.size(); ++i)
      sequences.push_back(at_line(input_file, first + i, [&] {
        return within(language.tokenizer->encode(lines[i]), most_scored_tokens(*language.model), "score");
      }));
    for (const Score& result : score(machine, *language.model, sequences)) {
      const std::string whole = nlohmann::ordered_json{{"tokens", result.tokens},
                                                       {"log_likelihood", result.log_likelihood},
                                                       {"perplexity", result.perplexity()}}
                                    .dump();
      out << whole.substr(0, whole.size() - 1) << ",\"log_probability\":" << json_list(result.log_probabilities)
          << ",\"rank\":" << nlohmann::json(result.ranks).dump() << "}\n";
    }
    flush(out);
  });
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

size_t embed_lines(SentenceEncoder& encoder, const std::string& input_file, std::ostream& out) {
  std::atomic<size_t> cut = 0;
  in_batches(input_file, [&](size_t first, const std::vector<std::string>& lines) {
    std::vector<std::vector<int32_t>> sentences(lines.size());
    parallel_for_or_throw(static_cast<int64_t>(lines.size()), [&](int64_t i) {
      const auto line = static_cast<size_t>(i);
      sentences[line] = at_line(input_file, first + line, [&] {
        bool is_cut = false;
        std::vector<int32_t> ids = encoder.encode(lines[line], &is_cut);
        require(!ids.empty(), "the line has no token");
        cut += is_cut;
        return ids;
      });
    });
    const std::vector<float> vectors = encoder.embed(sentences);
    const auto width = static_cast<size_t>(encoder.width());
    std::vector<std::string> texts(lines.size());
    parallel_for(static_cast<int64_t>(lines.size()), [&](int64_t i) {
      const auto line = static_cast<size_t>(i);
      texts[line] = "{\"embedding\": " + json_list({vectors.data() + line * width, width}) + "}\n";
    });
    for (const std::string& text : texts) out << text;
    flush(out);
  }, lines_embedded_at_once);
  return cut;
}

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
  in_batches(input_file, [&](size_t first, const std::vector<std::string>& lines) {
    for (size_t i = 0; i < lines.size(); ++i) {
      const Framed framed = at_line(input_file, first + i, [&] { return encode(lines[i]); });
      nlohmann::ordered_json result{{"ids", framed.ids}, {"offsets", framed.offsets}};
      if (request.pairs) result["type_ids"] = framed.types;
      out << result.dump() << '\n';
    }
    flush(out);
  });
}

}  // namespace engine
