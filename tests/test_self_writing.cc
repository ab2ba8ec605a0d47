// The model writes scratchpads itself. The batched writers must match the algorithm as it is specified.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "tasks/scratchpad/scratchpad.h"
#include "tests/task_settings.h"

namespace engine::test::test_self_writing {

namespace {

using Split = ExpressionSource::Split;

const std::string self_learned = R"(
task = "scratchpad"
[model]
hidden_size = 32
num_layers = 2
num_heads = 2
max_positions = 160
initializer_range = 0.3
[training]
batch_size = 24
max_steps = 10
[scratchpad]
explanation = "self_learned"
mixture = ["0:1", "1:2", "2:4", "3:3"]
max_depth = 3
eval_quantity = 40
)";

const std::initializer_list<std::string> architectures{"gpt2", "bart"};

std::string of_architecture(const std::string& architecture, std::string text = self_learned) {
  const std::string section = "[model]\n";
  return text.insert(text.find(section) + section.size(), "architecture = \"" + architecture + "\"\n");
}

// A model of random parameters writes anything, such as empty results, signs, parentheses and equals signs.
struct Writing {
  explicit Writing(const std::string& architecture = "gpt2") : settings(of_architecture(architecture)) {}

  TaskSettings settings;
  std::unique_ptr<Task> task = settings.task();
  Model& model = causal(*task).model();
  ExampleFormat format{causal(*task).tokenizer(), model.config(), reads_source(model)};
  Generator own_generator{*settings.ops, model, DType::f32, 32};
  SharedGenerator generator{own_generator, settings.ranks, 1};
  ExpressionSource source{{}};
  ExpressionPool pool;

  std::vector<const Expression*> trees(int count) {
    Random random(11, 0);
    std::vector<const Expression*> all;
    for (int i = 0; i < count; ++i) all.push_back(source.draw(random, i % 4, Split::training, pool));
    return all;
  }
  std::vector<SelfWritten> write(const SelfWritingSettings& how, std::span<const Expression* const> trees,
                                 bool with_root = false, size_t at_once = 256) {
    InnerResults inner;
    return SelfWriter(format, how).write(generator, trees, {.with_root = with_root, .at_once = at_once}, inner);
  }

  // This is the algorithm as it is specified, node by node, a query at a time.
  std::string result(const Expression& e) {
    Prompts prompts;
    format.append_prompt(e.input(), before_value(e), prompts);
    const auto tokens = own_generator.generate(prompts.tokens, prompts.sources,
                                           {.max_new_tokens = 4, .end_tokens = {format.end_token()}});
    std::string text = format.text_of(tokens[0]);
    return text.substr(0, text.find(')'));
  }
  std::string scratchpad(const Expression& e) { return e.op ? before_value(e) + result(e) + ")" : e.oracle(); }
  std::string before_value(const Expression& e) {
    return "(" + scratchpad(*e.left) + e.op + scratchpad(*e.right) + "=";
  }
};

bool same(const std::vector<SelfWritten>& a, const std::vector<SelfWritten>& b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](const auto& x, const auto& y) {
           return x.before_value == y.before_value && x.value == y.value && x.too_long == y.too_long;
         });
}

// Returns a log without what depends on the clock.
std::string timeless_log(const std::filesystem::path& run) {
  std::istringstream log(read_text(run / "metrics.jsonl"));
  std::string result;
  for (std::string line; std::getline(log, line);) {
    nlohmann::json json = nlohmann::json::parse(line);
    json.erase("tokens_per_second");
    json.erase("seconds");
    json.erase("memory_mib");
    json.erase("generating_share");
    result += json.dump() + "\n";
  }
  return result;
}

}  // namespace

