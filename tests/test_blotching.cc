// Rows that lack steps: which steps, their tokens, labels and positions, and trainings on them.
#include <cmath>
#include <map>
#include <set>

#include "tests/blotching_settings.h"
#include "tests/operation.h"

namespace engine::test::test_blotching {

namespace {

std::vector<bool> chosen(const BlotchingConfig& config, double share, size_t steps, Random& random) {
  std::vector<bool> left_out;
  Blotcher(config).choose(random, share, steps, left_out);
  return left_out;
}

std::string marks(const std::vector<bool>& left_out) {
  std::string text;
  for (const bool gone : left_out) text += gone ? 'x' : '.';
  return text;
}

// The losses of a row's kept targets by the definition with masks. Inputs and targets are streams that are masked
// apart, and the kept logits are those of the kept targets in their order. A token sees the inputs before it that are
// not masked, each at its position, which is listed for it alone here.
std::vector<float> masked_losses(TaskSettings& settings, Model& model, const Tokenizer& tokenizer,
                                 const std::string& row, int level, const std::vector<bool>& left_out,
                                 bool counts_present) {
  std::vector<int32_t> whole{tokenizer.id_of("<blotch_" + std::to_string(level) + ">").value()};
  for (const char c : row) whole.push_back(tokenizer.id_of({&c, 1}).value());
  whole.push_back(tokenizer.end_token());
  const std::vector<size_t> places = equal_signs(row);
  std::vector<bool> is_masked(whole.size(), false);
  for (size_t step = 0; step < left_out.size(); ++step)
    for (size_t i = places[step] + 1; left_out[step] && i <= places[step + 1]; ++i) is_masked[i + 1] = true;
  std::vector<size_t> inputs, targets;
  for (size_t i = 0; i + 1 < whole.size(); ++i)
    if (!is_masked[i]) inputs.push_back(i);
  for (size_t i = 1; i < whole.size(); ++i)
    if (!is_masked[i]) targets.push_back(i);
  REQUIRE(inputs.size() == targets.size());
  SequenceBatch batch;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (targets[i] <= places[0] + 1) continue;  // the problem and its =
    for (size_t seen = 0; seen <= i; ++seen) {
      batch.tokens.push_back(whole[inputs[seen]]);
      batch.positions.push_back(static_cast<int32_t>(counts_present ? seen : inputs[seen]));
      batch.targets.labels.push_back(seen == i ? whole[targets[i]] : -100);
    }
    batch.end_sequence();
  }
  ScoredTokens each{.wants_losses = true};
  LossStep(model).evaluate(settings.machine, batch, &each);
  return each.losses;
}

void refused(const std::string& lines, const char* what, const std::string& text = small_blotching) {
  CAPTURE(lines);
  CHECK_THROWS_WITH_AS(TaskSettings(text + lines).task(), doctest::Contains(what), UsageError);
}

std::string file(const TaskSettings& settings, const std::string& name) {
  return read_text(std::filesystem::path(settings.config.output_dir) / "run" / name);
}

const std::string all_changes = R"(blotch_p_min = 0
blotch_p_max = 0.6
n_btokens = 3
star_loops = 2
aug_loops = -1
axe_loops = 1
loop_rows = 24
pre_epochs = 1
aug_temp = 1.0
in_place = false
eval_temperatures = ["0", "0.7"]
votes = 3
)";

}  // namespace

TEST_CASE("blotching: steps are left out one by one with the share's probability") {
  Random random(2, 0);
  double gone = 0, pairs = 0, apart = 0;
  for (int i = 0; i < 4000; ++i) {
    const auto any = chosen(own_of(), 0.3, 7, random);
    gone += static_cast<double>(std::count(any.begin(), any.end(), true));
    pairs += any[2] && any[3];
    const auto spaced = chosen(own_of([](auto& c) { c.contig_blotches = false; }), 0.5, 7, random);
    for (size_t s = 1; s < 7; ++s) CHECK_FALSE((spaced[s - 1] && spaced[s]));
    apart += spaced[0] + spaced[1];
  }
  CHECK(std::abs(gone / 28000 - 0.3) < 0.01);
  CHECK(std::abs(pairs / 4000 - 0.09) < 0.015);
  CHECK(std::abs(apart / 4000 - (0.5 + 0.25)) < 0.03);  // the second one where the first is there
  CHECK(marks(chosen(own_of(), 0, 5, random)) == ".....");
  CHECK(marks(chosen(own_of(), 1, 5, random)) == "xxxxx");
  CHECK(chosen(own_of(), 1, 0, random).empty());
}

