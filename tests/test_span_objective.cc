// Heads that answer questions, their loss and their folders: the parts beside the projection, the loss of which tokens
// an answer covers, and what becomes of both when a model is saved.
#include "models/span_objective.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "core/files.h"
#include "models/huggingface.h"
#include "tests/changed_folder.h"
#include "tests/invariance.h"
#include "training/loss_step.h"

namespace engine::test::test_span_objective {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

struct Parts {
  bool dense;
  const char* order;
};
const std::vector<Parts> every_head{{false, "independent"}, {true, "independent"}, {false, "start_first"},
                                    {false, "end_first"},   {true, "start_first"}, {true, "end_first"}};

ModelConfig config_of(const Parts& parts) {
  ModelConfig config;
  config.architecture = "bert";
  config.hidden_size = 16, config.num_layers = 1, config.num_heads = 2, config.ffn_size = 24;
  config.vocab_size = 37, config.max_positions = 16;
  config.initializer_range = 0.3f;
  config.head = HeadKind::question_answering;
  config.span_dense = parts.dense;
  config.span_order = parts.order;
  return config;
}

// A chain begins at 0, which would hide it.
void set_chain(Model& model, double weight) {
  if (Parameter* const chain = model.parameters().find("span_order.weight")) {
    const auto value = static_cast<float>(weight);
    model.parameters().write(*chain, 0, 1, &value);
  }
}

std::unique_ptr<Model> model_of(Memory& memory, const Parts& parts) {
  auto model = make_model(config_of(parts));
  model->parameters().allocate(memory, true);
  model->parameters().initialise(3);
  set_chain(*model, 0.7);
  return model;
}

// Makes ragged sequences with soft targets. The third one has no answer.
SequenceBatch batch_of() {
  SequenceBatch batch;
  Random random(3, 3);
  int sequence = 0;
  for (const int length : {7, 3, 12, 5}) {
    const bool has_answer = sequence++ != 2;
    for (int i = 0; i < length; ++i) {
      batch.tokens.push_back(static_cast<int32_t>(random.below(37)));
      batch.targets.labels.push_back(i == 0 ? 0 : -100);
      batch.targets.spans.push_back(static_cast<float>(i == 1) * 0.5f + 0.05f * random.uniform());
      batch.targets.spans.push_back(static_cast<float>(i == 2) * 0.25f + 0.05f * random.uniform());
      batch.targets.covered.push_back(has_answer && (i == 1 || i == 2) ? 1.0f : 0.0f);
    }
    batch.end_sequence();
  }
  return batch;
}

struct Trained {
  Bench& bench;
  Model& model;
  LossStep step;
  SequenceBatch batch = batch_of();

