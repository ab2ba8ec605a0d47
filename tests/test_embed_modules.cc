// Every mode of pooling, several side by side, and the modules behind it: dense layers and norms.
#include <cmath>

#include "core/safetensors.h"
#include "tasks/embed.h"
#include "tests/machine.h"
#include "tests/model_run.h"
#include "tests/sentence_folder.h"

namespace engine::test::test_embed_modules {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

constexpr size_t width = 24;
const std::vector<std::string> modes{"cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"};

// Returns the hidden states of a sentence's tokens, one after another.
std::vector<double> hidden_states(Bench& bench, const fs::path& path, const std::vector<int32_t>& ids) {
  const auto model = load_model(path, bench.arena.memory(), false);
  return ModelRun(bench, *model).hidden({{ids.begin(), ids.end()}, {0, static_cast<int>(ids.size())}});
}

// Pools the tokens from `first` on. Weights count all tokens.
std::vector<double> pooled(const std::vector<double>& hidden, const std::string& mode, size_t first) {
  const size_t count = hidden.size() / width;
  std::vector<double> row(width);
  for (size_t c = 0; c < width; ++c) {
    double sum = 0, weighted = 0, weights = 0, most = -INFINITY;
    for (size_t t = first; t < count; ++t) {
      const double value = hidden[t * width + c], weight = static_cast<double>(t + 1);
      sum += value, weighted += weight * value, weights += weight, most = std::max(most, value);
    }
    const auto read = static_cast<double>(count - first);
    row[c] = mode == "cls"                    ? hidden[first * width + c]
             : mode == "max"                  ? most
             : mode == "mean"                 ? sum / read
             : mode == "mean_sqrt_len_tokens" ? sum / std::sqrt(read)
             : mode == "weightedmean"         ? weighted / weights
                                              : hidden[(count - 1) * width + c];
  }
  return row;
}

void set_modules(const SentenceFolder& folder, const std::vector<std::string>& behind_pooling) {
  json modules = json::array();
  modules.push_back({{"path", ""}, {"type", "sentence_transformers.models.Transformer"}});
  modules.push_back({{"path", "1_Pooling"}, {"type", "sentence_transformers.models.Pooling"}});
  for (const std::string& path : behind_pooling)
    modules.push_back({{"path", path}, {"type", "sentence_transformers.models." + path.substr(2)}});
  write_file(folder.path / "modules.json", modules.dump());
}

struct DenseFolder {
  size_t inputs, outputs;
  json config;
  std::vector<float> weight, bias, residual;

  DenseFolder(const fs::path& path, size_t inputs_, size_t outputs_, json more) : inputs(inputs_), outputs(outputs_) {
    Random random(7, outputs);
    const auto numbers = [&](size_t count) {
      std::vector<float> values;
      for (size_t i = 0; i < count; ++i) values.push_back(0.3f * random.normal());
      return values;
    };
    weight = numbers(inputs * outputs), bias = numbers(outputs), residual = numbers(inputs * outputs);
    config = {{"in_features", inputs}, {"out_features", outputs}};
    config.update(more);
    fs::create_directory(path);
    write_file(path / "config.json", config.dump());
    std::vector<SafetensorsItem> tensors;
    const auto add = [&](const char* name, const std::vector<int64_t>& shape, const std::vector<float>& values) {
      tensors.push_back({name, "F32", shape, [&values](char* to) {
                           std::copy_n(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float), to);
                         }});
    };
    const auto rows = static_cast<int64_t>(outputs), cols = static_cast<int64_t>(inputs);
    add("linear.weight", {rows, cols}, weight);
    if (config.value("bias", true)) add("linear.bias", {rows}, bias);
    if (config.value("use_residual", false) && inputs != outputs) add("residual.weight", {rows, cols}, residual);
    write_safetensors(path / "model.safetensors", tensors);
  }
  std::vector<double> of(const std::vector<double>& x, double (*activation)(double)) const {
    std::vector<double> y(outputs);
    for (size_t o = 0; o < outputs; ++o) {
      double sum = config.value("bias", true) ? static_cast<double>(bias[o]) : 0, skipped = 0;
      for (size_t i = 0; i < inputs; ++i) {
        sum += static_cast<double>(weight[o * inputs + i]) * x[i];
        skipped += static_cast<double>(residual[o * inputs + i]) * x[i];
      }
      y[o] = activation(sum);
      if (config.value("use_residual", false)) y[o] += inputs == outputs ? x[o] : skipped;
    }
    return y;
  }
};

}  // namespace

