// Progress on a terminal and elsewhere.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <sstream>
#include <thread>

#include "commands/lines.h"
#include "core/activity.h"
#include "core/files.h"
#include "tasks/reading_report.h"
#include "tests/temporary.h"
#include "training/progress.h"

namespace engine::test::test_progress {

namespace {

// A terminal of so many columns, whose output is read back.
class PseudoTerminal {
 public:
  explicit PseudoTerminal(unsigned short columns) {
    master_ = posix_openpt(O_RDWR | O_NOCTTY);
    REQUIRE(master_ >= 0);
    REQUIRE(grantpt(master_) == 0);
    REQUIRE(unlockpt(master_) == 0);
    out_ = std::fopen(ptsname(master_), "w");
    REQUIRE(out_ != nullptr);
    const winsize size{.ws_row = 24, .ws_col = columns, .ws_xpixel = 0, .ws_ypixel = 0};
    REQUIRE(ioctl(fileno(out_), TIOCSWINSZ, &size) == 0);
  }
  ~PseudoTerminal() {
    std::fclose(out_);
    close(master_);
  }
  PseudoTerminal(const PseudoTerminal&) = delete;
  PseudoTerminal& operator=(const PseudoTerminal&) = delete;

  std::FILE* out() const { return out_; }
  // Reads what was written since the last call. The system may hand it over in pieces, some a little later.
  std::string read() const {
    std::fflush(out_);
    std::string text;
    std::array<char, 4096> piece;
    for (pollfd ready{.fd = master_, .events = POLLIN, .revents = 0}; poll(&ready, 1, 50) > 0;) {
      const ssize_t length = ::read(master_, piece.data(), piece.size());
      if (length <= 0) break;
      text.append(piece.data(), static_cast<size_t>(length));
    }
    return text;
  }

 private:
  int master_ = -1;
  std::FILE* out_ = nullptr;
};

}  // namespace

TEST_CASE("progress: auto is a bar on a terminal, and lines elsewhere and for processes of mpirun") {
  const PseudoTerminal terminal(100);
  const TemporaryFolder folder;
  std::FILE* const file = std::fopen((folder.path() / "out").c_str(), "w");
  CHECK(progress_style("auto", terminal.out()) == ProgressStyle::bar);
  CHECK(progress_style("auto", file) == ProgressStyle::lines);
  CHECK(progress_style("bar", file) == ProgressStyle::bar);
  CHECK(progress_style("lines", terminal.out()) == ProgressStyle::lines);
  CHECK(progress_style("none", terminal.out()) == ProgressStyle::none);
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_RANK"}) {
    setenv(name, "2", 1);
    CHECK(progress_style("auto", terminal.out()) == ProgressStyle::lines);
    CHECK(progress_style("bar", terminal.out()) == ProgressStyle::bar);
    unsetenv(name);
  }
  std::fclose(file);
}

TEST_CASE("progress: the bar has loss, speed, time, memory and the best, and never wraps") {
  for (const unsigned short columns : {uint16_t{30}, uint16_t{100}, uint16_t{160}}) {
    const PseudoTerminal terminal(columns);
    Progress progress(terminal.out(), ProgressStyle::bar, 0, 10);
    progress.set_best("loss 1.25 at step 3");
    std::this_thread::sleep_for(std::chrono::milliseconds(110));
    progress.show({.step = 5, .loss = 1.5, .mean_speed = 1234});
    const std::string text = terminal.read();
    CAPTURE(text);
    REQUIRE(text.starts_with("\r["));
    REQUIRE(text.ends_with("\033[K"));
    CHECK(text.size() - 1 - 3 < size_t{columns});  // without the return and the escape
    CHECK(text.find("5/10  loss 1.5000") != std::string::npos);
    CHECK((text.find("1234 tokens/s") != std::string::npos) == (columns > 30));
    CHECK((text.find("iB  best loss 1.25 at step 3") != std::string::npos) == (columns > 90));
    progress.show({.step = 6});
    CHECK(terminal.read().empty());  // ten times a second at most
    progress.line("eval");
    CHECK(terminal.read() == "\r\033[Keval\r\n");
    progress.log({.step = 6});
    CHECK(terminal.read().empty());
  }
}

TEST_CASE("progress: none writes no steps, but lines that say something") {
  const PseudoTerminal terminal(80);
  Progress progress(terminal.out(), ProgressStyle::none, 0, 10, std::chrono::milliseconds(0));
  std::this_thread::sleep_for(std::chrono::milliseconds(110));
  progress.show({.step = 5});
  progress.log({.step = 5});
  CHECK(terminal.read().empty());
  progress.line("the end");
  CHECK(terminal.read() == "the end\r\n");
}

TEST_CASE("progress: an activity shows how far it is, in a bar or in lines, and one inside another shows nothing") {
  const PseudoTerminal terminal(80);
  {
    const Activity::Delays at_once{.bar = std::chrono::seconds(0), .line = std::chrono::seconds(0)};
    Activity activity("evaluating", "sequences", 8, terminal.out(), ProgressStyle::bar, at_once);
    activity.add(2);
    CHECK(terminal.read() == "\revaluating: 2 of 8 sequences, 0:00 to go\033[K");
    {
      Activity inner("generating", "texts", 8, terminal.out(), ProgressStyle::bar, at_once);
      inner.add(1);
    }
    CHECK(terminal.read().empty());
  }
  CHECK(terminal.read() == "\r\033[K");
  {
    const Activity::Delays at_once{.bar = std::chrono::seconds(0), .line = std::chrono::seconds(0)};
    Activity activity("generating", "texts", 4, terminal.out(), ProgressStyle::lines, at_once);
    activity.add(4);
    CHECK(terminal.read() == "generating: 4 of 4 texts, 0:00 to go\r\n");
    Activity quick("generating", "texts", 4, terminal.out(), ProgressStyle::lines, {});
    quick.add(4);
  }
  CHECK(terminal.read().empty());
}