  Trained(Bench& on, Model& of, float mask_weight)
      : bench(on), model(of), step(of, std::make_unique<SpanObjective>(of, mask_weight)) {}
  // Returns the mean loss of the sequences first ... last-1, times their share, and adds to the gradients.
  double loss(int64_t first = 0, int64_t last = 4) {
    const ArenaScope scope(bench.arena);
    const Tensor totals = bench.zeros({3});
    Pass pass(Run{.ops = bench.ops, .arena = bench.arena, .compute = bench.compute});
    step.run(pass, batch, first, last, 0.25f, totals);
    CHECK(bench.values(totals)[1] == static_cast<double>(last - first));
    return bench.values(totals)[0] / 4;
  }
  std::map<std::string, Values> gradients() {
    std::map<std::string, Values> all;
    for (const Parameter& p : model.parameters().all())
      all[p.name] = bench.values(model.parameters().gradients().read(p));
    model.parameters().gradients().zero();
    return all;
  }
  Values logits() {
    Machine machine{bench.ops, bench.arena, bench.compute, ranks};
    ScoredTokens each{.wants_logits = true};
    step.evaluate(machine, batch, &each);
    return {each.logits.begin(), each.logits.end()};
  }
  Communicator ranks;
};

// Returns the logits of all rows by plain loops over the hidden states.
Values logits_by_hand(Bench& bench, Model& model, const SequenceBatch& batch) {
  const ArenaScope scope(bench.arena);
  BatchUpload upload;
  const DeviceBatch all = upload.send(bench.arena, model, batch, 0, batch.sequences());
  Pass pass(Run{.ops = bench.ops, .arena = bench.arena, .compute = bench.compute, .keep = false}, all.layout);
  const auto saved = model.make_saved();
  const Values hidden = bench.values(model.hidden_states(pass, all.tokens, *saved));
  const auto parameter = [&](const char* name) {
    const Parameter* const found = model.parameters().find(name);
    return found ? bench.values(found->value) : Values{};
  };
  const Values w = parameter("qa_outputs.weight"), b = parameter("qa_outputs.bias"),
               v = parameter("span_dense.outputs.weight"), d = parameter("span_dense.dense.weight"),
               bias = parameter("span_dense.dense.bias"), u = parameter("span_order.weight");
  Values logits;
  const size_t width = 16;
  for (size_t row = 0; row < hidden.size() / width; ++row) {
    double z[2] = {b[0], b[1]};
    for (size_t i = 0; i < width; ++i) {
      double t = bias.empty() ? 0 : bias[i];
      for (size_t k = 0; k < width && !d.empty(); ++k) t += d[i * width + k] * hidden[row * width + k];
      const double mish = t * std::tanh(std::log1p(std::exp(t)));
      for (size_t k = 0; k < 2; ++k)
        z[k] += w[k * width + i] * hidden[row * width + i] + (v.empty() ? 0 : v[k * width + i] * mish);
    }
    const bool end_first = model.config().span_order == "end_first";
    if (!u.empty()) z[end_first ? 0 : 1] += u[0] * z[end_first ? 1 : 0];
    logits.insert(logits.end(), {z[0], z[1]});
  }
  return logits;
}

// Checks each parameter's gradient along a direction by central differences of the loss.
void check_gradients(Trained& run) {
  const double size = run.loss();
  const auto gradients = run.gradients();
  for (const Parameter& p : run.model.parameters().all()) {
    CAPTURE(p.name);
    const Values values = run.bench.values(p.value), &gradient = gradients.at(p.name);
    Values direction;
    double slope = 0;
    for (size_t i = 0; i < values.size(); ++i) {
      direction.push_back(static_cast<double>(run.bench.random.normal()) /
                          std::sqrt(static_cast<double>(values.size())));
      slope += direction[i] * gradient[i];
    }
    const auto difference = [&](double by) {
      double ends[2], signs[2] = {1, -1};
      for (int end = 0; end < 2; ++end) {
        Values moved = values;
        for (size_t i = 0; i < moved.size(); ++i) moved[i] += signs[end] * by * direction[i];
        run.bench.fill(p.value, moved);
        ends[end] = run.loss();
      }
      return (ends[0] - ends[1]) / (2 * by);
    };
    const double fine = difference(0.02), coarse = difference(0.04);
    run.bench.fill(p.value, values);
    run.gradients();
    // The error of order by^2 cancels in two differences, and rounding moves a loss by some units.
    const double allowed = 0.5 * std::abs(fine - coarse) + 16 * epsilon_of(DType::f32) * size / 0.02;
    INFO("slope ", slope, ", by differences ", (4 * fine - coarse) / 3, ", allowed ", allowed);
    CHECK(std::abs((4 * fine - coarse) / 3 - slope) <= allowed);
  }
}

// Checks every gradient by itself. Those of the biases before the logits are compared with that of the logits' weights:
// where no logit reads more than one linear layer, a shift of all logits of a column changes nothing, and the biases'
// gradients are rounding alone.
void check_same_gradients(const std::map<std::string, Values>& actual, const std::map<std::string, Values>& expected,
                          double allowed) {
  double largest = 0;
  for (const double value : expected.at("qa_outputs.weight")) largest = std::max(largest, std::abs(value));
  for (const auto& [name, gradient] : expected) {
    CAPTURE(name);
    if (name != "qa_outputs.bias" && name != "layers.0.norm2.bias") {
      CHECK_CLOSE(actual.at(name), gradient, allowed);
      continue;
    }
    for (size_t i = 0; i < gradient.size(); ++i)
      CHECK(std::abs(actual.at(name)[i] - gradient[i]) <= allowed * std::max(largest, std::abs(gradient[i])));
  }
}

const fs::path golden_folder = "tests/golden/bert";

}  // namespace