TEST_CASE("blotching: equally spaced steps are as many as the share says") {
  Random random(2, 0);
  const auto equal = own_of([](auto& c) { c.blotch_spacing = "equal"; });
  const auto apart = own_of([](auto& c) { c.blotch_spacing = "equal", c.contig_blotches = false; });
  CHECK(marks(chosen(equal, 0.5, 4, random)) == ".x.x");
  CHECK(marks(chosen(equal, 0.25, 8, random)) == "..x...x.");
  CHECK(marks(chosen(equal, 0.34, 3, random)) == ".x.");
  CHECK(marks(chosen(equal, 1, 1, random)) == "x");
  CHECK(marks(chosen(apart, 0.9, 5, random)) == "x.x.x");
  for (size_t steps = 0; steps < 12; ++steps)
    for (int tenth = 0; tenth <= 10; ++tenth) {
      const double share = tenth / 10.0;
      const auto left_out = chosen(equal, share, steps, random);
      CHECK(std::count(left_out.begin(), left_out.end(), true) == std::llround(share * static_cast<double>(steps)));
      const auto spaced = chosen(apart, share, steps, random);
      for (size_t s = 1; s < steps; ++s) CHECK_FALSE((spaced[s - 1] && spaced[s]));
    }
}

TEST_CASE("blotching: the shares of blotch tokens") {
  const auto shares = [](double least, double most, int64_t count, int64_t granularity) {
    return BlotchLevels(own_of([&](auto& c) {
             c.blotch_p_min = least, c.blotch_p_max = most, c.n_btokens = count, c.blotch_granularity = granularity;
           }))
        .shares();
  };
  CHECK(shares(0, 0.4, 0, 0).size() == 4);  // one for each tenth
  CHECK(shares(0.25, 0.75, 3, 0) == std::vector<double>{0.25, 0.5, 0.75});
  CHECK(shares(-1, 0.05, 0, 0) == std::vector<double>{0});
  const std::vector<double> eleven = shares(-1, -1, 10, 11);
  CHECK(eleven.size() == 10);
  CHECK(eleven[9] == doctest::Approx(9 / 11.0));
  CHECK(shares(-1, 0.5, 0, 4) == std::vector<double>{0, 0.25, 0.5});
  const BlotchLevels levels(own_of([](auto& c) { c.n_btokens = 10, c.blotch_granularity = 11; }));
  CHECK(levels.nearest(0.27) == 3);
  CHECK(levels.nearest(0.54) == 6);
  CHECK(levels.nearest(0.82) == 9);
  CHECK(levels.nearest(1) == 9);
  CHECK(levels.nearest(-1) == 0);
  CHECK(levels.tokens()[9] == "<blotch_9>");
  const BlotchLevels plain(own_of([](auto& c) { c.blotch_p = 0.4; }));
  CHECK(plain.count() == 1);
  CHECK(plain.share(0) == 0.4);
  CHECK(plain.tokens().empty());
}

TEST_CASE("blotching: a row's tokens, labels and positions, and its text without steps") {
  const BlotchingConfig config = own_of([](auto& c) { c.n_btokens = 2, c.blotch_p_max = 0.5; });
  const BlotchLevels levels(config);
  const auto tokenizer = make_problem_tokenizer(levels.tokens());
  const std::string row = "1+2*3=2*3+1=3+3+1=7";
  const std::vector<bool> left_out{false, true};
  CHECK(without_steps(row, {false, true}) == "1+2*3=2*3+1=7");
  CHECK(without_steps(row, {true, true}) == "1+2*3=7");
  const auto read = [&](const std::function<void(BlotchingConfig&)>& change) {
    BlotchingConfig own = config;
    change(own);
    SequenceBatch batch;
    const RowFormat format(*tokenizer, levels, own);
    format.append(row, 1, {true, false}, batch);
    format.append(row, 0, left_out, batch);
    return batch;
  };
  const SequenceBatch batch = read([](auto&) {});
  CHECK(tokenizer->decode(batch.tokens) == "<blotch_1>1+2*3=3+3+1=7<blotch_0>1+2*3=2*3+1=7");
  CHECK(batch.offsets == std::vector<int32_t>{0, 14, 28});
  CHECK(batch.positions.empty());
  const auto labels_of = [&](const SequenceBatch& one) {
    std::string text;
    for (size_t i = 14; i < 28; ++i) {
      const int32_t label = one.targets.labels[i];
      text += label == -100 ? "." : label == tokenizer->end_token() ? "E" : tokenizer->token(label);
    }
    return text;
  };
  CHECK(labels_of(batch) == "......2*3+1=7E");
  CHECK(labels_of(read([](auto& c) { c.incl_intl_prob = true; })) == ".+2*3=2*3+1=7E");
  const SequenceBatch placed = read([](auto& c) { c.pad_pos_skip = false; });
  CHECK(placed.tokens == batch.tokens);
  CHECK(placed.positions == std::vector<int32_t>{0, 1, 2, 3, 4, 5, 6, 13, 14, 15, 16, 17, 18, 19,
                                                 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 19});
  CHECK(tokenizer->decode(RowFormat(*tokenizer, levels, config).prompt("1+2", 1)) == "<blotch_1>1+2=");
}

