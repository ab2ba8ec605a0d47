// The task thought on text: batches, evaluation, samples, vocabulary, resuming.
#include <algorithm>
#include <cmath>
#include <map>

#include "tasks/documents.h"
#include "tasks/thought/samples.h"
#include "tests/thought_settings.h"
#include "training/loss_step.h"

namespace engine::test::test_thought {

namespace {

int32_t thought_of(Task& task) { return causal(task).tokenizer().id_of("<|dense|>").value(); }

std::vector<std::vector<int32_t>> inputs_of(const SequenceBatch& batch) {
  std::vector<std::vector<int32_t>> inputs;
  for (size_t s = 0; s + 1 < batch.offsets.size(); ++s)
    inputs.emplace_back(batch.tokens.begin() + batch.offsets[s], batch.tokens.begin() + batch.offsets[s + 1]);
  return inputs;
}

// A folder with a model of the characters of a text, whose vocabulary has so many rows more.
std::string folder_of_model(const TaskSettings& settings, int64_t more_rows) {
  TaskSettings gpt("task = \"gpt\"\n[data]\ntokenizer = \"characters\"\n[model]\nhidden_size = 32\nnum_layers = 2\n"
                   "num_heads = 2\nmax_positions = 48\ninitializer_range = 0.2\n");
  gpt.config.data.train = {walk};
  gpt.config.model.vocab_size = make_tokenizer_of_characters({walk})->vocab_size() + more_rows;
  const std::string folder = settings.file("model");
  std::filesystem::create_directories(folder);
  gpt.task()->save_model(folder);
  return folder;
}

}  // namespace

TEST_CASE("thought: an epoch takes every sequence once, its thoughts are a function of seed, epoch and sequence") {
  for (const std::string documents : {"apart", "joined"}) {
    CAPTURE(documents);
    const std::string own = "documents = \"" + documents + "\"\n";
    ThoughtSettings settings(own), same(own), other(own, "seed = 2\n"), without(own + "places = \"none\"\n");
    const auto task = settings.task(), again = same.task(), of_other_seed = other.task(), plain = without.task();
    const int32_t thought = thought_of(*task);
    const int64_t steps = task->steps_per_epoch();
    REQUIRE(steps > 5);
    std::vector<std::vector<int32_t>> epochs[2];  // sequences without their thoughts
    std::vector<std::vector<int32_t>> with[2], wanted;
    SequenceBatch batch, other_batch;
    for (int64_t step = 0; step < 2 * steps; ++step) {
      task->batch_of(step, batch);
      const size_t epoch = step < steps ? 0 : 1;
      for (std::vector<int32_t>& sequence : inputs_of(batch)) {
        CHECK(sequence.size() <= 32);
        with[epoch].push_back(sequence);
        std::erase(sequence, thought);
        epochs[epoch].push_back(sequence);
      }
      for (const int32_t label : batch.targets.labels) CHECK(label != thought);
      if (documents == "joined") CHECK(batch.sequences() <= 3);
    }
    for (auto& epoch : epochs) std::sort(epoch.begin(), epoch.end());
    for (auto& epoch : with) std::sort(epoch.begin(), epoch.end());
    // Thoughts at a sequence's end are no inputs, so a sequence's last tokens may be, or may not.
    CHECK(epochs[0].size() == epochs[1].size());
    CHECK(with[0] != with[1]);
    for (int64_t step = 0; step < steps; ++step) {
      plain->batch_of(step, batch);
      for (const std::vector<int32_t>& sequence : inputs_of(batch)) {
        CHECK(std::count(sequence.begin(), sequence.end(), thought) == 0);
        wanted.push_back(sequence);
      }
    }
    std::sort(wanted.begin(), wanted.end());
    REQUIRE(wanted.size() == epochs[0].size());
    for (size_t i = 0; i < wanted.size(); ++i) {
      // With a thought as the last target, the token before it is an input, which is only a target without it.
      CHECK(epochs[0][i].size() - wanted[i].size() <= 1);
      epochs[0][i].resize(wanted[i].size());
    }
    CHECK(epochs[0] == wanted);
    again->batch_of(steps + 2, batch);
    task->batch_of(steps + 2, other_batch);
    CHECK(batch.tokens == other_batch.tokens);
    CHECK(batch.targets.labels == other_batch.targets.labels);
    of_other_seed->batch_of(steps + 2, other_batch);
    CHECK(batch.tokens != other_batch.tokens);
  }
}

TEST_CASE("thought: the losses with thoughts and without are over the same targets") {
  ThoughtSettings settings;
  const auto task = settings.task();
  std::string samples, again_samples;
  const Metrics metrics = task->evaluate(settings.machine, samples);
  CHECK(task->evaluate(settings.machine, again_samples) == metrics);
  CHECK(samples == again_samples);
  for (const std::string& name : task->metric_names()) CHECK(std::isfinite(metric(metrics, name)));
  CHECK(metrics.size() == task->metric_names().size());
  CHECK(metric(metrics, "perplexity") == std::exp(metric(metrics, "loss")));
  CHECK(metric(metrics, "loss") != metric(metrics, "loss_without_thoughts"));

  // The same files as training data, without shuffling and thoughts, give the loss without them.
  ThoughtSettings plain("places = \"none\"\n");
  plain.config.data.shuffle = false;
  const auto other = plain.task();
  SequenceBatch batch, all;
  for (int64_t step = 0; step < other->steps_per_epoch(); ++step) {
    other->batch_of(step, batch);
    for (size_t s = 0; s + 1 < batch.offsets.size(); ++s) {
      for (auto i = static_cast<size_t>(batch.offsets[s]); i < static_cast<size_t>(batch.offsets[s + 1]); ++i) {
        all.tokens.push_back(batch.tokens[i]);
        all.targets.labels.push_back(batch.targets.labels[i]);
      }
      all.end_sequence();
    }
  }
  const LossTotals totals = LossStep(causal(*task).model()).evaluate(settings.machine, all);
  CHECK(std::abs(totals.loss / totals.scored - metric(metrics, "loss_without_thoughts")) < 1e-5);
  // Every sequence has its thoughts but for those that are too short.
  int64_t long_ones = 0;
  for (const auto& sequence : inputs_of(all)) long_ones += sequence.size() + 1 + 4 > 8;
  CHECK(metric(metrics, "thoughts") == static_cast<double>(4 * long_ones));
  const Metrics of_plain = other->evaluate(plain.machine, samples);
  CHECK(of_plain.size() == 2);
  CHECK(std::abs(metric(of_plain, "loss") - metric(metrics, "loss_without_thoughts")) < 1e-5);
  CHECK(task->start_report().find("sequences have fewer than 9 tokens") != std::string::npos);
}

TEST_CASE("thought: a run that stops goes on bit by bit, and its model is evaluated alike") {
  ThoughtSettings whole;
  const auto task = whole.trained();
  std::string samples;
  const Metrics metrics = task->evaluate(whole.machine, samples);
  ThoughtSettings half, rest;
  half.config.training.max_steps = 2;
  half.trained();
  rest.config.output_dir = half.config.output_dir;
  rest.trained();
  CHECK(read_text(rest.run("last/model.safetensors")) == read_text(whole.run("last/model.safetensors")));
  ThoughtSettings loaded;
  loaded.config.init = whole.run("last");
  loaded.config.data.tokenizer.clear();
  std::string of_loaded;
  CHECK(loaded.task(Use::evaluation)->evaluate(loaded.machine, of_loaded) == metrics);
  CHECK(of_loaded == samples);
}

TEST_CASE("thought: a loss that is an expectation over asking learns, and goes on bit by bit") {
  for (const std::string places : {"random", "searched"}) {
    CAPTURE(places);
    const std::string searched = places == "searched" ? "search_passes = 3\nsearch_group = 4\n" : "";
    const std::string own = "recurrence = \"exact\"\nexpectation = true\nplaces = \"" + places + "\"\n" + searched;
    ThoughtSettings whole(own);
    const auto task = whole.trained();
    std::string samples;
    const Metrics metrics = task->evaluate(whole.machine, samples);
    CHECK(metrics.size() == task->metric_names().size());
    for (const std::string& name : task->metric_names()) CHECK(std::isfinite(metric(metrics, name)));
    // A new model asks seldom, so thoughts change little of what is expected.
    CHECK(std::abs(metric(metrics, "loss_expected") - metric(metrics, "loss_without_thoughts")) < 0.1);
    CHECK(metric(metrics, "asked_share") >= 0);
    ThoughtSettings half(own), rest(own);
    half.config.training.max_steps = 2;
    half.trained();
    rest.config.output_dir = half.config.output_dir;
    rest.trained();
    CHECK(read_text(rest.run("last/model.safetensors")) == read_text(whole.run("last/model.safetensors")));
  }
  CHECK_THROWS_WITH_AS(
      ThoughtSettings("places = \"searched\"\nsearch_passes = 3\nexpectation = true\nreinforce = 1\n").task(),
      doctest::Contains("thought.reinforce"), UsageError);
}

TEST_CASE("thought: what an LSTM's cells cannot do is refused before a training") {
  for (const auto& [own, name] : std::map<std::string, std::string>{
           {"places = \"searched\"\nsearch_passes = 3\n", "thought.places"},
           {"expectation = true\n", "thought.expectation"},
           {"prefix_lm = true\n", "thought.prefix_lm"}}) {
    std::string text = small_thought + own;
    text.replace(text.find("num_heads = 2"), 13, "architecture = \"lstm\"");
    TaskSettings settings(text);
    settings.config.data.train = settings.config.data.eval = {walk};
    CHECK_THROWS_WITH_AS(settings.task(), doctest::Contains(name.c_str()), UsageError);
  }
}

TEST_CASE("thought: a searched training weighs what it kept and refused, counts it, and goes on bit by bit") {
  const std::string searched =
      "places = \"searched\"\nsearch_passes = 3\nsearch_group = 4\nreinforce = 0.5\npunish = 0.25\n";
  for (const char* const recurrence : {"exact", "none"}) {
    CAPTURE(recurrence);
    const std::string own = std::string(searched).append("recurrence = \"").append(recurrence).append("\"\n");
    ThoughtSettings whole(own);
    const auto task = whole.task();
    CHECK(task->follows_losses());
    task->prepare(whole.machine, 0);
    SequenceBatch batch;
    task->batch_of(0, batch);
    const int32_t thought = thought_of(*task);
    // A token before a thought asks for it with the weight of a kept one, and each other target has the weight 1.
    int64_t kept = 0, refused = 0;
    for (size_t i = 0; i < batch.tokens.size(); ++i) {
      const bool asks = batch.targets.labels[i] == thought;
      kept += asks;
      refused += batch.targets.penalties[i] > 0;
      CHECK(batch.targets.weights[i] == (asks ? 0.5f : 1.0f));
      CHECK((batch.targets.penalties[i] == 0 || (!asks && batch.targets.penalties[i] == 0.25f)));
    }
    const Metrics counted = task->log(whole.machine);
    CHECK(metric(counted, "accepted_share") >= 0.5);
    CHECK(static_cast<double>(kept) == metric(counted, "accepted_share") * metric(counted, "insertions_tried"));
    CHECK(kept > 0);
    CHECK(refused > 0);
    double kinds = 0;
    for (const auto& [name, value] : counted)
      if (name.starts_with("thoughts_after_")) kinds += value;
    CHECK(kinds == doctest::Approx(1));

    ThoughtSettings unbroken(own), half(own), rest(own);
    const auto trained = unbroken.trained();
    std::string samples;
    const Metrics metrics = trained->evaluate(unbroken.machine, samples);
    CHECK(metrics.size() == trained->metric_names().size());
    CHECK(samples.find("--- searched 1 ---") != std::string::npos);
    half.config.training.max_steps = 2;
    half.trained();
    rest.config.output_dir = half.config.output_dir;
    rest.trained();
    CHECK(read_text(rest.run("last/model.safetensors")) == read_text(unbroken.run("last/model.safetensors")));
  }
  CHECK_THROWS_WITH_AS(ThoughtSettings("places = \"searched\"\nsearch_passes = 5\n").task(),
                       doctest::Contains("thought.search_passes is 5"), UsageError);
  CHECK_THROWS_WITH_AS(ThoughtSettings("search_passes = 5\n").task(), doctest::Contains("thought.places"), UsageError);
}

TEST_CASE("thought: the token is the model's first free row") {
  const int32_t characters = make_tokenizer_of_characters({walk})->vocab_size();
  {
    ThoughtSettings settings;
    const auto task = settings.task();
    CHECK(thought_of(*task) == characters);
    CHECK(causal(*task).model().config().vocab_size == characters + 1);
    CHECK(causal(*task).tokenizer().is_special(characters));
  }
  {
    ThoughtSettings settings;
    settings.config.init = folder_of_model(settings, 3);
    settings.config.data.tokenizer.clear();
    const auto task = settings.task();
    CHECK(thought_of(*task) == characters);
    CHECK(causal(*task).model().config().vocab_size == characters + 3);
    // The trained folder has it, so that it is loaded again as it is.
    settings.trained();
    CHECK(load_tokenizer(settings.run("last"))->id_of("<|dense|>") == characters);
  }
  ThoughtSettings full;
  full.config.init = folder_of_model(full, 0);
  full.config.data.tokenizer.clear();
  CHECK_THROWS_WITH_AS(full.task(), doctest::Contains("thought.token \"<|dense|>\" has no place"), UsageError);
  CHECK_THROWS_AS(full.task(Use::evaluation), UsageError);
  // An evaluation without thoughts does without the token, and any special token may serve.
  full.sections.thought.count = 0;
  std::string samples;
  CHECK(full.task(Use::evaluation)->evaluate(full.machine, samples).size() == 2);
  full.sections.thought.count = 4;
  full.sections.thought.token = "<|endoftext|>";
  CHECK(causal(*full.task()).tokenizer().vocab_size() == characters);
}

TEST_CASE("thought: samples show thoughts, hide them or count them") {
  const auto tokenizer = make_tokenizer_of_characters({walk}, {"<t>"});
  const int32_t t = tokenizer->id_of("<t>").value();
  std::vector<int32_t> tokens = tokenizer->encode("<t>the<t><t> mill");
  tokens.push_back(tokenizer->end_token());
  CHECK(text_with_thoughts(*tokenizer, tokens, t, "shown") == "<t>the<t><t> mill");
  CHECK(text_with_thoughts(*tokenizer, tokens, t, "hidden") == "the mill");
  CHECK(text_with_thoughts(*tokenizer, tokens, t, "counted") == "the mill\n(3 thoughts)");
  CHECK(text_with_thoughts(*tokenizer, {}, t, "shown").empty());

  // Samples of an untrained model, whose thoughts are as likely as any token.
  const auto samples_with = [](const std::string& show, int most_in_a_row) {
    ThoughtSettings settings("show = \"" + show + "\"\nsample_prompt = \"The \"\n");
    settings.sections.thought.samples = 40;
    settings.sections.thought.most_in_a_row = most_in_a_row;
    std::string samples;
    settings.task()->evaluate(settings.machine, samples);
    return samples;
  };
  const std::string shown = samples_with("shown", 8), hidden = samples_with("hidden", 8);
  CHECK(shown.find("--- sample 40 ---\nThe ") != std::string::npos);
  CHECK(shown.find("<|dense|>") != std::string::npos);
  std::string without = shown;
  for (size_t at; (at = without.find("<|dense|>")) != std::string::npos;) without.erase(at, 9);
  CHECK(hidden == without);
  CHECK(samples_with("counted", 8).find(" thoughts)\n") != std::string::npos);
  CHECK(samples_with("shown", 0).find("<|dense|>") == std::string::npos);
}

TEST_CASE("thought: what cannot be is a usage error that names the option") {
  const auto refused = [](const std::string& own, const char* what) {
    CAPTURE(own);
    CHECK_THROWS_WITH_AS(ThoughtSettings(own).task(), doctest::Contains(what), UsageError);
  };
  const auto refused_with = [](const std::function<void(ThoughtSettings&)>& change, const char* what) {
    ThoughtSettings settings;
    change(settings);
    CHECK_THROWS_WITH_AS(settings.task(), doctest::Contains(what), UsageError);
  };
  refused("arm = \"pause\"\n", "thought.arm");
  refused("nodes = 9\n", "thought.nodes");
  refused_with([](ThoughtSettings& s) { s.sections.thought.count = 17; }, "room for 16 thoughts");
  refused_with([](ThoughtSettings& s) { s.sections.thought.context = 49; }, "only 48 positions");
  refused_with([](ThoughtSettings& s) { s.sections.thought.token = ""; }, "thought.token is empty");
  refused_with([](ThoughtSettings& s) { s.config.data.block_size = 16; }, "data.block_size");
  refused_with([](ThoughtSettings& s) { s.config.data.train.clear(); }, "data.train is missing");
  refused_with([](ThoughtSettings& s) { s.config.data.tokenizer.clear(); }, "data.tokenizer is missing");
  refused_with([](ThoughtSettings& s) { s.config.model.architecture = "bart"; }, "decoders alone");
  refused_with([](ThoughtSettings& s) { s.config.model.vocab_size = 20; }, "model.vocab_size is 20");
  ThoughtSettings nothing;
  nothing.config.init = folder_of_model(nothing, 1);
  nothing.config.data.tokenizer.clear();
  nothing.config.data.eval.clear();
  std::string samples;
  CHECK_THROWS_WITH_AS(nothing.task(Use::evaluation)->evaluate(nothing.machine, samples),
                       doctest::Contains("nothing to evaluate on"), UsageError);
}

}  // namespace engine::test::test_thought
