// BERT, DistilBERT, RoBERTa, XLM-R and RemBERT, with a head for masked tokens and with one for classes, match
// transformers (golden/make_bert.py). The encoder with sinusoidal positions is tested here, too.
#include <cmath>

#include "models/sinusoidal_encoder.h"
#include "models/huggingface.h"
#include "tests/model_checks.h"
#include "tests/temporary.h"

namespace engine::test::test_bert {

namespace fs = std::filesystem;

namespace {

const fs::path golden_folder = "tests/golden/bert";
const std::vector<std::string> golden_names{"bert_masked",        "bert_classes",        "distilbert_masked",
                                            "distilbert_classes", "roberta_masked",      "roberta_classes",
                                            "xlm_roberta_masked", "xlm_roberta_classes", "rembert_masked",
                                            "rembert_classes",    "bert_answers",        "distilbert_answers",
                                            "roberta_answers",    "xlm_roberta_answers", "rembert_answers",
                                            "bert_untied",        "distilbert_untied",   "roberta_untied",
                                            "xlm_roberta_untied"};
// A device, which is slow where it is simulated, runs those that differ in what its kernels do.
const std::vector<std::string> names_on_devices{"bert_masked",  "bert_classes", "distilbert_masked", "roberta_classes",
                                                "bert_answers", "rembert_masked"};

// Calls check(run, golden) for every golden model, with gradients, on every backend.
void on_every_model(const std::function<void(const ModelRun&, const Golden&)>& check) {
  on_every_backend([&](Bench& bench) {
    for (const std::string& name : bench.is_device ? names_on_devices : golden_names) {
      CAPTURE(name);
      const Golden golden{golden_folder / name};
      const auto model = load_model(golden.folder / "model", bench.arena.memory(), true);
      check({bench, *model}, golden);
    }
  });
}

ModelConfig sinusoidal_config(HeadKind head) {
  return {.architecture = "sinusoidal_encoder",
          .hidden_size = 20,
          .num_layers = 2,
          .num_heads = 4,
          .ffn_size = 33,
          .vocab_size = 53,
          .max_positions = 23,
          .activation = "gelu",
          .dropout = 0.1f,
          .attention_dropout = 0.1f,
          .initializer_range = 0.3f,
          .head = head,
          .classifier_dropout = 0.1f,
          .labels = {"no", "maybe", "yes"}};
}

std::unique_ptr<Model> new_model(Bench& bench, const ModelConfig& config) {
  auto model = make_model(config);
  model->parameters().allocate(bench.arena.memory(), true);
  model->parameters().initialise(7);
  return model;
}

}  // namespace

TEST_CASE("bert: logits, loss, every gradient and three AdamW steps are those of transformers") {
  on_every_model([](const ModelRun& run, const Golden& golden) {
    CHECK_CLOSE(run.hidden(golden.batch()), golden.numbers("hidden"), golden.tolerance(run.bench.compute, "hidden"));
    check_golden(run, golden, [&](const std::string& folder) {
      return values_by_name(run.bench, *load_model(golden.folder / folder, run.bench.arena.memory(), false));
    });
  });
}

TEST_CASE("bert: sequences packed into one row give the same as one at a time") { on_every_model(check_packing); }

TEST_CASE("bert: output rows alone are the same as among all rows") { on_every_model(check_output_rows); }

TEST_CASE("bert: recomputation gives the same bits, with dropout too") {
  on_every_model([](const ModelRun& run, const Golden& golden) { check_recomputation(run, golden.batch()); });
}

TEST_CASE("bert: the same bits at any number of threads, and where nothing is kept or weights are packed") {
  on_every_model([](const ModelRun& run, const Golden& golden) {
    check_threads(run, golden.batch());
    const std::vector<double> logits = run.logits(golden.batch());
    CHECK(same_bits(run.logits(golden.batch(), /*keeps=*/false), logits));
    run.model.parameters().pack(run.bench.ops, run.bench.compute);
    CHECK_CLOSE(run.logits(golden.batch(), /*keeps=*/false), logits, golden.tolerance(run.bench.compute, "logits"));
  });
}

TEST_CASE("bert: gradients are derivatives of the loss, by finite differences, without and with dropout") {
  on_every_model([](const ModelRun& run, const Golden& golden) {
    // relu, in DistilBERT's classifier alone, has a kink that a step may cross. Its gradients are checked above.
    const ModelConfig& config = run.model.config();
    const bool is_smooth = config.architecture != "distilbert" || config.head == HeadKind::masked;
    if (run.bench.compute == DType::f32 && is_smooth) check_derivatives(run, golden.batch());
  });
}

TEST_CASE("bert: saved and loaded again it has the same bits") {
  on_every_model([](const ModelRun& run, const Golden& golden) {
    const TemporaryFolder folder;
    save_model(folder.path(), run.model);
    const Safetensors ours = Safetensors::open(folder.path() / "model.safetensors"),
                      theirs = Safetensors::open(golden.folder / "model" / "model.safetensors");
    CHECK(ours.entries().size() == theirs.entries().size());
    for (const auto& [name, entry] : theirs.entries()) {
      CAPTURE(name);
      CHECK(ours.at(name).shape == entry.shape);
      // Transformers does not read a bias to which the projection's own is not tied. It is saved as a copy of that one.
      const std::string copied = name == "cls.predictions.bias" ? "cls.predictions.decoder.bias"
                                 : name == "lm_head.bias"       ? "lm_head.decoder.bias"
                                                                : name;
      CHECK(ours.floats(name) == theirs.floats(theirs.entries().contains(copied) ? copied : name));
    }
    const auto loaded = load_model(folder.path(), run.bench.arena.memory(), false);
    const ModelRun again{run.bench, *loaded};
    CHECK(same_bits(again.values(), run.values()));
    CHECK(same_bits(again.logits(golden.batch()), run.logits(golden.batch())));
    if (loaded->config().head != HeadKind::classification) return;
    CHECK(loaded->config().labels == std::vector<std::string>{"no", "maybe", "yes"});
  });
}

TEST_CASE("sinusoidal encoder: packing, recomputation, threads, derivatives, saving") {
  on_every_backend([](Bench& bench) {
    for (const HeadKind head : {HeadKind::masked, HeadKind::classification}) {
      CAPTURE(static_cast<int>(head));
      const auto model = new_model(bench, sinusoidal_config(head));
      const ModelRun run{bench, *model};
      // The golden model has the same sizes and kind of head. It gives the batch and, as widths and depths are alike,
      // tolerances.
      const Golden golden{golden_folder / (head == HeadKind::masked ? "bert_masked" : "bert_classes")};
      const Batch batch{golden.batch().tokens, golden.batch().offsets, golden.batch().labels};
      check_packing(run, golden);
      check_recomputation(run, batch);
      check_threads(run, batch);
      if (bench.compute == DType::f32) check_derivatives(run, batch);
      const TemporaryFolder folder;
      save_model(folder.path(), *model);
      const auto loaded = load_model(folder.path(), bench.arena.memory(), false);
      CHECK(same_bits(ModelRun(bench, *loaded).logits(batch), run.logits(batch)));
    }
  });
}

TEST_CASE("sinusoidal encoder: positions are sinusoids, of 10000^(2i/C) or, doubled, of 10000^(4i/C)") {
  on_every_backend([](Bench& bench) {
    for (const bool doubled : {false, true}) {
      ModelConfig config = sinusoidal_config(HeadKind::none);
      config.own.get<SinusoidalOptions>().doubled_position_angles = doubled;
      const auto model = new_model(bench, config);
      // Without any weights the hidden states are the positions.
      for (const Parameter& p : model->parameters().all()) bench.arena.memory().zero(p.value.data, p.value.bytes());
      std::vector<double> expected;
      for (int t = 0; t < 23; ++t)
        for (int i = 0; i < 20; ++i) {
          const double angle = t / std::pow(10000.0, (doubled ? 2.0 : 1.0) * (i - i % 2) / 20.0);
          expected.push_back(i % 2 ? std::cos(angle) : std::sin(angle));
        }
      CHECK_CLOSE(ModelRun(bench, *model).hidden({std::vector<int>(23, 1), {0, 23}}), expected,
                  epsilon_of(DType::f32));
    }
  });
}

TEST_CASE("sinusoidal encoder: the trunk begins uniform within Glorot's bound, q, k and v as matrices of their own") {
  ModelConfig config = sinusoidal_config(HeadKind::none);
  config.hidden_size = 64, config.ffn_size = 0, config.vocab_size = 300;
  const auto model = make_model(config);
  model->parameters().allocate(host_memory(), false);
  model->parameters().initialise(3);
  for (const auto& [name, fans] : std::vector<std::pair<std::string, double>>{{"layers.0.attention.qkv.weight", 128},
                                                                              {"layers.1.feed_forward.up.weight", 320},
                                                                              {"embedding.tokens", 364}}) {
    const Tensor& value = model->parameters().at(name).value;
    double largest = 0, squares = 0;
    for (int64_t i = 0; i < value.count(); ++i) {
      const double v = static_cast<double>(value.as<float>()[i]);
      largest = std::max(largest, std::abs(v));
      squares += v * v;
    }
    const double bound = std::sqrt(6 / fans);
    CAPTURE(name);
    CHECK(largest <= bound);
    CHECK(largest >= 0.99 * bound);
    // The mean square of n uniform numbers is bound^2/3 with a deviation of 2 bound^2 / sqrt(45 n).
    const double n = static_cast<double>(value.count());
    CHECK(std::abs(squares / n - bound * bound / 3) <= 5 * 2 * bound * bound / std::sqrt(45 * n));
  }
}

}  // namespace engine::test::test_bert
