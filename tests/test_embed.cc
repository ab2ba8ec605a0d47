// Tests pooling, normalisation, prompts, limits and order of sentences' vectors on a small random encoder whose
// vocabulary are letters.
#include "commands/embed.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <cstring>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/files.h"
#include "core/parallel.h"
#include "models/huggingface.h"
#include "tests/machine.h"
#include "tests/model_run.h"
#include "tests/sentence_folder.h"

namespace engine::test::test_embed {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

// Returns the normalised sum of the hidden states of tokens begin ... end-1 of one sentence.
std::vector<double> expected(Bench& bench, const fs::path& path, const std::vector<int32_t>& ids, size_t begin,
                             size_t end) {
  const auto model = load_model(path, bench.arena.memory(), false);
  const int count = static_cast<int>(ids.size());
  const std::vector<double> hidden = ModelRun(bench, *model).hidden({{ids.begin(), ids.end()}, {0, count}});
  std::vector<double> vector(24);
  double squares = 0;
  for (size_t c = 0; c < 24; ++c) {
    for (size_t t = begin; t < end; ++t) vector[c] += hidden[t * 24 + c];
    squares += vector[c] * vector[c];
  }
  for (double& value : vector) value /= std::sqrt(squares);
  return vector;
}

}  // namespace

TEST_CASE("embed: mean and first rows, normalised, in the order of the input, whatever else is in the pass") {
  on_every_backend([](Bench& bench) {
    const SentenceFolder sentences;
    Communicator ranks;
    Machine machine{bench.ops, bench.arena, bench.compute, ranks};
    for (const bool first : {false, true}) {
      CAPTURE(first);
      sentences.pool(first ? "cls_token" : "mean_tokens");
      SentenceEncoder encoder(sentences.path, machine);
      std::vector<std::vector<int32_t>> ids;
      for (const char* text : {"b", "", "a c e g i", "z z", "q"}) ids.push_back(encoder.encode(text));
      CHECK(ids[1] == std::vector<int32_t>{2, 3});
      CHECK(ids[2] == std::vector<int32_t>{2, 5, 7, 9, 11, 13, 3});
      for (int i = 0; i < 700; ++i) ids.push_back(encoder.encode("a c e"));  // more than one pass
      ids.push_back(encoder.encode("d"));
      const std::vector<float> vectors = encoder.embed(ids);
      // In another pass a row may lie at another place of a product's blocks, which adds few terms in another order. In
      // bf16 each of the two layers rounds the difference once more.
      const double tolerance = bench.compute == DType::bf16 ? 8 * epsilon_of(DType::bf16) : 64 * epsilon_of(DType::f32);
      for (const size_t i : {size_t{0}, size_t{1}, size_t{2}, size_t{3}, size_t{4}, size_t{5}, ids.size() - 1}) {
        CAPTURE(i);
        const auto begin = vectors.begin() + static_cast<std::ptrdiff_t>(i * 24);
        CHECK_CLOSE(std::vector<double>(begin, begin + 24),
                    expected(bench, sentences.path, ids[i], 0, first ? 1 : ids[i].size()), tolerance);
      }
    }
  });
}

TEST_CASE("embed: the same bits at any number of threads, of which each has passes of its own") {
  const std::unique_ptr<Ops> ops = make_cpu_ops();
  Arena arena(host_memory());
  const SentenceFolder sentences;
  const int before = thread_count();
  for (const DType compute : {DType::f32, DType::bf16}) {
    Communicator ranks;
    Machine machine{*ops, arena, compute, ranks};
    SentenceEncoder encoder(sentences.path, machine);
    std::vector<std::vector<int32_t>> ids;
    for (int i = 0; i < 3000; ++i) ids.push_back(encoder.encode(std::string("a c e g i q").substr(0, i % 12)));
    set_threads(1);
    const std::vector<float> expected = encoder.embed(ids);
    for (const int threads : {2, 3, 5, 1}) {
      set_threads(threads);
      CHECK(encoder.embed(ids) == expected);
    }
    // An error in one of the passes is that of the whole.
    set_threads(3);
    ids[1234].clear();
    CHECK_THROWS_WITH_AS(encoder.embed(ids), "sentence 1234 has no tokens", Error);
  }
  set_threads(before);
}

