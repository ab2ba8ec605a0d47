// The files of a run folder are cut at every length, or are missing. A reader then gets what the whole file gives, or
// an Error that names it.
#include <algorithm>
#include <cstdlib>

#include "core/hash.h"
#include "core/options.h"
#include "tasks/language_model.h"
#include "tasks/token_file.h"
#include "tests/error_text.h"
#include "tests/same_run.h"
#include "tests/task_settings.h"
#include "tests/training_task.h"

namespace engine::test::test_cut_files {

namespace fs = std::filesystem;

namespace {

// Returns lengths below `size`: all, or with `most` about so many, the first and last ones and a line's end among them.
std::vector<size_t> lengths_of(const std::string& content, size_t most) {
  std::vector<size_t> lengths;
  const size_t size = content.size();
  const size_t step = std::getenv("ENGINE_TEST_ALL") ? 1 : std::max<size_t>(1, size / most);
  for (size_t length = 0; length < size; ++length) {
    const bool is_at_line = length > 0 && content[length - 1] == '\n' && length % 3 == 0;
    if (length % step == 0 || length < 10 || length + 10 > size || (is_at_line && step < 100))
      lengths.push_back(length);
  }
  return lengths;
}

std::vector<fs::path> files_of(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file()) files.push_back(entry.path().lexically_relative(folder));
  std::sort(files.begin(), files.end());
  return files;
}

bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// Checks that what read() makes of a file, cut at each length, is what it makes of the whole one, or an Error with the
// file's name. Returns how many lengths gave an Error.
size_t check_cuts(const fs::path& file, size_t most, const std::function<std::string()>& read) {
  const std::string content = read_text(file), whole = read();
  size_t errors = 0, wrong = 0;
  for (const size_t length : lengths_of(content, most)) {
    write_file(file, content.substr(0, length));
    std::string found;
    const std::string error = error_of([&] { found = read(); });
    errors += !error.empty();
    if (error.empty() ? found == whole : holds(error, file.filename().string())) continue;
    if (++wrong <= 3) FAIL_CHECK(file.string(), " of ", length, " bytes: ", error.empty() ? found : error);
  }
  write_file(file, content);
  CHECK(wrong == 0);
  return errors;
}

}  // namespace

TEST_CASE("cut files: a run whose files are cut or missing goes on with the same bits, or names the file") {
  const TemporaryFolder place(quick_place());
  const fs::path run = place.path() / "run", kept = place.path() / "kept";
  Config config = tiny_config(place.path(), "run");
  config.model.hidden_size = 8;
  config.model.num_layers = 1;
  config.training.max_steps = 2;
  config.training.log_every = config.training.save_every = config.training.eval_every = 1;
  config.training.scheduler = "constant";
  train_tiny(config);
  fs::copy(run, kept, fs::copy_options::recursive);
  config.training.max_steps = 3;
  const std::vector<float> wanted = train_tiny(config).values;
  size_t errors = 0, resumed = 0;
  for (const fs::path& name : files_of(kept)) {
    const std::string content = read_text(kept / name);
    const bool is_state = name.string().starts_with("state/"), is_log = name == "metrics.jsonl";
    std::vector<std::string> cuts;
    for (const size_t length : lengths_of(content, is_state ? 250 : is_log ? 60 : 4))
      cuts.push_back(content.substr(0, length));
    for (size_t i = 0; i <= cuts.size(); ++i) {
      CAPTURE(name.string());
      CAPTURE(i);
      fs::remove_all(run);
      fs::copy(kept, run, fs::copy_options::recursive);
      if (i == cuts.size()) fs::remove(run / name);  // it is missing
      else write_file(run / name, cuts[i]);
      Outcome outcome;
      const std::string error = error_of([&] { outcome = train_tiny(config); });
      if (!error.empty()) CHECK(holds(error, name.string()));
      else CHECK(outcome.values == wanted);
      // The end of the last line of progress.json may be missing.
      if (is_state && i + 1 < cuts.size()) CHECK(!error.empty());
      if (is_log) CHECK(holds(outcome.printed, "lines that it had at step 2"));
      (error.empty() ? resumed : errors) += 1;
    }
  }
  CHECK(errors > 500);
  CHECK(resumed > 50);
}

TEST_CASE("cut files: models, tokenizers, configurations and caches are whole, or are refused by name") {
  TaskSettings settings("task = \"gpt\"\n[model]\nhidden_size = 8\nnum_layers = 1\nnum_heads = 1\nmax_positions = 16\n"
                        "[data]\ntokenizer = \"characters\"\nblock_size = 8\n[training]\nmax_steps = 1\nsave_dtype = "
                        "\"bf16\"\n[gpt]\nsamples = 0\n");
  const std::string data = settings.write("text.txt", "the cat and the hat\nthe map\n");
  settings.config.data.train = settings.config.data.eval = {data};
  settings.trained();
  const fs::path run = settings.file("run");
  const auto load = [&] {
    const LanguageModel language = load_language_model(run / "last", settings.ops->memory(), DType::f32);
    std::string text = std::to_string(language.tokenizer->digest());
    for (const Parameter& p : language.model->parameters().all())
      text.append(reinterpret_cast<const char*>(p.value.data), p.value.bytes());
    return text;
  };
  size_t errors = 0;
  for (const fs::path& name : files_of(run / "last")) errors += check_cuts(run / "last" / name, 200, load);
  CHECK(errors > 800);

  CHECK(check_cuts(run / "task.cfg", 200, [&] {
          Config config;
          TaskSections sections;
          Options options;
          config.declare(options);
          sections.declare(options);
          options.read_file(run / "task.cfg");
          if (config.task.empty()) fail("task.cfg: task is missing");  // as make_task has it
          return options.toml();
        }) > 200);
  // A cache that is not whole is made again.
  const std::unique_ptr<Tokenizer> tokenizer = load_tokenizer(run / "last");
  CHECK(check_cuts(run / "cache/train.tokens", 1000, [&] {
          return hexadecimal(TokenFile(run / "cache/train.tokens", settings.config.data.train, *tokenizer).hash());
        }) == 0);
}

}  // namespace engine::test::test_cut_files