TEST_CASE("blotching: rows that lack steps have the losses of whole rows with masks, whichever way positions count") {
  for (const bool counts_present : {true, false}) {
    CAPTURE(counts_present);
    TaskSettings settings(small_blotching + "n_btokens = 3\nblotch_p_max = 0.6\npad_pos_skip = " +
                          (counts_present ? "true\n" : "false\n"));
    const auto task = settings.task();
    Model& model = causal(*task).model();
    const Tokenizer& tokenizer = causal(*task).tokenizer();
    const BlotchingConfig& own = settings.sections.blotching;
    const RowFormat format(tokenizer, BlotchLevels(own), own);
    Random random(7, 0);
    SequenceBatch batch;
    std::vector<double> expected;
    for (const std::string row : {"8+7+6=6+15=5+6+10=11+10=21", "2*3+9=3+3+9=6+9=15", "1+1=2", "9+0+4=9+4=13"}) {
      const auto left_out = chosen(own, 0.6, steps_of(equal_signs(row)), random);
      format.append(row, 2, left_out, batch);
      for (const float loss : masked_losses(settings, model, tokenizer, row, 2, left_out, counts_present))
        expected.push_back(static_cast<double>(loss));
    }
    ScoredTokens each{.wants_losses = true};
    LossStep(model).evaluate(settings.machine, batch, &each);
    CHECK_CLOSE(in_double(each.losses), expected, 40 * epsilon_of(DType::f32));
  }
}

TEST_CASE("blotching: batches are a function of seed and step, go through all rows, and draw the levels evenly") {
  const std::string text = small_blotching + "n_btokens = 4\nblotch_p_max = 1.0\ncontig_blotches = true\n";
  TaskSettings settings(text), same(text);
  const auto task = settings.task(), again = same.task();
  CHECK(task->steps_per_epoch() == 4);
  std::map<int32_t, int> levels;
  std::multiset<std::string> problems[2];
  SequenceBatch batch, other;
  for (int64_t step = 0; step < 8; ++step) {
    task->batch_of(step, batch);
    CHECK(batch.sequences() == 16);
    for (size_t s = 0; s < 16; ++s) {
      const std::vector<int32_t> tokens(batch.tokens.begin() + batch.offsets[s],
                                        batch.tokens.begin() + batch.offsets[s + 1]);
      ++levels[tokens[0]];
      const std::string row = causal(*task).tokenizer().decode(std::span(tokens).subspan(1));
      problems[step / 4].insert(row.substr(0, row.find('=')));
      // The last share is 1, and its rows are answers alone.
      const bool is_last = causal(*task).tokenizer().token(tokens[0]) == "<blotch_3>";
      if (is_last) CHECK(std::count(row.begin(), row.end(), '=') == 1);
    }
  }
  CHECK(levels.size() == 4);
  for (const auto& [token, count] : levels) CHECK(std::abs(count - 32) < 20);
  CHECK(problems[0] == problems[1]);
  again->batch_of(2, other);
  again->batch_of(7, other);
  CHECK(batch.tokens == other.tokens);
  CHECK(task->fingerprint() == again->fingerprint());
  CHECK(task->fingerprint() != TaskSettings("seed = 2\n" + text).task()->fingerprint());
}