TEST_CASE("embed: long lines are cut, folders without modules take the mean, and lines come out as JSON") {
  OwnMachine own;
  Machine& machine = own.machine;
  const SentenceFolder sentences;
  SentenceEncoder encoder(sentences.path, machine);
  CHECK(encoder.encode("a b c d e f g h i j k") == std::vector<int32_t>{2, 5, 6, 7, 8, 9, 10, 11, 3});
  const fs::path input = sentences.path / "input.txt";
  write_file(input, "a b\nq\n");
  std::ostringstream out;
  CHECK(embed_lines(encoder, input.string(), out) == 0);
  std::istringstream lines(out.str());
  const std::vector<std::vector<int32_t>> ids{encoder.encode("a b"), encoder.encode("q")};
  const std::vector<float> vectors = encoder.embed(ids);
  size_t at = 0;
  for (std::string line; std::getline(lines, line);) {
    const json parsed = json::parse(line);
    for (const json& number : parsed.at("embedding")) CHECK(number.get<float>() == vectors.at(at++));
  }
  CHECK(at == 48);
  // The same as an array: a header of a multiple of 64 bytes, then the floats.
  std::ostringstream array;
  embed_lines(encoder, input.string(), array, VectorsFormat::npy);
  const std::string bytes = array.str();
  CHECK(bytes.starts_with(std::string("\x93NUMPY\x01\x00", 8)));
  CHECK(bytes.find("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 24), }") == 10);
  const size_t header = bytes.find('\n') + 1;
  CHECK(header % 64 == 0);
  CHECK(static_cast<unsigned char>(bytes[8]) + 256 * static_cast<unsigned char>(bytes[9]) + 10 == header);
  REQUIRE(bytes.size() == header + vectors.size() * sizeof(float));
  CHECK(std::memcmp(bytes.data() + header, vectors.data(), vectors.size() * sizeof(float)) == 0);
  CHECK_THROWS_WITH_AS(embed_lines(encoder, "/dev/null", array, VectorsFormat::npy),
                       doctest::Contains("reads its input twice"), UsageError);
  write_file(input, "a\n\xff\n");
  CHECK_THROWS_WITH_AS(embed_lines(encoder, input.string(), out), doctest::Contains(":2: "), Error);
  // Nine tokens fit, two of them around the sentence.
  write_file(input, "a b c d e f g\na b c d e f g h\na\nb c d e f g h i j\n");
  CHECK(embed_lines(encoder, input.string(), out) == 2);

  fs::remove(sentences.path / "modules.json");
  fs::remove(sentences.path / "sentence_bert_config.json");
  const SentenceConfig plain = read_sentence_config(sentences.path);
  CHECK(plain.poolings == std::vector{SentenceConfig::Pooling::mean});
  CHECK(plain.modules.empty());
  CHECK(SentenceEncoder(sentences.path, machine).encode(std::string(200, 'a') + " a").size() <= 40);
}

TEST_CASE("embed: lower-cases where the folder says so, and is cut to the least limit") {
  OwnMachine own;
  Machine& machine = own.machine;
  const SentenceFolder sentences;
  const auto tokens = [&](const char* text) { return SentenceEncoder(sentences.path, machine).encode(text); };
  const auto limit = [&] { return SentenceEncoder(sentences.path, machine).max_length(); };
  // The tokenizer itself leaves capitals as they are, which its vocabulary has not.
  write_file(sentences.path / "tokenizer_config.json", R"({"do_lower_case": false, "model_max_length": 7})");
  CHECK(tokens("A b") == std::vector<int32_t>{2, 1, 6, 3});
  CHECK(limit() == 9);  // max_seq_length comes before the tokenizer's own limit
  write_file(sentences.path / "sentence_bert_config.json", R"({"do_lower_case": true})");
  CHECK(tokens("A b") == std::vector<int32_t>{2, 5, 6, 3});
  CHECK(limit() == 7);
  CHECK_THROWS_WITH_AS(tokens("a\xff"), doctest::Contains("at byte 1"), Error);
  write_file(sentences.path / "tokenizer_config.json", R"({"model_max_length": 1e30})");
  CHECK(limit() == 40);
  write_file(sentences.path / "sentence_bert_config.json", R"({"max_seq_length": 50})");
  CHECK(limit() == 40);
}

TEST_CASE("embed: a line without a token is an error that names it") {
  OwnMachine own;
  Machine& machine = own.machine;
  const SentenceFolder sentences;
  fs::remove(sentences.path / "vocab.txt");
  make_character_tokenizer({"ab"})->save(sentences.path);  // puts nothing around a sentence
  SentenceEncoder encoder(sentences.path, machine);
  const fs::path input = sentences.path / "input.txt";
  write_file(input, "a\n\nb\n");
  std::ostringstream out;
  CHECK_THROWS_WITH_AS(embed_lines(encoder, input.string(), out),
                       (input.string() + ":2: the line has no token").c_str(), Error);
  CHECK(out.str().empty());
}

