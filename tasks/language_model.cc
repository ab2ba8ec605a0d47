#include "tasks/language_model.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "models/bart.h"
#include "models/huggingface.h"
#include "text/sentencepiece.h"
#include "training/loss_step.h"
#include "training/run_folder.h"

namespace engine {

namespace {

// Says whether a text has the form of a name on the Hub, "gpt2" or "google/rembert".
bool may_be_on_hub(const std::string& name) {
  const auto is_part = [](std::string_view part) {
    return !part.empty() && part[0] != '.' && std::all_of(part.begin(), part.end(), [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
             c == '_';
    });
  };
  const size_t slash = name.find('/');
  if (slash == std::string::npos) return is_part(name);
  const std::string_view owner = std::string_view(name).substr(0, slash);
  return is_part(owner) && is_part(std::string_view(name).substr(slash + 1)) && owner != "runs";
}

}  // namespace

OpenedRun open_run(const std::filesystem::path& folder) {
  if (std::filesystem::exists(folder) && !std::filesystem::is_directory(folder))
    fail(folder.string(), ": is a file, not a folder");
  if (!std::filesystem::exists(folder))
    fail(folder.string(), ": there is no such folder",
         may_be_on_hub(folder.string()) ? "; models are not downloaded here: `hf download " + folder.string() +
                                              " --local-dir " + folder.filename().string() + "` does it"
                                        : "");
  const RunFolder run(folder);
  if (const std::filesystem::path model = run.model(); !model.empty())
    return {model, std::filesystem::exists(run.config()) ? run.config() : std::filesystem::path{}};
  if (std::filesystem::exists(folder / "config.json")) return {folder, {}};
  fail(folder.string(),
       ": neither a run folder (with a model in best/ or last/) nor a model folder (with config.json)");
}

bool has_tokenizer(const std::filesystem::path& folder) {
  const auto has = [&](const char* name) { return std::filesystem::exists(folder / name); };
  return has("tokenizer.json") || has("vocab.txt") || (has("vocab.json") && has("merges.txt")) ||
         !sentencepiece_in(folder).empty();
}

std::unique_ptr<Tokenizer> open_tokenizer(const std::filesystem::path& folder) {
  return load_tokenizer(has_tokenizer(folder) ? folder : open_run(folder).model);
}

LanguageModel load_language_model(const std::filesystem::path& folder, Memory& memory, DType precision) {
  LanguageModel loaded;
  loaded.tokenizer = load_tokenizer(folder);
  LoadReport report;
  loaded.model = load_model(folder, memory, /*with_gradients=*/false,
                            {.kinds = generating_kinds, .matrices = precision, .report = &report});
  if (!report.left_out.empty()) loaded.report = folder.string() + ": " + report.text();
  require_vocabulary(folder, *loaded.tokenizer, *loaded.model);
  return loaded;
}

void require_vocabulary(const std::filesystem::path& folder, const Tokenizer& tokenizer, const Model& model) {
  require(tokenizer.vocab_size() <= model.config().vocab_size, folder.string(), ": the tokenizer has ",
          tokenizer.vocab_size(), " tokens, the model only ", model.config().vocab_size);
}

void save_language_model(const std::filesystem::path& folder, Model& model, const Tokenizer& tokenizer,
                         const std::string& dtype) {
  save_model(folder, model, dtype);
  tokenizer.save(folder);
}

namespace {

// Returns what a prompt begins with: its tokens, or the one that begins or ends a document, or nothing.
std::vector<int32_t> encoded(const Tokenizer& tokenizer, std::string_view text) {
  std::vector<int32_t> ids = tokenizer.encode(text);
  if (const auto start = tokenizer.id_of("<start>")) {
    if (std::find(ids.begin(), ids.end(), *start) == ids.end()) ids.push_back(*start);
  } else if (ids.empty()) {
    const int32_t first = tokenizer.begin_token() >= 0 ? tokenizer.begin_token() : tokenizer.end_token();
    if (first >= 0) ids.push_back(first);
  }
  return ids;
}

}  // namespace

std::vector<int32_t> encode_prompt(const Tokenizer& tokenizer, std::string_view text) {
  std::vector<int32_t> ids = encoded(tokenizer, text);
  if (ids.empty())
    fail_usage("an empty prompt: the vocabulary has no token that begins or ends a document, so give some text");
  return ids;
}

void require_prompt(const Tokenizer& tokenizer, const std::string& prompt, const std::string& section) {
  if (encoded(tokenizer, prompt).empty())
    fail_usage(section, ".sample_prompt is empty, and the vocabulary has no token that begins or ends a document: ",
               "give some text, or set ", section, ".samples = 0");
}

std::vector<int32_t> encode_source(const Tokenizer& tokenizer, std::string_view text) {
  std::vector<int32_t> ids = encode_framed(tokenizer, text).ids;
  const int32_t end = tokenizer.end_token();
  if (end >= 0 && (ids.empty() || ids.back() != end)) ids.push_back(end);
  if (ids.empty()) fail_usage("an empty source: the vocabulary has no token that ends a text, so give some text");
  return ids;
}

std::vector<int32_t> decoder_start(const Model& model) {
  const int32_t start = model.config().own.get<BartOptions>().decoder_start_token;
  require(start >= 0, "the model's config.json names no decoder_start_token_id, with which its decoder begins");
  return {start};
}

void check_generation(const GenerationConfig& generation, const Model& model) {
  if (generation.num_beams > 1 && !reads_source(model))
    fail_usage("generation.num_beams is ", generation.num_beams,
               ": beam search is for encoder-decoders, and this model is a decoder alone: leave it out");
  if (generation.num_beams > 1 && generation.temperature > 0)
    fail_usage("generation.num_beams is ", generation.num_beams, ", and generation.temperature is ",
               generation.temperature, ": beam search draws no tokens, so set one of them back");
}

std::vector<int32_t> end_tokens_of(const Model& model, const Tokenizer& tokenizer) {
  const std::vector<int32_t>& ends = model.config().end_tokens();
  if (!ends.empty() || tokenizer.end_token() < 0) return ends;
  return {tokenizer.end_token()};
}

GenerationOptions generation_options(const GenerationConfig& generation, const Model& model,
                                     const Tokenizer& tokenizer, uint64_t seed) {
  check_generation(generation, model);
  const BartOptions& own = model.config().own.get<BartOptions>();
  const bool forces = reads_source(model);
  return {.temperature = generation.temperature,
          .top_k = generation.top_k,
          .top_p = generation.top_p,
          .max_new_tokens = generation.max_new_tokens,
          .seed = seed,
          .end_tokens = end_tokens_of(model, tokenizer),
          .first_token = forces ? own.forced_bos_token : -1,
          .last_token = forces ? own.forced_eos_token : -1,
          .beams = generation.num_beams,
          .length_penalty = generation.length_penalty,
          .early_stopping = generation.early_stopping};
}

double Score::perplexity() const {
  return tokens > 1 ? std::exp(-log_likelihood / static_cast<double>(tokens - 1)) : 1;
}

int64_t most_scored_tokens(const Model& model) { return model.config().max_positions + 1; }

std::vector<Score> score(Machine& machine, Model& model, std::span<const std::vector<int32_t>> sequences) {
  const int64_t most = most_scored_tokens(model);
  SequenceBatch batch;
  std::vector<Score> scores(sequences.size());
  for (size_t i = 0; i < sequences.size(); ++i) {
    const std::vector<int32_t>& ids = sequences[i];
    scores[i].tokens = static_cast<int64_t>(ids.size());
    if (ids.size() < 2) continue;
    require(scores[i].tokens <= most, "sequence ", i, " has ", ids.size(), " tokens: the model can score ", most);
    batch.tokens.insert(batch.tokens.end(), ids.begin(), ids.end() - 1);
    batch.targets.labels.insert(batch.targets.labels.end(), ids.begin() + 1, ids.end());
    batch.end_sequence();
  }
  ScoredTokens scored{.wants_losses = true, .wants_ranks = true};
  LossStep(model).evaluate(machine, batch, &scored);
  size_t at = 0;
  for (Score& s : scores)
    for (int64_t token = 1; token < s.tokens; ++token, ++at) {
      s.log_likelihood -= static_cast<double>(scored.losses[at]);
      s.log_probabilities.push_back(0 - scored.losses[at]);
      s.ranks.push_back(scored.ranks[at]);
    }
  return scores;
}

}  // namespace engine
