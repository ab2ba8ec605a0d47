#include "training/rate_scales.h"

#include "tests/temporary.h"
#include "tests/training_task.h"

#include <doctest/doctest.h>

namespace engine::test::test_rate_scales {

namespace {

Parameters table_of(const std::vector<std::string>& names) {
  Parameters parameters;
  for (const std::string& name : names) parameters.add(name, {2, 2}, Initial::zeros());
  return parameters;
}

TrainingConfig config_of(std::vector<std::string> scales, float layer_decay = 1) {
  TrainingConfig config;
  config.learning_rate_scales = std::move(scales);
  config.layer_decay = layer_decay;
  return config;
}

using Scales = std::vector<float>;

}  // namespace

TEST_CASE("rate scales: by the beginning of a name, the longest counts") {
  const Parameters parameters =
      table_of({"embedding.tokens", "layers.1.norm1.gain", "layers.10.norm1.gain", "pooler.weight", "classifier.bias"});
  CHECK(rate_scales(parameters, config_of({})) == Scales{1, 1, 1, 1, 1});
  CHECK(rate_scales(parameters, config_of({"embedding:0", "classifier:10"})) == Scales{0, 1, 1, 1, 10});
  CHECK(rate_scales(parameters, config_of({"layers.1:0.5"})) == Scales{1, 0.5, 1, 1, 1});
  CHECK(rate_scales(parameters, config_of({"layers.10.norm1.gain:3", "layers:0"})) == Scales{1, 0, 3, 1, 1});
}

TEST_CASE("rate scales: by depth, in each stack of layers from its top") {
  const Parameters one = table_of(
      {"embedding.tokens", "embedding.norm.gain", "layers.0.x", "layers.1.x", "layers.2.x", "classifier.bias"});
  CHECK(rate_scales(one, config_of({}, 0.5f)) == Scales{0.0625f, 0.0625f, 0.125f, 0.25f, 0.5f, 1});
  CHECK(rate_scales(one, config_of({"embedding:2", "classifier:3"}, 0.5f)) ==
        Scales{0.125f, 0.125f, 0.125f, 0.25f, 0.5f, 3});
  const Parameters two = table_of({"embedding.tokens", "encoder.embedding.norm.gain", "encoder.layers.0.x",
                                   "encoder.layers.1.x", "decoder.layers.0.x", "final_norm.gain"});
  CHECK(rate_scales(two, config_of({}, 0.5f)) == Scales{0.125f, 0.125f, 0.25f, 0.5f, 0.5f, 1});
}

TEST_CASE("rate scales: what names no parameter, is no factor or leaves nothing to train") {
  const Parameters parameters = table_of({"embedding.tokens", "layers.0.norm1.gain", "classifier.weight"});
  const auto message_of = [&](const std::vector<std::string>& scales) -> std::string {
    try {
      rate_scales(parameters, config_of(scales));
    } catch (const UsageError& error) {
      return error.what();
    }
    return "";
  };
  CHECK(message_of({"clasifier:2"}).ends_with("begins with \"clasifier\"; the nearest is classifier"));
  CHECK(message_of({"layers.1:2"}).ends_with("the nearest is layers.0"));
  CHECK(message_of({"embed:2"}).find("no parameter's name begins with \"embed\"") != std::string::npos);
  for (const char* entry :
       {"embedding", "embedding:", "embedding:-1", "embedding:2x", "embedding:inf", "embedding:nan"})
    CHECK_MESSAGE(message_of({entry}).find("such as \"embedding:0\"") != std::string::npos, entry);
  CHECK(message_of({"layers:1", "layers:2"}).ends_with("\"layers\" is there twice"));
  CHECK(message_of({"layers:0", "embedding:0", "classifier:0"}).find("no parameter to train") != std::string::npos);
}

TEST_CASE("rate scales: what is frozen keeps its bits, decays not, and has no part in the gradient's norm") {
  const TemporaryFolder folder(quick_place());
  Config config = tiny_config(folder.path(), "frozen");
  config.training.weight_decay = 0.5f;
  config.training.learning_rate_scales = {"embedding:0", "layers.0:0"};
  std::vector<std::vector<float>> begin, end;
  const auto values_of = [](TinyTask& task) {
    std::vector<std::vector<float>> all;
    for (const Parameter& p : task.parameters().all())
      all.emplace_back(p.value.as<float>(), p.value.as<float>() + p.value.count());
    return all;
  };
  std::vector<std::string> names;
  train_tiny(config, [&](TinyTask& task) {
    for (const Parameter& p : task.parameters().all()) names.push_back(p.name);
    task.before_step = [&](int64_t step) {
      if (step == 0) begin = values_of(task);
    };
    task.measure = [&] {
      end = values_of(task);
      return Metrics{};
    };
  });
  REQUIRE(begin.size() == end.size());
  int frozen = 0;
  for (size_t i = 0; i < names.size(); ++i) {
    const bool stays = names[i].starts_with("embedding") || names[i].starts_with("layers.0.");
    frozen += stays;
    CHECK_MESSAGE((begin[i] == end[i]) == stays, names[i]);
  }
  CHECK(frozen > 2);
}

TEST_CASE("rate scales: the norm is that of what is trained, and frozen gradients are zero after an update") {
  Parameters parameters = table_of({"embedding.tokens", "classifier.weight"});
  const std::unique_ptr<Ops> ops = make_cpu_ops();
  parameters.allocate(ops->memory(), true);
  const TrainingConfig config = config_of({"embedding:0"});
  Optimizer optimizer(*ops, parameters, config, DType::f32);
  for (Parameter& p : parameters.all())
    for (int i = 0; i < 4; ++i) parameters.gradients().read(p).as<float>()[i] = p.name == "classifier.weight" ? 2 : NAN;
  optimizer.clip_and_measure_norm();
  optimizer.update(1, 1);
  CHECK(optimizer.gradient_norm() == 4);
  for (Parameter& p : parameters.all()) {
    CHECK(parameters.gradients().read(p).as<float>()[3] == 0);
    CHECK((p.value.as<float>()[3] == 0) == (p.name == "embedding.tokens"));
  }
}

TEST_CASE("rate scales: gradients are clipped each by itself and then all together, frozen ones not at all") {
  Parameters parameters = table_of({"embedding.tokens", "layers.0.weight", "classifier.weight"});
  const std::unique_ptr<Ops> ops = make_cpu_ops();
  parameters.allocate(ops->memory(), true);
  TrainingConfig config = config_of({"embedding:0"});
  config.max_tensor_norm = 2;
  config.max_grad_norm = 1;
  config.adam_beta1 = 0;  // m is the gradient
  Optimizer optimizer(*ops, parameters, config, DType::f32);
  const auto gradient_of = [&](const char* name) {
    return parameters.gradients().read(parameters.at(name)).as<float>();
  };
  std::fill_n(gradient_of("embedding.tokens"), 4, NAN);
  std::fill_n(gradient_of("layers.0.weight"), 4, 8.0f);  // of norm 16
  std::fill_n(gradient_of("classifier.weight"), 4, 0.75f);  // of norm 1.5
  optimizer.clip_and_measure_norm();
  CHECK(gradient_of("layers.0.weight")[0] == 1);
  CHECK(gradient_of("classifier.weight")[0] == 0.75f);
  CHECK(std::isnan(gradient_of("embedding.tokens")[0]));
  CHECK(optimizer.gradient_norm() == 2.5f);  // 2 and 1.5
  optimizer.update(1, 1);
  const auto moment_of = [&](const char* name) {
    return optimizer.tensors()[parameters.at(name).index].m.as<float>()[0];
  };
  CHECK(moment_of("layers.0.weight") == doctest::Approx(1 / 2.5));
  CHECK(moment_of("classifier.weight") == doctest::Approx(0.75 / 2.5));
  CHECK(moment_of("embedding.tokens") == 0);
}

}  // namespace engine::test::test_rate_scales