TEST_CASE("embed: every mode of pooling alone, and several side by side, with the prompt and without") {
  on_every_backend([](Bench& bench) {
    const SentenceFolder sentences;
    set_modules(sentences, {});
    write_file(sentences.path / "config_sentence_transformers.json",
               R"({"prompts": {"query": "a c "}, "default_prompt_name": "query"})");
    Communicator ranks;
    Machine machine{bench.ops, bench.arena, bench.compute, ranks};
    const double tolerance = bench.compute == DType::bf16 ? 8 * epsilon_of(DType::bf16) : 64 * epsilon_of(DType::f32);
    std::vector<std::vector<std::string>> chosen{{"max", "mean", "lasttoken"}, {"weightedmean", "cls"}};
    for (const std::string& mode : modes) chosen.push_back({mode});
    for (const std::vector<std::string>& some : chosen)
      for (const bool includes_prompt : {true, false}) {
        CAPTURE(json(some).dump());
        CAPTURE(includes_prompt);
        write_file(sentences.path / "1_Pooling" / "config.json",
                   json{{"pooling_mode", some}, {"include_prompt", includes_prompt}}.dump());
        SentenceEncoder encoder(sentences.path, machine);
        CHECK(encoder.width() == static_cast<int64_t>(width * some.size()));
        const std::vector<std::vector<int32_t>> ids{encoder.encode("b e"), encoder.encode("z"), encoder.encode("")};
        CHECK(ids[0].size() == 6);
        const std::vector<float> vectors = encoder.embed(ids);
        for (size_t i = 0; i < ids.size(); ++i) {
          std::vector<double> expected;
          for (const std::string& mode : some) {
            const std::vector<double> row =
                pooled(hidden_states(bench, sentences.path, ids[i]), mode, includes_prompt ? 0 : 3);
            expected.insert(expected.end(), row.begin(), row.end());
          }
          const auto begin = vectors.begin() + static_cast<std::ptrdiff_t>(i * expected.size());
          CHECK_CLOSE(std::vector<double>(begin, begin + encoder.width()), expected, tolerance);
        }
      }
  });
}

TEST_CASE("embed: where no token stands behind the prompt, there is no maximum, and sums are zero") {
  const SentenceFolder sentences;
  set_modules(sentences, {});
  OwnMachine own;
  load_tokenizer(sentences.path)->save(sentences.path);
  write_file(sentences.path / "tokenizer_config.json", R"({"tokenizer_class": "PreTrainedTokenizerFast"})");
  json file = json::parse(read_text(sentences.path / "tokenizer.json"));
  file["post_processor"] = nullptr;  // so that nothing stands behind a text
  write_file(sentences.path / "tokenizer.json", file.dump());
  write_file(sentences.path / "config_sentence_transformers.json",
             R"({"prompts": {"query": "a c"}, "default_prompt_name": "query"})");
  write_file(sentences.path / "1_Pooling" / "config.json", R"({"pooling_mode": "max", "include_prompt": false})");
  const SentenceEncoder encoder(sentences.path, own.machine);
  CHECK(encoder.encode(" e").size() == 3);
  CHECK_THROWS_WITH_AS(encoder.encode(""), "the line has no token behind the prompt, so there is no maximum", Error);
  write_file(sentences.path / "1_Pooling" / "config.json",
             R"({"pooling_mode": ["weightedmean", "lasttoken"], "include_prompt": false})");
  SentenceEncoder sums(sentences.path, own.machine);
  const std::vector<std::vector<int32_t>> ids{sums.encode("")};
  CHECK(sums.embed(ids) == std::vector<float>(2 * width));
}