TEST_CASE("self-writing: rounds, topological order, with and without sharing write what the algorithm says") {
  for (const std::string& architecture : architectures) {
    CAPTURE(architecture);
    Writing w(architecture);
    const auto trees = w.trees(40);
    const auto rounds = w.write({}, trees, true);
    std::set<std::string> results;
    for (size_t i = 0; i < trees.size(); ++i) {
      if (!trees[i]->op) {
        CHECK(rounds[i].before_value.empty());
        continue;
      }
      CHECK_FALSE(rounds[i].too_long);
      CHECK(rounds[i].before_value == w.before_value(*trees[i]));
      CHECK(rounds[i].value == w.result(*trees[i]));
      results.insert(rounds[i].value);
    }
    CHECK(results.size() > 2);  // it says something of the trees
    CHECK(same(rounds, w.write({.topological = true}, trees, true)));
    CHECK(same(rounds, w.write({.topological = true}, trees, true, 3)));
    CHECK(same(rounds, w.write({.share_subtrees = false}, trees, true)));
    CHECK(same(rounds, w.write({.topological = true, .share_subtrees = false}, trees, true, 5)));
    // A tree is written alone as among others.
    for (size_t i = 0; i < trees.size(); i += 7)
      CHECK(same({rounds[i]}, w.write({}, std::span(trees).subspan(i, 1), true)));
  }
}

TEST_CASE("self-writing: a subtree that comes more than once is written once, and counts each time") {
  Writing w;
  const auto* node = w.pool.make_node('+', w.pool.make_leaf(1), w.pool.make_leaf(2));
  const auto* same_node = w.pool.make_node('+', w.pool.make_leaf(1), w.pool.make_leaf(2));
  const auto* tree = w.pool.make_node('*', node, same_node);
  const std::vector<const Expression*> trees{tree, w.pool.make_node('-', tree, w.pool.make_leaf(4)), node};
  for (const bool share : {true, false}) {
    InnerResults inner;
    SelfWriter(w.format, {.share_subtrees = share}).write(w.generator, trees, {}, inner);
    CHECK(inner.by_level[1].second == 4);
    CHECK(inner.by_level[2].second == 1);
    CHECK(inner.asked == (share ? 2 : 5));
    // The roots' own values are no inner results.
    InnerResults with_roots;
    SelfWriter(w.format, {.share_subtrees = share}).write(w.generator, trees, {.with_root = true}, with_roots);
    CHECK(with_roots.by_level == inner.by_level);
    CHECK(with_roots.asked == (share ? 3 : 8));
  }
}

TEST_CASE("self-writing: what is cleaned, what is too long, what is drawn") {
  CHECK(first_number("12") == "12");
  CHECK(first_number("=-12*4") == "-12");
  CHECK(first_number("(3") == "3");
  CHECK(first_number("-") == "");
  CHECK(first_number("") == "");
  Writing w;
  const auto trees = w.trees(24);
  for (const SelfWritten& s : w.write({.clean = true}, trees, true)) CHECK(s.value == first_number(s.value));
  const auto whole = w.write({}, trees), cut = w.write({.max_total_length = 20}, trees);
  for (size_t i = 0; i < trees.size(); ++i)
    CHECK(cut[i].too_long == (trees[i]->op && whole[i].before_value.size() + 2 > 20));
  const auto* node = w.pool.make_node('+', w.pool.make_leaf(1), w.pool.make_leaf(2));
  const std::vector<const Expression*> tree{w.pool.make_node('*', node, w.pool.make_leaf(3))};
  InnerResults inner;
  const auto drawn = SelfWriter(w.format, {}).write(w.generator, tree, {.drawn = true}, inner);
  CHECK(drawn[0].tree.starts_with("((1+2)*3) = 9\n  (1+2) = "));
  CHECK((drawn[0].tree.find("WRONG: 3") != std::string::npos) == (w.result(*node) != "3"));
}

TEST_CASE("self-writing: the forms of a scratchpad") {
  Writing w;
  const auto* node = w.pool.make_node('+', w.pool.make_leaf(1), w.pool.make_leaf(2));
  const auto* tree = w.pool.make_node('*', node, w.pool.make_leaf(3));
  CHECK(tree->oracle(Form::results) == "((+=3)*=9)");
  CHECK(tree->oracle(Form::parentheses) == "((=3)=9)");
  CHECK(tree->oracle_without_value(Form::parentheses) == "((=3)=");
  CHECK(w.write({.form = Form::results}, std::vector{tree})[0].before_value.starts_with("((+="));
  CHECK(w.write({.form = Form::parentheses}, std::vector{tree})[0].before_value.starts_with("((="));
}

