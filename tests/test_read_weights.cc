// A model that is only read by passes in bf16 keeps its matrices in bf16. Its products have the bits that they have
// with matrices in f32, and it takes half of the memory.
#include <sys/wait.h>
#include <unistd.h>

#include "core/parallel.h"
#include "core/process_memory.h"
#include "models/huggingface.h"
#include "tests/model_checks.h"
#include "tests/temporary.h"

namespace engine::test::test_read_weights {

namespace fs = std::filesystem;

namespace {

const std::vector<std::string> goldens{"gpt2",
                                       "neox/parallel",
                                       "neox/sequential",
                                       "bart/plain",
                                       "bart/untied",
                                       "lstm/tied",
                                       "lstm/untied",
                                       "bert/bert_masked",
                                       "bert/bert_untied",
                                       "bert/distilbert_classes",
                                       "bert/roberta_masked",
                                       "bert/xlm_roberta_answers",
                                       "bert/rembert_masked",
                                       "bert/rembert_answers"};
const std::vector<std::string> goldens_on_devices{"gpt2", "bart/untied", "bert/rembert_masked"};

std::unique_ptr<Model> load(const fs::path& folder, Memory& memory, DType matrices) {
  return load_model(folder, memory, /*with_gradients=*/false, {.matrices = matrices});
}

bool is_token_table(const Parameter& p) { return p.name.find("embedding.tokens") != std::string::npos; }

// Calls check(bench, folder, batch) for golden models, on every backend in bf16.
void on_every_golden(const std::function<void(Bench&, const fs::path&, const Batch&)>& check) {
  int runs = 0;
  on_every_backend([&](Bench& bench) {
    if (bench.compute != DType::bf16) return;
    for (const std::string& name : bench.is_device ? goldens_on_devices : goldens) {
      CAPTURE(name);
      const Golden golden{fs::path("tests/golden") / name};
      check(bench, golden.folder / "model", golden.batch());
      ++runs;
    }
  });
  CHECK(runs >= static_cast<int>(goldens.size()));
}

// The bytes by which the most memory of a process grows that loads a model, and perhaps packs it for passes in bf16.
size_t memory_to_load(const fs::path& folder, DType matrices, bool packs = false) {
  int ends[2];
  require(pipe(ends) == 0, "no pipe");
  const pid_t child = fork();
  if (child == 0) {
    set_threads(1);  // the workers of this process are none of the child's
    const size_t before = peak_memory();
    size_t bytes = 0;
    try {
      const auto model = load(folder, host_memory(), matrices);
      if (packs) model->parameters().pack(*make_cpu_ops(), DType::bf16);
      bytes = peak_memory() - before;
    } catch (const std::exception& error) {
      static_cast<void>(!write(2, error.what(), std::strlen(error.what())));
    }
    _exit(write(ends[1], &bytes, sizeof bytes) == sizeof bytes ? 0 : 1);
  }
  close(ends[1]);
  size_t bytes = 0;
  if (read(ends[0], &bytes, sizeof bytes) != sizeof bytes) bytes = 0;
  close(ends[0]);
  waitpid(child, nullptr, 0);
  return bytes;
}

}  // namespace

TEST_CASE("read weights: matrices and token tables are in bf16, everything else is in f32") {
  on_every_golden([](Bench& bench, const fs::path& folder, const Batch&) {
    const auto model = load(folder, bench.arena.memory(), DType::bf16);
    const auto whole = load(folder, bench.arena.memory(), DType::f32);
    int matrices = 0;
    for (const Parameter& p : model->parameters().all()) {
      CAPTURE(p.name);
      const bool is_matrix = p.is_factor || p.is_lookup;
      matrices += is_matrix;
      CHECK(p.value.dtype == (is_matrix ? DType::bf16 : DType::f32));
      std::vector<double> expected = bench.values(whole->parameters().at(p.name).value);
      if (is_matrix)
        for (double& value : expected) value = static_cast<float>(bf16(static_cast<float>(value)));
      CHECK(bench.values(p.value) == expected);
    }
    CHECK(matrices > 4);
  });
}

TEST_CASE("read weights: logits have the bits that they have with matrices in f32 and rounded token tables") {
  on_every_golden([](Bench& bench, const fs::path& folder, const Batch& batch) {
    const auto model = load(folder, bench.arena.memory(), DType::bf16);
    const auto whole = load(folder, bench.arena.memory(), DType::f32);
    for (Parameter& p : whole->parameters().all()) {
      const Tensor& ours = model->parameters().at(p.name).value;
      if (is_token_table(p) && ours.dtype == DType::bf16) whole->parameters().write(bench.ops, p, ours);
    }
    for (const bool outputs_alone : {true, false}) {
      const std::vector<double> logits = ModelRun(bench, *whole).logits(batch, /*keeps=*/false, outputs_alone);
      CHECK(same_bits(ModelRun(bench, *model).logits(batch, /*keeps=*/false, outputs_alone), logits));
    }
    for (Model* const one : {model.get(), whole.get()}) one->parameters().pack(bench.ops, bench.compute);
    for (const bool outputs_alone : {true, false})
      CHECK(same_bits(ModelRun(bench, *model).logits(batch, /*keeps=*/false, outputs_alone),
                      ModelRun(bench, *whole).logits(batch, /*keeps=*/false, outputs_alone)));
  });
}

TEST_CASE("read weights: folders in BF16 and F16 are read as those in F32") {
  for (const std::string name : {"gpt2", "neox/parallel", "bert/rembert_answers"}) {
    CAPTURE(name);
    const auto model = load(fs::path("tests/golden") / name / "model", host_memory(), DType::f32);
    for (const std::string dtype : {"BF16", "F16"}) {
      CAPTURE(dtype);
      const TemporaryFolder folder;
      save_model(folder.path(), *model, dtype);
      const auto read = load(folder.path(), host_memory(), DType::bf16);
      const auto whole = load(folder.path(), host_memory(), DType::f32);
      for (const Parameter& p : whole->parameters().all()) {
        CAPTURE(p.name);
        const Tensor& ours = read->parameters().at(p.name).value;
        const float* const expected = p.value.as<float>();
        bool same = true;
        for (int64_t i = 0; i < p.value.count(); ++i)
          same = same && (ours.dtype == DType::f32 ? ours.as<float>()[i] == expected[i]
                                                   : ours.as<bf16>()[i].bits == bf16(expected[i]).bits);
        CHECK(same);
        // The file's own numbers lose nothing where they are bf16.
        if (dtype == "BF16" && ours.dtype == DType::bf16) CHECK(static_cast<float>(*ours.as<bf16>()) == *expected);
      }
    }
  }
}

TEST_CASE("read weights: such a model is neither trained nor saved") {
  const fs::path folder = "tests/golden/gpt2/model";
  const auto model = load(folder, host_memory(), DType::bf16);
  const TemporaryFolder saved;
  CHECK_THROWS_WITH_AS(save_model(saved.path(), *model), "a model that was loaded with matrices in bf16 is not saved",
                       Error);
  CHECK_THROWS_WITH_AS(load_model(folder, host_memory(), /*with_gradients=*/true, {.matrices = DType::bf16}),
                       "a model that is trained needs its values in f32", Error);
}

TEST_CASE("read weights: loading takes their bytes and little more, half as many in bf16, but never the whole file") {
  ModelConfig config;
  config.hidden_size = 256, config.num_layers = 16, config.num_heads = 4, config.ffn_size = 1024;
  config.vocab_size = 20000, config.max_positions = 64;
  for (const std::string architecture : {"bert", "gpt2"}) {  // whose file has matrices as ours, and transposed
    CAPTURE(architecture);
    const TemporaryFolder folder;
    config.architecture = architecture;
    size_t values = 0;
    {
      const auto model = make_model(config);
      model->parameters().allocate(host_memory(), false);
      model->parameters().initialise(1);
      save_model(folder.path(), *model);
      values = sizeof(float) * static_cast<size_t>(model->parameters().count());
    }
    REQUIRE(values > size_t{60} << 20);
    const size_t f32 = memory_to_load(folder.path(), DType::f32), bf16 = memory_to_load(folder.path(), DType::bf16);
    const size_t packed = memory_to_load(folder.path(), DType::bf16, /*packs=*/true);
    CAPTURE(values); CAPTURE(f32); CAPTURE(bf16); CAPTURE(packed);
    // Transposed matrices of the file, at the most 16 MiB and one, and a sanitizer's own notes.
    constexpr size_t more = size_t{32} << 20;
    CHECK(f32 >= values);
    CHECK(f32 < values + more);
    CHECK(bf16 >= values / 2);
    CHECK(bf16 < values / 2 + more);
    // The bf16 copy of GPT-2's token table is packed, too, and still looked up.
    const size_t table = architecture == "gpt2" ? size_t{20000} * 256 * sizeof(float) / 2 : 0;
    const bool packs_in_bf16 = make_cpu_ops()->packed_bytes(64, 64, DType::bf16) == 64 * 64 * size_of(DType::bf16);
    if (packs_in_bf16) CHECK(packed < values / 2 + table + more);
  }
}

}  // namespace engine::test::test_read_weights