TEST_CASE("embed: what a folder asks for and is not done is an error that names it") {
  const SentenceFolder sentences;
  const auto error = [&] {
    try {
      read_sentence_config(sentences.path);
      return std::string();
    } catch (const Error& problem) {
      return std::string(problem.what()).substr(sentences.path.string().size());
    }
  };
  CHECK(error() == "");
  write_file(sentences.path / "1_Pooling" / "config.json", R"({"pooling_mode": "min"})");
  CHECK(error().starts_with("/1_Pooling/config.json: the pooling mode is \"min\""));
  sentences.pool("none");  // means the mean
  CHECK(error() == "");
  CHECK(read_sentence_config(sentences.path).poolings == std::vector{SentenceConfig::Pooling::mean});
  write_file(sentences.path / "sentence_bert_config.json", R"({"max_seq_length": 0})");
  CHECK(error().starts_with("/sentence_bert_config.json: "));
  write_file(sentences.path / "modules.json", R"([{"path": "2_Dense", "type": "sentence_transformers.models.Dense"}])");
  CHECK(error().starts_with("/modules.json: a module is \"sentence_transformers.models.Dense\""));
  write_file(sentences.path / "modules.json", "{}");
  CHECK(error() == "/modules.json: should be a list of modules");
}

TEST_CASE("embed: a default prompt stands before every sentence, and pooling may leave it out") {
  on_every_backend([](Bench& bench) {
    const SentenceFolder sentences;
    Communicator ranks;
    Machine machine{bench.ops, bench.arena, bench.compute, ranks};
    const double tolerance = bench.compute == DType::bf16 ? 8 * epsilon_of(DType::bf16) : 64 * epsilon_of(DType::f32);
    write_file(sentences.path / "config_sentence_transformers.json",
               R"({"prompts": {"query": "a b ", "document": ""}, "default_prompt_name": "query"})");
    size_t checked = 0;
    for (const bool includes : {true, false})
      for (const char* mode : {"mean", "mean_sqrt_len_tokens", "cls", "lasttoken"}) {
        CAPTURE(includes);
        CAPTURE(mode);
        write_file(sentences.path / "1_Pooling" / "config.json",
                   json({{"pooling_mode", mode}, {"include_prompt", includes}}).dump());
        SentenceEncoder encoder(sentences.path, machine);
        const std::vector<std::vector<int32_t>> ids{encoder.encode("c e"), encoder.encode("q")};
        CHECK(ids[0] == std::vector<int32_t>{2, 5, 6, 7, 9, 3});
        const std::vector<float> vectors = encoder.embed(ids);
        for (size_t i = 0; i < ids.size(); ++i) {
          // The prompt is [CLS] a b.
          const size_t begin = includes ? 0 : 3, count = ids[i].size();
          const bool first = mode == std::string("cls"), last = mode == std::string("lasttoken");
          const auto row = vectors.begin() + static_cast<std::ptrdiff_t>(i * 24);
          CHECK_CLOSE(std::vector<double>(row, row + 24),
                      expected(bench, sentences.path, ids[i], last ? count - 1 : begin, first ? begin + 1 : count),
                      tolerance);
          ++checked;
        }
      }
    CHECK(checked == 16);
  });
}

TEST_CASE("embed: a sentence that is all prompt, and vectors that are cut short") {
  OwnMachine own;
  Machine& machine = own.machine;
  const SentenceFolder sentences;
  write_file(sentences.path / "config_sentence_transformers.json",
             R"({"prompts": {"query": "a b c d e f g h i j"}, "default_prompt_name": "query", "truncate_dim": 7})");
  write_file(sentences.path / "1_Pooling" / "config.json", R"({"pooling_mode": "mean", "include_prompt": false})");
  SentenceEncoder encoder(sentences.path, machine);
  CHECK(encoder.width() == 7);
  // Nine tokens fit, and the last, [SEP], is not counted as the prompt's.
  const std::vector<std::vector<int32_t>> ids{encoder.encode("x"), {2, 5, 3}};
  const std::vector<float> vectors = encoder.embed(ids);
  REQUIRE(vectors.size() == 14);
  CHECK(std::any_of(vectors.begin(), vectors.begin() + 7, [](float value) { return value != 0; }));
  CHECK(std::all_of(vectors.begin() + 7, vectors.end(), [](float value) { return value == 0; }));
  write_file(sentences.path / "config_sentence_transformers.json", "{}");
  write_file(sentences.path / "1_Pooling" / "config.json", "{}");
  const std::vector<float> whole = SentenceEncoder(sentences.path, machine).embed(std::span(ids).first(1));
  write_file(sentences.path / "config_sentence_transformers.json", R"({"truncate_dim": 5})");
  const std::vector<float> part = SentenceEncoder(sentences.path, machine).embed(std::span(ids).first(1));
  CHECK(part == std::vector<float>(whole.begin(), whole.begin() + 5));
}

// Returns what reading the folder says with another content of one of its files; "" is no error.
std::string error_with(const fs::path& folder, const std::string& file, const json& content) {
  const fs::path path = folder / file;
  const bool was_there = fs::exists(path);
  const std::string before = was_there ? read_text(path) : "";
  write_file(path, content.dump());
  std::string message;
  try {
    read_sentence_config(folder);
  } catch (const Error& problem) {
    message = std::string(problem.what()).substr(folder.string().size() + 1);
  }
  if (was_there) write_file(path, before);
  else fs::remove(path);
  return message;
}