TEST_CASE("span objective: gradients are the derivatives of the loss, with every head and with the mask's loss") {
  const std::unique_ptr<Ops> ops = make_cpu_ops();
  Arena arena(ops->memory(), size_t{1} << 30);
  Bench bench{*ops, arena, DType::f32};
  for (const Parts& parts : every_head)
    for (const float mask_weight : {0.0f, 0.8f}) {
      CAPTURE(parts.dense); CAPTURE(std::string(parts.order)); CAPTURE(mask_weight);
      const auto model = model_of(ops->memory(), parts);
      Trained run(bench, *model, mask_weight);
      check_gradients(run);
    }
}

TEST_CASE("span objective: logits are those of the formula, and every backend has the CPU's loss and gradients") {
  const std::unique_ptr<Ops> ops = make_cpu_ops();
  Arena arena(ops->memory(), size_t{1} << 30);
  Bench cpu{*ops, arena, DType::f32};
  on_every_backend([&](Bench& bench) {
    for (const Parts& parts : every_head) {
      CAPTURE(parts.dense); CAPTURE(std::string(parts.order));
      const double allowed = 32 * epsilon_of(bench.compute);
      const auto model = model_of(bench.arena.memory(), parts), other = model_of(ops->memory(), parts);
      Trained run(bench, *model, 0.8f), expected(cpu, *other, 0.8f);
      CHECK_CLOSE(run.logits(), logits_by_hand(bench, *model, run.batch), allowed);
      const double loss = expected.loss();
      CHECK(std::abs(run.loss() - loss) <= allowed * loss);
      check_same_gradients(run.gradients(), expected.gradients(), 2 * allowed);
    }
  });
}

TEST_CASE("span objective: parts of a batch add up, and an evaluation has the cross entropy alone") {
  on_every_backend([](Bench& bench) {
    const auto model = model_of(bench.arena.memory(), {true, "start_first"});
    Trained masked(bench, *model, 0.8f), plain(bench, *model, 0);
    const double whole = masked.loss();
    const auto gradients = masked.gradients();
    CHECK(std::abs(masked.loss(0, 1) + masked.loss(1, 4) - whole) <= 32 * epsilon_of(bench.compute) * whole);
    check_same_gradients(masked.gradients(), gradients, 64 * epsilon_of(bench.compute));
    CHECK(plain.loss() < whole);
    plain.gradients();
    CHECK(masked.logits() == plain.logits());
    // Without the mask there is nothing that its loss could be of.
    masked.batch.targets.covered.clear();
    CHECK_THROWS_WITH_AS(masked.loss(), "a batch without the mask of answers has no loss of it", Error);
  });
}