TEST_CASE("self-writing: of a self-learned example the root's value, its parenthesis and the end are scored alone") {
  for (const std::string& architecture : architectures) {
    CAPTURE(architecture);
    Writing w(architecture);
    const bool has_encoder = architecture == "bart";
    const Tokenizer& tokenizer = causal(*w.task).tokenizer();
    SequenceBatch batch;
    CHECK_THROWS_WITH_AS(w.task->batch_of(3, batch), doctest::Contains("prepare"), Error);
    w.task->prepare(w.settings.machine, 3);
    w.task->batch_of(3, batch);
    REQUIRE(batch.sequences() == 24);
    const auto text_of = [&](const std::vector<int32_t>& ids, const std::vector<int32_t>& offsets, size_t s) {
      std::string text;
      for (auto i = static_cast<size_t>(offsets[s]); i < static_cast<size_t>(offsets[s + 1]); ++i)
        text += ids[i] == -100 ? "." : tokenizer.token(ids[i]);
      return text;
    };
    for (size_t s = 0; s < 24; ++s) {
      const std::string tokens = text_of(batch.tokens, batch.offsets, s);
      const std::string labels = text_of(batch.targets.labels, batch.offsets, s);
      const size_t start = tokens.find("<start>");
      std::string input = tokens.substr(0, start);
      const std::string answer = tokens.substr(start + 7);
      if (has_encoder) {
        CHECK(input.empty());
        input = text_of(batch.sources, batch.source_offsets, s);
        REQUIRE(input.ends_with("<eos>"));
        input.resize(input.size() - 5);
      }
      const auto* tree = w.pool.parse(input);
      const std::string value = std::to_string(tree->value) + (tree->op ? ")" : "");
      CHECK(answer == (tree->op ? w.before_value(*tree) : "") + value);
      const size_t ignored = (has_encoder ? 0 : input.size()) + answer.size() - value.size();
      CHECK(labels == std::string(ignored, '.') + value + "<eos>");
    }
  }
}

TEST_CASE("self-writing: a prompt is how an example begins, for either kind of model; no label begins one") {
  for (const std::string& architecture : architectures) {
    CAPTURE(architecture);
    Writing w(architecture);
    SequenceBatch batch;
    Prompts prompts;
    w.format.append("(1+2)", "(1+2=3)", 5, batch);
    w.format.append_prompt("(1+2)", "(1+2=", prompts);
    REQUIRE(prompts.tokens.size() == 1);
    const std::vector<int32_t>& tokens = prompts.tokens[0];
    REQUIRE(tokens.size() < batch.tokens.size());
    CHECK(std::equal(tokens.begin(), tokens.end(), batch.tokens.begin()));
    if (architecture == "bart") CHECK(prompts.sources[0] == batch.sources);
    else CHECK(prompts.sources.empty());
    // The first scored label is the prediction at the prompt's last token.
    CHECK(batch.targets.labels[tokens.size() - 1] == w.format.id_of('3'));
    CHECK(batch.scored() == 3);
    const Tokenizer& tokenizer = causal(*w.task).tokenizer();
    for (const int32_t label : batch.targets.labels) {
      CHECK(label != tokenizer.id_of("<start>"));
      CHECK(label != tokenizer.id_of("<bos>"));
    }
  }
}

TEST_CASE("self-writing: what gets too long is left out and counted") {
  TaskSettings settings(self_learned + "max_total_length = 27\nmax_answer_length = 3\n");
  const auto task = settings.task();
  SequenceBatch batch;
  task->prepare(settings.machine, 0);
  task->batch_of(0, batch);
  const auto other = settings.task();
  task->save_state(settings.machine, settings.folder.path());
  other->load_state(settings.machine, settings.folder.path());
  const double skipped = metric(task->log(settings.machine), "skipped");
  CHECK(metric(other->log(settings.machine), "skipped") == skipped);
  CHECK(skipped > 0);
  CHECK(batch.sequences() + static_cast<int64_t>(skipped) == 24);
}