TEST_CASE("blotching: a training is evaluated alike when it is loaded, and goes on bit by bit as rows change") {
  const std::string text = small_blotching + all_changes;
  TaskSettings whole(text);
  const auto task = whole.trained();
  std::string samples, samples_again;
  const Metrics metrics = task->evaluate(whole.machine, samples);
  CHECK(metrics.size() == task->metric_names().size());
  for (const std::string& name : task->metric_names()) CHECK(std::isfinite(metric(metrics, name)));
  for (const char* const name : {"correct_p_0.3_t_0.7", "vote_correct_p_0.6", "p_0_loss", "len_percent_p_0_t_0"})
    CHECK(std::isfinite(metric(metrics, name)));
  for (const char* const part : {"  the whole solution\n", "  the model's\n", "SUM 1->", "(blotch p 0.3, temp"})
    CHECK(samples.find(part) != std::string::npos);
  TaskSettings loaded(text);
  loaded.config.init = whole.config.output_dir + "/run/last";
  CHECK(loaded.task(Use::evaluation)->evaluate(loaded.machine, samples_again) == metrics);
  CHECK(samples == samples_again);
  TaskSettings half(text);
  half.config.training.max_steps = 6;  // in the middle of an epoch
  half.trained();
  TaskSettings rest(text);
  rest.config.output_dir = half.config.output_dir;
  rest.trained();
  for (const char* const name : {"last/model.safetensors", "state/task/rows.txt", "state/task/blotching.json"})
    CHECK(file(rest, name) == file(whole, name));
}

TEST_CASE("blotching: axe changes the rows of an lstm's training, too") {
  std::string text = small_blotching + "axe_loops = -1\npre_epochs = 0\n";
  text.replace(text.find("num_heads = 2"), 13, "architecture = \"lstm\"");
  TaskSettings settings(text);
  CHECK_NOTHROW(settings.trained());
  CHECK(file(settings, "metrics.jsonl").find("\"axe_tried\":") != std::string::npos);
  CHECK_THROWS_WITH_AS(TaskSettings(text + "pad_pos_skip = false\n").task(),
                       doctest::Contains("blotching.pad_pos_skip is false, but a model without attention"), UsageError);
}

TEST_CASE("blotching: positions may be random, or those in the whole row, and a gpt_neox learns it, too") {
  for (const std::string own : {"positions = \"random\"\ntrained_positions = true\nposition_dropout = 0.1\n",
                                "positions = \"sinusoidal\"\n", "architecture = \"gpt_neox\"\nrotary_share = 1.0\n"}) {
    CAPTURE(own);
    std::string text = small_blotching + "blotch_p = 0.4\npad_pos_skip = false\n";
    text.insert(text.find("hidden_size"), own);
    TaskSettings whole(text), half(text), rest(text);
    const auto task = whole.trained();
    half.config.training.max_steps = 6;
    half.trained();
    rest.config.output_dir = half.config.output_dir;
    rest.trained();
    CHECK(file(rest, "last/model.safetensors") == file(whole, "last/model.safetensors"));
    std::string samples;
    const Metrics metrics = task->evaluate(whole.machine, samples);
    CHECK(metrics.size() == task->metric_names().size());
    TaskSettings loaded(text);
    loaded.config.init = whole.config.output_dir + "/run/last";
    CHECK(loaded.task(Use::evaluation)->evaluate(loaded.machine, samples) == metrics);
  }
}

TEST_CASE("blotching: draws of generation count on from a first index, as ranks share the prompts") {
  TaskSettings settings(small_blotching);
  const auto task = settings.task();
  Generator generator(*settings.ops, causal(*task).model(), DType::f32, 8);
  const std::vector<std::vector<int32_t>> prompts(6, std::vector<int32_t>{3, 4, 5});
  GenerationOptions options{.temperature = 1, .max_new_tokens = 12};
  const auto all = generator.generate(prompts, options);
  options.first_index = 4;
  const auto part = generator.generate(std::span(prompts).first(2), options);
  CHECK(part == std::vector(all.begin() + 4, all.end()));
  CHECK(part[0] != all[0]);
}