TEST_CASE("span heads: a folder of transformers gets new parts, and is saved so that transformers refuses it") {
  for (const std::string name : {"bert", "distilbert", "roberta", "xlm_roberta", "rembert"})
    for (const Parts& parts : every_head) {
      CAPTURE(name); CAPTURE(parts.dense); CAPTURE(std::string(parts.order));
      const fs::path folder = golden_folder / (name + "_answers") / "model";
      const bool has_order = parts.order != std::string("independent"), has_parts = parts.dense || has_order;
      LoadReport report;
      LoadRequest request{.report = &report};
      request.adjust = [&](ModelConfig& config) { config.span_dense = parts.dense, config.span_order = parts.order; };
      const auto model = load_model(folder, host_memory(), false, request);
      CHECK(report.text() == std::string("loaded qa_outputs, trunk") + (has_parts ? "; new " : "") +
                                 (parts.dense ? "span_dense" : "") + (parts.dense && has_order ? ", " : "") +
                                 (has_order ? "span_order" : ""));
      set_chain(*model, -0.4);
      const TemporaryFolder saved;
      save_model(saved.path(), *model);
      const json before = json::parse(read_text(folder / "config.json")),
                 config = json::parse(read_text(saved.path() / "config.json"));
      const std::string type = before["model_type"], type_class = before["architectures"][0];
      CHECK(config["model_type"] == (has_parts ? "engine_" + type : type));
      CHECK(config["architectures"] == json{has_parts ? "Engine" + type_class : type_class});
      CHECK(config.contains("engine_span_head") == has_parts);
      if (has_parts) CHECK(config["engine_span_head"] == json{{"dense", parts.dense}, {"order", parts.order}});
      const auto loaded = load_model(saved.path(), host_memory(), false, {.report = &report});
      CHECK(report.fresh.empty());
      CHECK(report.left_out.empty());
      CHECK(loaded->config().span_dense == parts.dense);
      CHECK(loaded->config().span_order == parts.order);
      CHECK(loaded->parameters().all().size() == model->parameters().all().size());
      for (const Parameter& p : model->parameters().all()) {
        const Parameter& same = loaded->parameters().at(p.name);
        CHECK((same.shape == p.shape && std::memcmp(same.value.data, p.value.data, p.value.bytes()) == 0));
      }
    }
}

TEST_CASE("span heads: another task leaves the parts out, another order begins anew, and wrong folders are refused") {
  const auto model = model_of(host_memory(), {true, "start_first"});
  const TemporaryFolder saved;
  save_model(saved.path(), *model);
  LoadReport report;
  const auto masked = load_model(saved.path(), host_memory(), false, {.head = HeadKind::masked, .report = &report});
  CHECK(report.text() == "loaded trunk; new masked_head; left out qa_outputs.bias, qa_outputs.weight, "
                         "span_dense.dense.bias, span_dense.dense.weight and 2 more");
  LoadRequest other_order{.report = &report};
  other_order.adjust = [](ModelConfig& config) { config.span_order = "end_first"; };
  const auto turned = load_model(saved.path(), host_memory(), false, other_order);
  CHECK(report.text() == "loaded qa_outputs, span_dense, trunk; new span_order; left out span_order.weight");
  CHECK(*turned->parameters().at("span_order.weight").value.as<float>() == 0);

  const auto error_after = [&](const std::function<void(ChangedFolder&)>& change) -> std::string {
    ChangedFolder folder(saved.path());
    change(folder);
    try {
      load_model(folder.write(), host_memory(), false);
    } catch (const Error& error) {
      return std::string(error.what()).substr(folder.folder.path().string().size());
    }
    return "";
  };
  CHECK(error_after([](ChangedFolder&) {}) == "");
  CHECK(error_after([](ChangedFolder& f) { f.remove("span_order"); }) ==
        "/model.safetensors: missing tensors: span_order.weight [1]");
  CHECK(error_after([](ChangedFolder& f) { f.config["engine_span_head"] = true; }) ==
        "/config.json: \"engine_span_head\" should be an object");
  CHECK(error_after([](ChangedFolder& f) { f.config["engine_span_head"]["order"] = "both"; }) ==
        "/config.json: model.span_order \"both\" is unknown: independent, start_first or end_first");
  CHECK(error_after([](ChangedFolder& f) { f.config.erase("engine_span_head"); })
            .starts_with("/config.json: \"model_type\" is \"engine_bert\", it should be one of: "));
  ModelConfig tokens = config_of({true, "independent"});
  tokens.head = HeadKind::masked;
  CHECK_THROWS_WITH_AS(make_model(tokens), doctest::Contains("model.span_dense is true: it is for a model that "
                                                             "answers questions"), UsageError);
}

}  // namespace engine::test::test_span_objective
