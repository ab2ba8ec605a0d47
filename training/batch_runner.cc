#include "training/batch_runner.h"

#include "training/thought_runner.h"

namespace engine {

namespace {

class PlainRunner final : public BatchRunner {
 public:
  explicit PlainRunner(Model& model) : model_(model), saved_(model.make_saved()) {}

  DeviceBatch send(Arena& arena, const SequenceBatch& batch, int64_t first, int64_t last,
                   const DropoutStream& stream) override {
    return upload_.send(arena, model_, batch, first, last, stream);
  }
  int64_t scored() const override { return upload_.scored(); }
  uint64_t key() const override { return upload_.key(); }
  void run(Pass& pass, Objective& objective, const DeviceBatch& batch, const LossRequest& request) override {
    run_objective(pass, model_, objective, batch, request, *saved_);
  }

 private:
  Model& model_;
  std::unique_ptr<Model::Saved> saved_;
  BatchUpload upload_;
};

}  // namespace

std::unique_ptr<BatchRunner> make_plain_runner(Model& model) { return std::make_unique<PlainRunner>(model); }

std::unique_ptr<BatchRunner> make_runner(Model& model) {
  return model.thought_states() ? make_thought_runner(model, {}) : make_plain_runner(model);
}

}  // namespace engine