TEST_CASE("self-writing: a training that is stopped goes on with the same bits and the same log") {
  const auto train = [](TaskSettings& settings, int64_t steps) {
    settings.config.training.max_steps = steps;
    settings.options.set("training.max_steps", std::to_string(steps), "test");
    const auto task = settings.task();
    CHECK(train_task(settings.config, settings.options, *task, settings.machine).exit_code() == 0);
  };
  for (const std::string& architecture : architectures) {
    const char* const own = architecture == "bart" ? "curriculum = \"exp3\"\nstages = [\"2 1:1\"]\n"
                                                   : "batching = \"topological\"\n";
    std::string with_rates = of_architecture(architecture) + own;
    if (architecture == "bart")
      with_rates.insert(with_rates.find("hidden_size"), "relative_positions = \"separate\"\nrelative_distances = 5\n");
    with_rates.replace(with_rates.find("batch_size = 24"), 15,
                       "batch_size = 12\nscheduler = \"constant\"\nlog_every = 5\neval_every = 4\nsave_every = 1");
    TaskSettings whole(with_rates), parts(with_rates);
    train(whole, 11);
    train(parts, 3);
    TaskSettings rest(with_rates);
    rest.config.output_dir = parts.config.output_dir;
    train(rest, 8);
    TaskSettings end(with_rates);
    end.config.output_dir = parts.config.output_dir;
    train(end, 11);
    const std::filesystem::path a = whole.folder.path() / "run", b = parts.folder.path() / "run";
    for (const char* file : {"state/tensors.safetensors", "predictions.jsonl", "samples/step_11.txt",
                             "last/scratchpad.json"}) {
      INFO(file);
      CHECK(read_text(a / file) == read_text(b / file));
    }
    const auto of_task = [](const std::filesystem::path& run) {
      return nlohmann::json::parse(read_text(run / "state/task/scratchpad.json"));
    };
    CHECK(of_task(a) == of_task(b));
    // The shorter runs logged and evaluated at their own ends, too.
    const std::string log = timeless_log(a);
    CHECK(log.find("inner_accuracy_level_1") != std::string::npos);
    CHECK(timeless_log(b).ends_with(log.substr(log.rfind("{\"EM"))));
    if (architecture == "bart") {  // what a step's loss was reaches the curriculum
      const auto curriculum = nlohmann::json::parse(of_task(a).at("curriculum").get<std::string>());
      CHECK(curriculum.at("scale") > 0);
    }
  }
}

TEST_CASE("self-writing: a model of another kind of explanation is refused") {
  TaskSettings settings(self_learned);
  const auto task = settings.task();
  const std::filesystem::path folder = settings.folder.path() / "model";
  std::filesystem::create_directories(folder);
  task->save_model(folder);
  for (const std::string own : {"explanation = \"oracle\"", "explanation = \"none\"",
                                "explanation = \"self_learned\"\nform = \"results\""}) {
    TaskSettings other("task = \"scratchpad\"\ninit = \"" + folder.string() + "\"\n[scratchpad]\n" + own + "\n");
    CHECK_THROWS_WITH_AS(other.task(), doctest::Contains("was trained with"), UsageError);
  }
  TaskSettings same_kind("task = \"scratchpad\"\ninit = \"" + folder.string() +
                         "\"\n[scratchpad]\nexplanation = \"self_learned\"\n");
  CHECK(same_kind.task() != nullptr);
}

TEST_CASE("self-writing: options that nothing would read are refused") {
  const auto refused = [](const std::string& own, const char* what) {
    std::string text = self_learned;
    text.replace(text.find("explanation"), 28, own);
    CHECK_THROWS_WITH_AS(TaskSettings(text).task(), doctest::Contains(what), UsageError);
  };
  refused("explanation = \"oracle\"\nclean_results = true\n", "clean_results");
  refused("explanation = \"oracle\"\nbatching = \"topological\"\n", "batching");
  refused("explanation = \"none\"\nform = \"results\"\n", "form");
  refused("explanation = \"none\"\nevaluation = [\"help\"]\n", "free alone");
  refused("explanation = \"oracle\"\nevaluation = [\"helped\"]\n", "helped");
  refused("explanation = \"oracle\"\nevaluation = [\"free\", \"free\"]\n", "twice");
}

}  // namespace engine::test::test_self_writing