TEST_CASE("blotching: a training that lasts learns, shortens its rows, and all of them stay right") {
  TaskSettings settings(small_blotching + all_changes);
  settings.config.model.hidden_size = 48;
  settings.config.training.max_steps = 480;
  settings.config.training.eval_every = settings.config.training.save_every = 0;
  settings.config.training.log_every = 60;
  BlotchingConfig& own = settings.sections.blotching;
  own.max_num = 12;
  own.max_ents = 2;
  own.p_mult = 0.3;
  own.votes = 0;
  own.init_samples = 96;
  own.max_samples = 140;
  own.pre_epochs = 40;
  own.aug_mod = 10;
  const auto task = settings.trained();
  const RowCache& rows = static_cast<BlotchingTask&>(*task).rows();
  for (size_t i = 0; i < rows.size(); ++i) {
    Solver solver;
    solver.solve(rows[i].substr(0, rows[i].find('=')));
    CHECK(answer_of(rows[i]) == solver.value());
    CHECK(rows[i].size() <= solver.row().size());
  }
  CHECK(rows.size() == 140);  // STaR and augment have added more than there is room for
  const auto logged = file(settings, "metrics.jsonl");
  for (const char* const name : {"star_kept", "aug_kept", "axe_removed"}) {
    const size_t at = logged.rfind(std::string("\"") + name + "\":");
    REQUIRE(at != std::string::npos);
    CHECK(std::stod(logged.substr(at + std::string(name).size() + 3)) > 0);
  }
  for (const char* const name : {"star_samples.txt", "aug_samples.txt", "axe_samples.txt"}) {
    const std::string text = file(settings, name);
    CHECK(text.starts_with("epoch 40: "));
    CHECK(text.find("  -> ") != std::string::npos);
  }
}

TEST_CASE("blotching: what cannot be is a usage error that names the option") {
  refused("blotch_p_min = 0.5\nblotch_p_max = 0.2\n", "blotching.blotch_p_min is 0.5, above");
  refused("n_btokens = 4\n", "blotching.blotch_p_max is missing");
  refused("n_btokens = 13\nblotch_granularity = 11\n", "blotching.n_btokens is 13");
  refused("n_btokens = 4\nblotch_granularity = 5\nblotch_p_max = 0.9\n", "blotching.blotch_p_max is 0.9, but");
  refused("n_btokens = 3\nblotch_p_min = 0.5\nblotch_p_max = 0.5\n", "all of their shares would be");
  refused("blotch_p = 0.3\nblotch_p_max = 0.5\n", "blotching.blotch_p is 0.3");
  refused("star_loops = 1\naug_mod = 0\n", "blotching.aug_mod is 0");
  refused("eval_temperatures = [\"0\", \"hot\"]\n", "blotching.eval_temperatures has \"hot\"");
  refused("eval_temperatures = [\"0.5\", \"0.5\"]\n", "twice");
  refused("n_btokens = 2\nblotch_p_max = 1.0\neval_blotch_p = [\"0\", \"0.1\"]\n", "two shares whose nearest");
  refused("eval_blotch_p = [\"0\"]\n", "blotching.eval_blotch_p");
  refused("aug_temp = 0.5\n", "blotching.aug_temp");
  CHECK_THROWS_WITH_AS(TaskSettings(small_blotching + "blotch_p = 1.5\n"), doctest::Contains("blotching.blotch_p is"),
                       UsageError);
  CHECK_THROWS_WITH_AS(TaskSettings(small_blotching + "star_loops = -1\n"), doctest::Contains("blotching.star_loops"),
                       UsageError);
  const auto with = [](const std::function<void(TaskSettings&)>& change, const char* what) {
    TaskSettings settings(small_blotching);
    change(settings);
    CHECK_THROWS_WITH_AS(settings.task(), doctest::Contains(what), UsageError);
  };
  with([](TaskSettings& s) { s.config.training.batch_size = 65; }, "training.batch_size is 65, but the cache has only");
  with([](TaskSettings& s) {
    s.sections.blotching.max_num = 4, s.sections.blotching.max_ents = 2, s.sections.blotching.p_mult = 0;
    s.config.training.batch_size = 32;
  }, "Lower it, raise blotching.max_num or max_ents");
  with([](TaskSettings& s) { s.config.model.max_positions = 12; }, "model.max_positions is 12, but the longest row");
  with([](TaskSettings& s) { s.sections.blotching.max_samples = 63; }, "blotching.max_samples = 63");
  with([](TaskSettings& s) { s.config.training.batch_tokens = 100; }, "training.batch_tokens");
  with([](TaskSettings& s) { s.config.model.architecture = "bart"; }, "model.architecture is bart, which reads");
  // A model means the shares that it was trained with.
  TaskSettings trained(small_blotching + "n_btokens = 3\nblotch_p_max = 0.6\n");
  trained.trained();
  for (const char* const own : {"n_btokens = 3\nblotch_p_max = 0.5\n", "n_btokens = 2\nblotch_p_max = 0.6\n", ""}) {
    TaskSettings other(small_blotching + own);
    other.config.init = trained.config.output_dir + "/run";
    CHECK_THROWS_WITH_AS(other.task(), doctest::Contains("has blotch tokens for the shares 0.0, 0.3 and 0.6"),
                         UsageError);
  }
}

}  // namespace engine::test::test_blotching