TEST_CASE("progress: a file of lines shows how far it is read, from the second second on") {
  const TemporaryFolder folder;
  const std::string file = folder.path() / "lines.txt";
  write_file(file, std::string(1023, 'a') + "\n" + std::string(1023, 'b') + "\n" + std::string(500, 'c'));
  const PseudoTerminal terminal(80);
  const int error = dup(STDERR_FILENO), output = dup(STDOUT_FILENO), nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
  REQUIRE(dup2(fileno(terminal.out()), STDERR_FILENO) >= 0);
  REQUIRE(dup2(nowhere, STDOUT_FILENO) >= 0);
  set_activity_style("bar");
  size_t seen = 0;
  in_batches(file, "scoring", [&](size_t first, const std::vector<std::string>& lines) {
    if (first == 2) std::this_thread::sleep_for(std::chrono::milliseconds(1010));
    seen += lines.size();
  }, 1);
  in_batches(file, nullptr, [&](size_t, const std::vector<std::string>& lines) { seen += lines.size(); });
  set_activity_style("auto");
  dup2(error, STDERR_FILENO);
  dup2(output, STDOUT_FILENO);
  for (const int open_file : {error, output, nowhere}) close(open_file);
  CHECK(seen == 6);
  const std::string shown = terminal.read();
  CHECK_MESSAGE(shown.starts_with("\rscoring: 2 of 3 KiB, 0:0"), shown);
  CHECK(shown.ends_with("\r\033[K"));
}

TEST_CASE("progress: the speed is a running mean, in which the last half minute counts") {
  RunningSpeed speed(30);
  CHECK(speed.value() == 0);
  for (int i = 0; i < 100; ++i) speed.add(1000, 10);
  CHECK(speed.value() == doctest::Approx(100));
  speed.add(100, 0.1);  // one quick step says little
  CHECK(speed.value() > 100);
  CHECK(speed.value() < 104);
  for (int i = 0; i < 30; ++i) speed.add(2000, 10);
  CHECK(speed.value() == doctest::Approx(200).epsilon(0.001));
  CHECK(std::string(duration_text(3723).characters) == "1:02:03");
  CHECK(std::string(duration_text(NAN).characters) == "?");
  CHECK(std::string(memory_text(3.0 * (1 << 29)).characters) == "1.5 GiB");
}

TEST_CASE("progress: a step is told where nothing was for a while, and no other") {
  const TemporaryFolder folder;
  const std::string file = (folder.path() / "out").string();
  std::FILE* const out = std::fopen(file.c_str(), "w");
  REQUIRE(out != nullptr);
  const auto silence = std::chrono::milliseconds(200);
  Progress progress(out, ProgressStyle::lines, 0, 10, silence);
  progress.show({.step = 1});
  std::this_thread::sleep_for(silence);
  progress.show({.step = 2});
  progress.show({.step = 3});
  progress.log({.step = 4});
  progress.show({.step = 5});
  std::fclose(out);
  const std::string text = read_text(file);
  CHECK(text.find("step 1/10") == std::string::npos);
  CHECK(text.find("step 2/10") == 0);
  CHECK(text.find("step 3/10") == std::string::npos);
  CHECK(text.find("step 4/10") != std::string::npos);
  CHECK(text.find("step 5/10") == std::string::npos);
}

TEST_CASE("progress: a step that is told after a long silence and is logged, too, has one line") {
  const TemporaryFolder folder;
  const std::string file = (folder.path() / "out").string();
  std::FILE* const out = std::fopen(file.c_str(), "w");
  REQUIRE(out != nullptr);
  // Every step comes after a silence.
  Progress progress(out, ProgressStyle::lines, 0, 20, std::chrono::milliseconds(0));
  for (const int64_t step : {10, 20, 20}) {  // after a rollback a step comes again
    progress.show({.step = step});
    progress.log({.step = step});
  }
  std::fclose(out);
  std::istringstream lines(read_text(file));
  std::vector<std::string> steps;
  for (std::string line; std::getline(lines, line);) steps.push_back(line.substr(0, line.find("  ")));
  CHECK(steps == std::vector<std::string>{"step 10/20", "step 20/20", "step 20/20"});
}

TEST_CASE("progress: the time to go is what the clock leaves where that is less") {
  const TemporaryFolder folder;
  const std::string file = (folder.path() / "out").string();
  std::FILE* const out = std::fopen(file.c_str(), "w");
  REQUIRE(out != nullptr);
  Progress progress(out, ProgressStyle::lines, 0, 1000000000);
  std::this_thread::sleep_for(std::chrono::milliseconds(1));
  progress.log({.step = 1, .seconds_left = 83});
  std::fclose(out);
  CHECK(read_text(file).find("  1:23 to go") != std::string::npos);
}

TEST_CASE("progress: half a minute is the longest silence of a training's first minutes") {
  CHECK(Progress::longest_silence == std::chrono::seconds(30));
  CHECK(Progress::first_minutes > std::chrono::minutes(4));
}

TEST_CASE("progress: reading that takes long is told after a while, and again after a longer one") {
  std::ostringstream out;
  ReadingReport report(out, "a.txt", std::chrono::milliseconds(100), std::chrono::hours(1));
  report.add(3);
  CHECK(out.str() == "");
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  report.add(4);
  report.add(5);
  CHECK(out.str() == "reading a.txt: 7 tokens so far\n");
}

}  // namespace engine::test::test_progress