TEST_CASE("embed: every key of a folder's files is obeyed, named in an error, or changes no vector") {
  const SentenceFolder sentences;
  const auto error = [&](const std::string& file, const json& content) {
    return error_with(sentences.path, file, content);
  };
  const std::string encoder = "sentence_bert_config.json", model = "config_sentence_transformers.json",
                    pooling = "1_Pooling/config.json", normalise = "2_Normalize/config.json";
  fs::create_directory(sentences.path / "2_Normalize");
  const std::vector<std::pair<std::string, json>> refused = {
      {encoder, {{"transformer_task", "fill-mask"}}},
      {encoder, {{"modality_config", {{"message", {{"method", "forward"}, {"method_output_name", "x"}}}}}}},
      {encoder, {{"module_output_name", "scores"}}},
      {encoder, {{"processing_kwargs", {{"text", {{"max_length", 3}}}}}}},
      {encoder, {{"tokenizer_name_or_path", "x"}}},
      {encoder, {{"model_args", {{"attn_implementation", "eager"}}}}},
      {encoder, {{"model_kwargs", {{"x", 1}}}}},
      {encoder, {{"tokenizer_args", {{"do_lower_case", true}}}}},
      {encoder, {{"processor_kwargs", {{"x", 1}}}}},
      {encoder, {{"config_args", {{"x", 1}}}}},
      {encoder, {{"config_kwargs", {{"x", 1}}}}},
      {encoder, {{"no_such_key", 1}}},
      {model, {{"model_type", "SparseEncoder"}}},
      {model, {{"prompts", 1}}},
      {model, {{"default_prompt_name", "none"}}},
      {model, {{"truncate_dim", 0}}},
      {pooling, {{"pooling_mode", "median"}}},
      {pooling, {{"pooling_mode", {"mean", "no"}}}},
      {pooling, {{"pooling_mode", json::array()}}},
      {pooling, {{"no_such_key", 1}}},
      {normalise, {{"module_input_name", "token_embeddings"}}},
      {normalise, {{"no_such_key", 1}}},
  };
  for (const auto& [file, content] : refused) {
    CAPTURE(content.dump());
    const std::string message = error(file, content), key = content.begin().key();
    CHECK(message.starts_with(file + ": "));
    CHECK(message.find(key == "pooling_mode" ? "pooling" : "\"" + key + "\"") != std::string::npos);
  }
  const std::vector<std::pair<std::string, json>> without_effect = {
      {encoder,
       {{"unpad_inputs", true},
        {"query_length", 3},
        {"document_length", 4},
        {"query_expansion", {{"length", 5}}},
        {"model_args", {{"trust_remote_code", true}}},
        {"transformer_task", "feature-extraction"},
        {"module_output_name", "token_embeddings"},
        {"processing_kwargs", json::object()},
        {"modality_config", {{"text", {{"method", "forward"}, {"method_output_name", "last_hidden_state"}}}}}}},
      {model, {{"__version__", {{"pytorch", "2"}}}, {"similarity_fn_name", "dot"}, {"requirements", {"x"}},
               {"model_type", "SentenceTransformer"}, {"prompts", {{"query", nullptr}}}}},
      {pooling, {{"word_embedding_dimension", 24}, {"embedding_dimension", 24}}},
      {normalise, {{"module_input_name", "sentence_embedding"}, {"module_output_name", nullptr}}},
  };
  for (const auto& [file, content] : without_effect) CHECK(error(file, content) == "");
}

TEST_CASE("embed: modules have an order, and are those of sentence-transformers") {
  const SentenceFolder sentences;
  const auto error = [&](const std::string& file, const json& content) {
    return error_with(sentences.path, file, content);
  };
  const auto modules = [&](std::initializer_list<const char*> types) {
    json list = json::array();
    for (const char* type : types)
      list.push_back(
          {{"type", std::string("sentence_transformers.models.") + type}, {"path", ""}, {"kwargs", {"task"}}});
    return error("modules.json", list);
  };
  CHECK(modules({"Transformer"}) == "modules.json: names no Pooling");
  CHECK(modules({}) == "modules.json: names no Transformer");
  CHECK(modules({"Pooling", "Transformer"}).starts_with("modules.json: a module is"));
  CHECK(modules({"Transformer", "LayerNorm"}).starts_with("modules.json: a module is"));
  CHECK(error("modules.json", json::array({{{"type", "own_code.Transformer"}, {"path", ""}}}))
            .starts_with("modules.json: a module is \"own_code.Transformer\""));
}

}  // namespace engine::test::test_embed
