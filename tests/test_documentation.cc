// The pages are true where that is cheap to check: their links, and the options, files, verbs and configurations that
// they name.
#include <doctest/doctest.h>

#include "core/error.h"
#include "tasks/tasks.h"
#include "tests/pages.h"

namespace engine::test::test_documentation {

namespace {

struct AllOptions {
  Options options;
  Config config;
  TaskSections sections;
  AllOptions() {
    config.declare(options);
    sections.declare(options);
  }
};

// Each of these functions returns what is wrong with a page.
using Findings = std::vector<std::string>;

Findings wrong_links(const Page& page) {
  Findings wrong;
  for (const std::string& target : links_of(page.text)) {
    if (target.starts_with("http")) continue;
    const size_t hash = std::min(target.find('#'), target.size());
    const std::filesystem::path file =
        hash == 0 ? page.path : page.path.parent_path() / target.substr(0, hash);
    const bool has_file = std::filesystem::exists(file) || (hash == 0 && !page.text.empty());
    const std::string anchor = hash < target.size() ? target.substr(hash + 1) : "";
    if (!has_file || (!anchor.empty() && !has_anchor(hash == 0 ? page.text : read_text(file), anchor)))
      wrong.push_back(target);
  }
  return wrong;
}

bool ends_as_file(const std::string& word) {
  for (const char* const ending :
       {".py", ".cc", ".h", ".cu", ".cfg", ".md", ".json", ".svg", ".sh", ".txt", ".safetensors"})
    if (word.ends_with(ending)) return true;
  return false;
}

// Finds words such as training.batch_size that begin with a section and name no option of it. Errors that a page shows
// are left out, for they are about wrong names.
Findings wrong_options(const Page& page, const Options& options) {
  Findings wrong;
  const std::vector<std::string> sections = options.sections();
  for (const std::string& line : lines_of(page.text)) {
    if (line.starts_with("    engine: ")) continue;
    for (const std::string& word : words_of(line)) {
      const size_t dot = word.find('.');
      if (dot == std::string::npos || word.find('/') != std::string::npos || ends_as_file(word)) continue;
      const bool is_section = std::find(sections.begin(), sections.end(), word.substr(0, dot)) != sections.end();
      if (is_section && !options.has(word)) wrong.push_back(word);
    }
  }
  return wrong;
}

// Finds files of the repository that a page names and that are not there.
Findings wrong_files(const Page& page) {
  Findings wrong;
  for (const std::string& word : words_of(page.text)) {
    const size_t slash = word.find('/');
    if (slash == std::string::npos || !ends_as_file(word)) continue;
    for (const char* const folder : {"bench", "configs", "docs", "core", "kernels", "models", "training", "tests"})
      if (word.substr(0, slash) == folder && !std::filesystem::exists(word)) wrong.push_back(word);
  }
  return wrong;
}

// Finds verbs of ./engine VERB that the table of engine.cc does not have.
Findings wrong_verbs(const Page& page) {
  static const std::string table = read_text("engine.cc");
  Findings wrong;
  const std::string program = "./engine ";
  for (size_t at = page.text.find(program); at != std::string::npos; at = page.text.find(program, at + 1)) {
    const size_t begin = at + program.size();
    size_t end = begin;
    while (end < page.text.size() && page.text[end] >= 'a' && page.text[end] <= 'z') ++end;
    const std::string verb = page.text.substr(begin, end - begin);
    if (table.find("    {\"" + verb + "\", ") == std::string::npos) wrong.push_back(verb);
  }
  return wrong;
}

Findings wrong_configurations(const Page& page) {
  Findings wrong;
  for (const std::string& text : configurations_of(page.text)) {
    AllOptions all;
    try {
      all.options.read_text(text, page.path.string());
      all.options.refuse_unread();
    } catch (const Error& error) {
      wrong.push_back(error.what());
    }
  }
  return wrong;
}

}  // namespace

TEST_CASE("documentation: the reference of options is the one that the declarations give") {
  const AllOptions all;
  CHECK(read_text("docs/options.md") == all.options.markdown());  // else: make docs
}

TEST_CASE("documentation: links, options, files, verbs and configurations of every page are there") {
  const AllOptions all;
  const std::vector<Page> pages = all_pages();
  CHECK(pages.size() >= 12);
  size_t links = 0, configurations = 0;
  for (const Page& page : pages) {
    links += links_of(page.text).size();
    configurations += configurations_of(page.text).size();
    for (const Findings& wrong : {wrong_links(page), wrong_options(page, all.options), wrong_files(page),
                                  wrong_verbs(page), wrong_configurations(page)})
      for (const std::string& one : wrong) FAIL_CHECK(page.path.string(), ": ", one);
  }
  CHECK(links >= 40);
  CHECK(configurations >= 7);
}

TEST_CASE("documentation: a page with a wrong link, option, file, verb or configuration is found out") {
  const AllOptions all;
  const auto page = [](const std::string& text) { return Page{"docs/page.md", text}; };
  CHECK(wrong_links(page("[a](cuda.md) [b](../README.md#use) [c](#here)\n## Here\n")).empty());
  CHECK(wrong_links(page("[a](no.md) [b](../README.md#nowhere) [c](#there)\n## Here\n")) ==
        Findings{"no.md", "../README.md#nowhere", "#there"});
  const std::string right = "`--training.batch_size 4`, `gpt.eval_share = 0.1`, model.safetensors.";
  CHECK(wrong_options(page(right), all.options).empty());
  CHECK(wrong_options(page("`training.batchsize`, --gpt.share 0.1"), all.options) ==
        Findings{"training.batchsize", "gpt.share"});
  CHECK(wrong_files(page("`configs/sst2.cfg` bench/compare.py")).empty());
  CHECK(wrong_files(page("`configs/sst3.cfg` bench/compete.py")) == Findings{"configs/sst3.cfg", "bench/compete.py"});
  CHECK(wrong_verbs(page("    ./engine train task.cfg\n")).empty());
  CHECK(wrong_verbs(page("    ./engine trane task.cfg\n")) == Findings{"trane"});
  CHECK(wrong_configurations(page("```toml\n[training]\nbatch_size = 4\n```\n")).empty());
  CHECK(wrong_configurations(page("```toml\n[training]\nbatchsize = 4\n```\n")).size() == 1);
  CHECK(wrong_configurations(page("```toml\n[mlm]\ncopies = 3\n```\n")).size() == 1);
}

}  // namespace engine::test::test_documentation
