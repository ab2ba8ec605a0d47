// Only parameters that products read have copies for products. These tests find which ones products read.
#include "kernels/observe/wrapped_ops.h"
#include "models/bart.h"
#include "models/architectures.h"
#include "tests/model_run.h"

namespace engine::test::test_factors {

namespace {

// A CPU backend that remembers which matrices products read.
class Watched final : public WrappedOps<Watched> {
 public:
  Memory& memory() override { return ops_->memory(); }
  size_t packed_bytes(int64_t k, int64_t n, DType compute) override { return ops_->packed_bytes(k, n, compute); }
  void pack_matrix(const PackArgs& args) override { ops_->pack_matrix(args); }
  template <class Args>
  void run(const char*, const Args& args, void (Ops::*method)(const Args&)) {
    if constexpr (std::is_same_v<Args, MatmulArgs>) read_.push_back(args.b.data);
    if constexpr (std::is_same_v<Args, CrossEntropyArgs>) read_.push_back(args.weight.data);
    ((*ops_).*method)(args);
  }
  // The operand is the matrix, or some rows of it.
  bool has_read(const Tensor& matrix) const {
    const auto* const begin = static_cast<const char*>(matrix.data);
    return std::any_of(read_.begin(), read_.end(), [&](const void* data) {
      return begin <= data && data < begin + matrix.bytes();
    });
  }

 private:
  std::unique_ptr<Ops> ops_ = make_cpu_ops();
  std::vector<const void*> read_;
};

}  // namespace

TEST_CASE("parameters: those are factors that products read, of every architecture") {
  ModelConfig sizes = open_model();
  sizes.hidden_size = 16, sizes.num_layers = 2, sizes.num_heads = 2, sizes.vocab_size = 11, sizes.max_positions = 8;
  std::vector<ModelConfig> configs;
  const auto add = [&](const char* architecture, HeadKind head, const char* relative = "none") {
    ModelConfig& config = configs.emplace_back(sizes);
    config.architecture = architecture;
    config.head = head;
    if (config.architecture == "bart") {
      config.own.get<BartOptions>().relative_positions = relative;
      config.own.get<BartOptions>().relative_distances = 3;
    }
    if (head == HeadKind::classification) config.labels = {"no", "yes"};
  };
  add("gpt2", HeadKind::none), add("bart", HeadKind::none, "separate");
  for (const char* const encoder : {"bert", "distilbert", "sinusoidal_encoder"})
    add(encoder, HeadKind::masked), add(encoder, HeadKind::classification);
  for (const ModelConfig& config : configs) {
    CAPTURE(config.architecture);
    Watched ops;
    Arena arena(ops.memory(), size_t{1} << 26);
    Bench bench{ops, arena, DType::f32};
    const auto model = make_model(config);
    model->parameters().allocate(ops.memory(), true);
    model->parameters().initialise(1);
    Batch batch{.tokens = {1, 2, 3, 4, 5}, .offsets = {0, 2, 5}, .labels = {1, -100, 0, -100, -100}};
    if (reads_source(*model)) batch.sources = {6, 7, 8}, batch.source_offsets = {0, 1, 3};
    ModelRun{bench, *model}.losses(batch);
    int factors = 0;
    for (const Parameter& p : model->parameters().all()) {
      CAPTURE(p.name);
      CHECK(p.is_factor == ops.has_read(p.value));
      factors += p.is_factor;
    }
    CHECK(factors > 8);
    model->parameters().pack(ops, DType::f32);
    for (const Parameter& p : model->parameters().all()) CHECK(static_cast<bool>(p.packed(DType::f32)) == p.is_factor);
  }
}

}  // namespace engine::test::test_factors
