// The report: metrics of any file, smoothing, thinning, means over seeds, predictions, and a page that hostile text
// cannot break.
#include <doctest/doctest.h>

#include <cmath>
#include <sstream>

#include "report/page.h"
#include "report/page_files.h"
#include "report/series.h"
#include "tests/program.h"
#include "training/run_folder.h"

namespace engine::test::test_report {

namespace {

using Json = nlohmann::ordered_json;

// Returns the JSON in a page, as the browser reads it.
Json data_of(const std::string& page) {
  const std::string begin = R"(<script type="application/json" id="data">)";
  const size_t from = page.find(begin) + begin.size();
  return Json::parse(page.substr(from, page.find("</script>", from) - from));
}

std::string page_of(const std::vector<std::string>& folders, size_t points = 0) {
  std::ostringstream out;
  write_page(read_report(folders), points, out);
  return out.str();
}

// Writes a run whose loss is `first` at step 1 and falls to half of that at step 2.
std::string write_run(const TemporaryFolder& folder, const std::string& name, int seed, double first,
                      const std::string& rest = "") {
  const RunFolder run(folder.path() / name);
  std::filesystem::create_directories(run.samples());
  write_file(run.config(), "task = \"gpt\"\nname = \"x\"\nseed = " + std::to_string(seed) + "\n" + rest);
  std::ostringstream lines;
  lines << R"({"step":1,"split":"train","loss":)" << first << R"(,"tokens":10,"seconds":1})" << '\n'
        << R"({"step":2,"split":"train","loss":)" << first / 2 << R"(,"tokens":30,"seconds":2})" << '\n'
        << R"({"step":2,"split":"eval","loss":)" << first / 2 << "}\n";
  write_file(run.metrics(), lines.str());
  return run.path().string();
}

}  // namespace

TEST_CASE("report: metrics are read from torn, foreign and unfinite lines") {
  const MetricsFile file = parse_metrics(
      "{\"step\":1,\"split\":\"train\",\"loss\":2.5,\"note\":\"a \\\" b\",\"list\":[1,{\"a\":\"}\"}],\"flag\":true}\n"
      "\n"
      "{ \"step\" : 2.0 , \"loss\" : null, \"accuracy\": 1e-1 }\r\n"
      "{\"step\":3,\"split\":\"eval\",\"loss\":NaN}\n"
      "{\"step\":4,\"split\":\"eval\",\"loss\":-Infinity,\"big\":1e999}\n"
      "[1, 2]\n"
      "{\"loss\":3}\n"
      "{\"step\":5,\"loss\":1} and more\n"
      "{\"step\":6,\"loss\":0.5,\"acc");
  CHECK(file.lines == 4);
  CHECK(file.bad_lines == 3);
  CHECK(file.has_torn_end);
  CHECK(file.not_finite == 4);
  REQUIRE(file.series.size() == 4);
  const Series& loss = file.series.at("train/loss");
  CHECK(loss.steps == std::vector<double>{1, 2});
  CHECK(loss.values[0] == 2.5);
  CHECK(std::isnan(loss.values[1]));
  CHECK(file.series.at("train/accuracy").values == std::vector<double>{0.1});
  CHECK(file.series.at("eval/loss").steps == std::vector<double>{3, 4});
  CHECK(std::isnan(file.series.at("eval/big").values[0]));
}

TEST_CASE("report: a text cut at any length is read up to there") {
  const std::string text = "{\"step\":1,\"split\":\"train\",\"loss\":2.5,\"a\":[\"x\"]}\n{\"step\":2,\"loss\":1}\n";
  const size_t first = text.find('\n');
  for (size_t length = 0; length <= text.size(); ++length) {
    const MetricsFile file = parse_metrics(text.substr(0, length));
    CAPTURE(length);
    CHECK(file.lines == (length >= first) + (length >= text.size() - 1));
    CHECK(file.bad_lines == 0);
  }
}

TEST_CASE("report: of a metric that stands twice in a line the last value counts") {
  const MetricsFile file = parse_metrics(
      "{\"step\":1,\"split\":\"train\",\"loss\":2.5,\"loss\":NaN}\n"
      "{\"step\":2,\"split\":\"train\",\"loss\":null,\"loss\":1}\n");
  const Series& loss = file.series.at("train/loss");
  CHECK(loss.steps.size() == 2);
  REQUIRE(loss.values.size() == 2);
  CHECK(std::isnan(loss.values[0]));
  CHECK(loss.values[1] == 1);
  CHECK(file.not_finite == 1);
}

TEST_CASE("report: steps that fall are put in order") {
  const MetricsFile file = parse_metrics("{\"step\":5,\"loss\":1}\n{\"step\":3,\"loss\":2}\n");
  CHECK(file.series.at("train/loss").steps == std::vector<double>{3, 5});
  CHECK(file.series.at("train/loss").values == std::vector<double>{2, 1});
}

TEST_CASE("report: smoothing has no bias towards the beginning and passes over what is not finite") {
  const std::vector<double> constant = smoothed({3, 3, NAN, 3}, 0.9);
  CHECK(constant[0] == doctest::Approx(3));
  CHECK(std::isnan(constant[2]));
  CHECK(constant[3] == doctest::Approx(3));
  const std::vector<double> two = smoothed({0, 1}, 0.5);
  CHECK(two[1] == doctest::Approx(0.5 / 0.75));  // (w (1-w) 0 + (1-w) 1) / (1 - w^2)
}

TEST_CASE("report: a thinned curve keeps extremes, both ends and the smoothing of all points") {
  Band band;
  for (int i = 0; i < 1000; ++i) {
    band.steps.push_back(i);
    band.values.push_back(i == 517 ? 99 : i == 733 ? -99 : i == 600 ? NAN : 1);
  }
  const Curve curve = thinned(band, 20);
  REQUIRE(curve.steps.size() == 20);
  CHECK(curve.steps.front() == 0);
  CHECK(curve.steps.back() == 999);
  CHECK(*std::max_element(curve.high.begin(), curve.high.end()) == 99);
  CHECK(*std::min_element(curve.low.begin(), curve.low.end()) == -99);
  for (size_t level = 0; level < smoothing_weights.size(); ++level)
    CHECK(curve.smooth[level].back() == smoothed(band.values, smoothing_weights[level]).back());
  double mean = 0;  // of the pieces behind the first, which are of equal size but for rounding
  for (size_t i = 1; i < 20; ++i) mean += curve.means[i] / 19;
  CHECK(mean == doctest::Approx(1).epsilon(0.01));
  const Curve whole = thinned(band, 1000);
  CHECK(!whole.is_thinned);
  CHECK(whole.means.size() == 1000);
}

TEST_CASE("report: runs are averaged over those that have a step and a finite value there") {
  const Series a{{1, 2, 3}, {1, 2, 3}}, b{{1, 3, 4}, {3, NAN, 8}};
  const Band mean = mean_of({&a, &b});
  CHECK(mean.steps == std::vector<double>{1, 2, 3, 4});
  CHECK(mean.values == std::vector<double>{2, 2, 3, 8});
  CHECK(mean.low == std::vector<double>{1, 2, 3, 8});
  CHECK(mean.high == std::vector<double>{3, 2, 3, 8});
}

TEST_CASE("report: runs that differ in seed and name alone make a group") {
  const TemporaryFolder folder;
  const std::string a = write_run(folder, "a", 1, 4), b = write_run(folder, "b", 2, 2),
                    c = write_run(folder, "c", 3, 2, "[training]\nlearning_rate = 0.5\n");
  const Json data = data_of(page_of({a, b, c}));
  REQUIRE(data["runs"].size() == 3);
  REQUIRE(data["groups"].size() == 1);
  CHECK(data["groups"][0]["runs"] == Json::parse("[0,1]"));
  CHECK(data["groups"][0]["curves"]["train/loss"]["y"] == Json::parse("[3,1.5]"));
  CHECK(data["groups"][0]["curves"]["train/loss"]["l"] == Json::parse("[2,1]"));
  CHECK(data["common"]["task"] == "'gpt'");
  CHECK(data["runs"][2]["differs"]["training.learning_rate"] == "0.5");
  CHECK(data["runs"][0]["final"]["eval/loss"] == 2.0);
  CHECK(data["runs"][0]["speed"] == 15);
  CHECK(data["runs"][0]["axis"]["tokens"] == Json::parse("[10,30]"));
  CHECK(data["runs"][0]["reason"] == "unfinished");
  const Json folder_of_runs = data_of(page_of({folder.path().string()}));
  CHECK(folder_of_runs["runs"].size() == 3);
}

TEST_CASE("report: a thinned curve in the page has its band and three smoothings") {
  const TemporaryFolder folder;
  const std::string run = write_run(folder, "a", 1, 4);
  std::string lines;
  for (int i = 1; i <= 100; ++i)
    lines.append("{\"step\":").append(std::to_string(i)).append(",\"loss\":1.5}\n");
  write_file(RunFolder(run).metrics(), lines);
  const Json curve = data_of(page_of({run}, 12))["runs"][0]["curves"]["train/loss"];
  CHECK(curve["x"].size() == 12);
  REQUIRE(curve["s"].size() == smoothing_weights.size());
  CHECK(curve["s"][2].size() == 12);
  CHECK(curve["s"][2][11] == 1.5);
}

TEST_CASE("report: hostile names, options, samples and predictions stay text") {
  const TemporaryFolder folder;
  const std::string attack = "</script><script>alert(1)</script><!--<img src=x onerror=alert(2)>\"'&";
  const std::string run = write_run(folder, "a<b>&\"'", 1, 4, "init = '''" + attack + "'''\n");
  write_file(RunFolder(run).sample(2), attack + "\xff\xfe");
  write_file(RunFolder(run).predictions(),
             Json{{"input", attack}, {"label", "a"}, {"prediction", "b"}}.dump() + "\n");
  ReportData report = read_report({run});
  report.title = attack;
  std::ostringstream out;
  write_page(report, 0, out);
  const std::string page = out.str();
  CHECK(page.find("alert(1)</script>") == std::string::npos);
  CHECK(page.find("<img src=x") == std::string::npos);
  // Apart from the page's own text nothing begins an element.
  const size_t own = static_cast<size_t>(std::count(page_html().begin(), page_html().end(), '<') +
                                         std::count(page_script().begin(), page_script().end(), '<') +
                                         std::count(page_style().begin(), page_style().end(), '<'));
  CHECK(static_cast<size_t>(std::count(page.begin(), page.end(), '<')) == own);
  const Json data = data_of(page);
  CHECK(data["runs"][0]["name"] == "a<b>&\"'");
  CHECK(data["runs"][0]["predictions"]["wrong"][0]["input"] == attack);
  CHECK(data["runs"][0]["samples"][0][1].get<std::string>().starts_with(attack));
}

TEST_CASE("report: the page's script puts no text of runs into HTML and asks nothing of a network") {
  for (const char* word : {"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "fetch(",
                           "XMLHttpRequest", "http://", "https://", "import("})
    CHECK_MESSAGE(page_script().find(word) == std::string_view::npos, word);
  CHECK(page_html().find("default-src 'none'") != std::string_view::npos);
  CHECK(page_html().find("src=") == std::string_view::npos);
}

TEST_CASE("report: predictions are counted by class and level, and wrong ones are kept") {
  const PredictionCounts counts = count_predictions(
      "{\"mode\":\"free\",\"level\":1,\"label\":\"a\",\"prediction\":\"a\"}\n"
      "{\"mode\":\"free\",\"level\":1,\"label\":\"a\",\"prediction\":\"b\",\"input\":\"0123456789\"}\n"
      "{\"mode\":\"free\",\"level\":2,\"label\":[\"x\",\"y\"],\"prediction\":\"y\"}\n"
      "{\"label\":[\"z\"],\"prediction\":\"the z\",\"right\":true}\n"
      "{\"label\":\"z\",\"prediction\":\"z\",\"right\":false}\n"
      "no json\n{\"label\":\"a\"}\n{\"label\":1,\"pred",
      {.text_bytes = 4});
  CHECK(counts.all == 5);
  CHECK(counts.right == 3);
  CHECK(counts.levels.at({"free", "1"}) == std::pair<int64_t, int64_t>{1, 2});
  CHECK(counts.levels.at({"free", "2"}) == std::pair<int64_t, int64_t>{1, 1});
  CHECK(counts.confusion.empty());  // answers are no classes
  REQUIRE(counts.wrong.size() == 2);
  CHECK(counts.wrong[0]["input"] == "0123 … (10 bytes)");
  CHECK(cut_text("a\u00e4", 2) == "a … (3 bytes)");
}

TEST_CASE("report: classes have a table of labels and predictions, and texts that answer have none") {
  const std::string classes =
      "{\"label\":\"a\",\"prediction\":\"b\"}\n"
      "{\"label\":\"a\",\"prediction\":\"a\",\"right\":true}\n";
  const PredictionCounts counts = count_predictions(classes, {});
  CHECK(counts.confusion.at("a").at("b") == 1);
  CHECK(counts.confusion.at("a").at("a") == 1);
  for (const char* line : {"{\"label\":[\"a\"],\"prediction\":\"b\",\"right\":false}",
                           "{\"label\":\"85\",\"prediction\":\"77+8=85\",\"right\":true}"}) {
    CAPTURE(line);
    CHECK(count_predictions(classes + line, {}).confusion.empty());
    CHECK(count_predictions(line + ("\n" + classes), {}).confusion.empty());
  }
}

TEST_CASE("report: a run folder with broken files is shown with notes") {
  const TemporaryFolder folder;
  const std::string run = write_run(folder, "a", 1, 4);
  write_file(RunFolder(run).config(), "task = \n");
  write_file(RunFolder(run).result(), "{");
  write_file(RunFolder(run).metrics(), "{\"step\":1,\"loss\":1}\nnothing\n{\"st");
  const RunData data = read_run(run, "a", {});
  REQUIRE(data.notes.size() == 4);
  CHECK(data.notes[0].find("task.cfg: ") == 0);
  CHECK(data.notes[1].find("result.json: ") == 0);
  CHECK(data.notes[2].find("1 lines are no steps") != std::string::npos);
  CHECK(data.notes[3].find("torn") != std::string::npos);
}

TEST_CASE("report: more curves have fewer points each") {
  CHECK(points_of_each(1) == 800);
  CHECK(points_of_each(1000) == 120);
  CHECK(points_of_each(1000000) == 12);
}

TEST_CASE("report: the command writes the page, and says what is no run") {
  const Program program;
  const TemporaryFolder folder;
  const std::string run = write_run(folder, "a", 1, 4), page = program.file("page.html");
  const Ended ended = program.run({"report", run, "--output", page, "--title", "Two & three"});
  CHECK(ended.code == 0);
  CHECK(ended.out.find("1 run") != std::string::npos);
  CHECK(read_text(page).find("<title>Two &amp; three</title>") != std::string::npos);
  program.fails({"report", program.file("nothing")}, 2, "there is no such folder");
  std::filesystem::create_directory(program.file("empty"));
  program.fails({"report", program.file("empty")}, 2, "there is no run in it");
  program.fails({"report"}, 2, "report needs RUN");
}

}  // namespace engine::test::test_report