TEST_CASE("embed: the older names of pooling modes stand in the order of sentence-transformers") {
  const SentenceFolder sentences;
  using Pooling = SentenceConfig::Pooling;
  write_file(sentences.path / "1_Pooling" / "config.json",
             R"({"pooling_mode_lasttoken": true, "pooling_mode_weightedmean_tokens": true,
                 "pooling_mode_mean_tokens": true, "pooling_mode_max_tokens": true})");
  CHECK(read_sentence_config(sentences.path).poolings ==
        std::vector{Pooling::max, Pooling::mean, Pooling::weighted_mean, Pooling::last});
}

TEST_CASE("embed: dense layers and norms behind pooling, in their order") {
  on_every_backend([](Bench& bench) {
    const SentenceFolder sentences;
    const std::string place = "torch.nn.modules.";
    const DenseFolder first(sentences.path / "2_Dense", width, width, {{"use_residual", true}});
    const DenseFolder second(sentences.path / "4_Dense", width, 10,
                             {{"bias", false}, {"use_residual", true},
                              {"activation_function", place + "linear.Identity"}});
    const DenseFolder third(sentences.path / "5_Dense", 10, 7,
                            {{"activation_function", place + "activation.SiLU"}, {"module_input_name", nullptr}});
    set_modules(sentences, {"2_Dense", "3_Normalize", "4_Dense", "5_Dense"});
    Communicator ranks;
    Machine machine{bench.ops, bench.arena, bench.compute, ranks};
    SentenceEncoder encoder(sentences.path, machine);
    CHECK(encoder.width() == 7);
    const std::vector<std::vector<int32_t>> ids{encoder.encode("b e"), encoder.encode("z q x")};
    const std::vector<float> vectors = encoder.embed(ids);
    for (size_t i = 0; i < ids.size(); ++i) {
      std::vector<double> x = pooled(hidden_states(bench, sentences.path, ids[i]), "mean", 0);
      x = first.of(x, [](double t) { return std::tanh(t); });
      double squares = 0;
      for (const double value : x) squares += value * value;
      for (double& value : x) value /= std::sqrt(squares);
      x = third.of(second.of(x, [](double t) { return t; }), [](double t) { return t / (1 + std::exp(-t)); });
      const auto begin = vectors.begin() + static_cast<std::ptrdiff_t>(7 * i);
      CHECK_CLOSE(std::vector<double>(begin, begin + 7), x,
                  bench.compute == DType::bf16 ? 8 * epsilon_of(DType::bf16) : 64 * epsilon_of(DType::f32));
    }
  });
}

TEST_CASE("embed: a dense layer that does not fit, or is not read here, is an error that names file and key") {
  const SentenceFolder sentences;
  set_modules(sentences, {"2_Dense"});
  const fs::path folder = sentences.path / "2_Dense";
  OwnMachine own;
  const auto error = [&](const json& config = json::object()) {
    const DenseFolder dense(folder, 20, 5, config);
    try {
      SentenceEncoder(sentences.path, own.machine);
      return std::string("no error");
    } catch (const Error& problem) {
      return std::string(problem.what()).substr(sentences.path.string().size());
    }
  };
  CHECK(error() == "/2_Dense/config.json: \"in_features\" is 20, but the vectors before it have 24 numbers");
  CHECK(error({{"in_features", width}})
            .starts_with("/2_Dense/model.safetensors: tensor linear.weight has other sizes than [5, 24]"));
  CHECK(error({{"activation_function", "torch.nn.modules.activation.Sigmoid"}})
            .starts_with("/2_Dense/config.json: \"activation_function\" is \"torch.nn.modules.activation.Sigmoid\""));
  CHECK(error({{"module_input_name", "token_embeddings"}}).starts_with("/2_Dense/config.json: \"module_input_name\""));
  CHECK(error({{"dropout", 1}}) == "/2_Dense/config.json: the key \"dropout\" is not known");
  error();
  fs::remove(folder / "model.safetensors");
  write_file(folder / "pytorch_model.bin", "");
  CHECK_THROWS_WITH_AS(read_sentence_config(sentences.path), doctest::Contains("pytorch_model.bin is not read"), Error);
}

}  // namespace engine::test::test_embed_modules
