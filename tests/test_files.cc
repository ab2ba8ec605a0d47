#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <ostream>
#include <string>
#include <thread>

#include "core/error.h"
#include "core/folders.h"
#include "core/file_bytes.h"
#include "tests/error_text.h"
#include "tests/temporary.h"

namespace engine::test::test_files {

namespace fs = std::filesystem;

namespace {

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

size_t entries_in(const fs::path& folder) {
  return static_cast<size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

// Runs `act` in a process of its own. True where it returned true.
bool in_child(const std::function<bool()>& act) {
  const pid_t child = fork();
  if (child == 0) {
    bool good = false;
    try {
      good = act();
    } catch (...) {
    }
    _exit(good ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// Writes two files that say the same.
void fill_version(const fs::path& folder, int version) {
  write_file(folder / "a", std::to_string(version));
  std::ofstream(folder / "b") << version;
}
// Returns whether the folder is absent at this moment, or is there without its file.
bool is_torn(const fs::path& folder) {
  struct stat before {}, after {};
  if (stat(folder.c_str(), &before) != 0) return true;
  if (access((folder / "a").c_str(), R_OK) == 0) return false;
  return stat(folder.c_str(), &after) != 0 || after.st_ino == before.st_ino;  // otherwise it was exchanged meanwhile
}
// Returns the version that both files of the folder hold, or -1 where one is missing or they differ.
int version_of(const fs::path& folder) {
  try {
    const std::string a = read_text(folder / "a");
    return a == read_text(folder / "b") ? std::stoi(a) : -1;
  } catch (const Error&) {
    return -1;
  }
}

}  // namespace

TEST_CASE("files: what is written is read back, and nothing is left beside it") {
  const TemporaryFolder folder;
  const fs::path file = folder.path() / "file";
  std::string large(300'000, 'x');
  large[299'999] = 'y';
  for (const std::string& content : {std::string("first"), std::string(), large, std::string("a\0b\n", 4)}) {
    write_file(file, content);
    CHECK(read_text(file) == content);
    CHECK(entries_in(folder.path()) == 1);
  }
  write_file(file, [](std::ostream& out) {
    for (int i = 0; i < 100'000; ++i) out << i << ' ';
  });
  std::string expected;
  for (int i = 0; i < 100'000; ++i) expected += std::to_string(i) + ' ';
  CHECK(read_text(file) == expected);
  const MappedFile mapped(file);
  CHECK(std::string_view(mapped.data(), mapped.size()) == expected);
  write_file(file, "");
  CHECK(MappedFile(file).size() == 0);
  CHECK(mapped.size() == expected.size());  // a reader keeps the old content
  CHECK(mapped.data()[mapped.size() - 1] == ' ');
}

TEST_CASE("files: a link is followed, a file's mode is kept, what a killed writer left is overwritten") {
  const TemporaryFolder folder;
  const fs::path file = folder.path() / "file", link = folder.path() / "link";
  write_file(file, "old");
  fs::permissions(file, fs::perms::owner_read | fs::perms::owner_write);
  fs::create_symlink(file, link);
  std::ofstream(folder.path() / ".file.writing") << "half of something longer";
  write_file(link, "new");
  CHECK(fs::is_symlink(link));
  CHECK(read_text(file) == "new");
  CHECK(fs::status(file).permissions() == (fs::perms::owner_read | fs::perms::owner_write));
  CHECK(entries_in(folder.path()) == 2);
}

TEST_CASE("files: errors name the path and the reason") {
  const TemporaryFolder folder;
  const fs::path missing = folder.path() / "missing";
  for (const auto& act : {std::function<void()>([&] { read_text(missing); }), {[&] { const MappedFile map(missing); }}})
    CHECK(error_of(act) == "cannot read " + missing.string() + ": No such file or directory");
  CHECK(contains(error_of([&] { read_text(folder.path()); }), "Is a directory"));
  CHECK(contains(error_of([&] { const MappedFile map(folder.path()); }), "Is a directory"));
  CHECK(contains(error_of([&] { write_file(folder.path(), "x"); }), "Is a directory"));
  CHECK(contains(error_of([&] { write_file(missing / "file", "x"); }), "there is no folder " + missing.string()));
  write_file(folder.path() / "file", "x");
  CHECK(contains(error_of([&] { write_folder(folder.path() / "file", [](const fs::path&) {}); }), "Not a directory"));
  CHECK(read_text(folder.path() / "file") == "x");
  CHECK(entries_in(folder.path()) == 1);
}

TEST_CASE("files: folders are made with those above them, and an error names the one that cannot be made") {
  const TemporaryFolder folder;
  make_folders(folder.path() / "a" / "b" / "c" / "");
  make_folders(folder.path() / "a" / "b" / ".." / "d");
  make_folders(folder.path() / "a");
  CHECK(fs::is_directory(folder.path() / "a" / "b" / "c"));
  CHECK(fs::is_directory(folder.path() / "a" / "d"));
  const fs::path file = folder.path() / "a" / "file";
  write_file(file, "x");
  for (const fs::path& below : {file, file / "b", file / "b" / "c"})
    CHECK(error_of([&] { make_folders(below); }) ==
          "cannot make the folder " + below.string() + ": Not a directory");
  fs::create_symlink(folder.path() / "nowhere", folder.path() / "link");
  CHECK(error_of([&] { make_folders(folder.path() / "link" / "b"); }) ==
        "cannot make the folder " + (folder.path() / "link").string() + ": No such file or directory");
}

TEST_CASE("files: a pointer of Git LFS is told from the file that it stands for") {
  const TemporaryFolder folder;
  const std::filesystem::path file = folder.path() / "model.safetensors";
  write_file(file, "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n");
  const std::string error = file.string() + ": is a Git LFS pointer, not the file itself";
  CHECK_THROWS_WITH_AS(read_text(file), doctest::Contains(error.c_str()), Error);
  CHECK_THROWS_WITH_AS(MappedFile{file}, doctest::Contains(error.c_str()), Error);
  write_file(file, "version 1\n");
  CHECK(read_text(file) == "version 1\n");
}

TEST_CASE("files: what is compressed, or of another kind, is refused with its remedy") {
  using namespace std::string_view_literals;
  const TemporaryFolder folder;
  const std::filesystem::path file = folder.path() / "a.txt";
  constexpr std::pair<std::string_view, const char*> kinds[] = {
      {"\x1f\x8b\x08\0\0\0\0\0\0\x03"sv, "is compressed with gzip: gunzip -k decompresses it"},
      {"BZh91AY&SYab"sv, "is compressed with bzip2"},
      {"\xfd" "7zXZ\0\0\x04" "ab"sv, "is compressed with xz"},
      {"\x28\xb5\x2f\xfd\x04\0\0\0ab"sv, "is compressed with zstd"},
      {"PK\x03\x04\x14\0\0\0\x08\0"sv, "is a ZIP archive"},
      {"PAR1\x15\x04\x15\0\0\0"sv, "is a Parquet file"}};
  for (const auto& [bytes, error] : kinds) {
    write_file(file, bytes);
    CHECK_THROWS_WITH_AS(read_text(file), doctest::Contains((file.string() + ": " + error).c_str()), Error);
    CHECK_THROWS_WITH_AS(MappedFile{file}, doctest::Contains(error), Error);
    // The length of a header in safetensors may have the same bytes.
    const std::string header = std::string(bytes.substr(0, 8)) + "{";
    write_file(file, header);
    CHECK(read_text(file) == header);
    write_file(file, bytes.substr(0, 2));
    CHECK(read_text(file) == bytes.substr(0, 2));
  }
}

TEST_CASE("files: a pipe is read once, and where a file is needed it is refused without waiting for its writer") {
  const TemporaryFolder folder;
  const std::string pipe = (folder.path() / "pipe").string();
  REQUIRE(mkfifo(pipe.c_str(), 0600) == 0);
  const std::string refused = "cannot read " + pipe + ": it is a pipe, not a file: write what it gives into a file";
  CHECK(error_of([&] { MappedFile{pipe}; }) == refused);
  CHECK(error_of([&] { require_regular(pipe); }) == refused);
  std::thread writer([&] { std::ofstream(pipe) << "some text"; });
  CHECK(FileBytes(pipe).text() == "some text");
  writer.join();
  write_file(folder.path() / "file", "more text");
  CHECK(FileBytes(folder.path() / "file").text() == "more text");
  require_regular(folder.path() / "file");
}

TEST_CASE("files: a device without an end, a socket and a folder are no text") {
  const TemporaryFolder folder;
  const std::string endless = "cannot read /dev/zero: it is a device that gives more than 268435456 bytes";
  CHECK(error_of([] { FileBytes{"/dev/zero"}; }).starts_with(endless));
  CHECK(error_of([] { MappedFile{"/dev/zero"}; }).starts_with("cannot read /dev/zero: it is a device, not a file"));
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  const std::string socket_path = (folder.path() / "socket").string();
  REQUIRE(socket_path.size() < sizeof address.sun_path);
  std::copy(socket_path.begin(), socket_path.end(), address.sun_path);
  const int number = socket(AF_UNIX, SOCK_STREAM, 0);
  REQUIRE(bind(number, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  const std::string is_folder = "cannot read " + folder.path().string() + ": Is a directory";
  const std::string is_socket = "cannot read " + socket_path + ": it is a socket";
  for (const auto& [path, error] : {std::pair{folder.path().string(), is_folder}, std::pair{socket_path, is_socket}}) {
    CHECK(error_of([&] { read_text(path); }) == error);
    CHECK(error_of([&] { MappedFile{path}; }) == error);
    CHECK(error_of([&] { FileBytes{path}; }) == error);
    CHECK(error_of([&] { require_regular(path); }) == error);
  }
  close(number);
}

TEST_CASE("files: a device without an end is refused, a folder's entries are listed or an error names it") {
  CHECK(error_of([] { read_text("/dev/zero"); }).starts_with("cannot read /dev/zero: it is a device that gives more"));
  CHECK(read_text("/dev/null").empty());
  const TemporaryFolder folder;
  CHECK(entries_of(folder.path()).empty());
  write_file(folder.path() / "a", "");
  CHECK(entries_of(folder.path()) == std::vector<fs::path>{folder.path() / "a"});
  const std::string missing = (folder.path() / "missing").string();
  CHECK(error_of([&] { entries_of(missing); }) == "cannot read " + missing + ": No such file or directory");
}

TEST_CASE("files: names that killed writers leave are told from others") {
  CHECK(name_behind_aside(".state.old") == "state");
  CHECK(name_behind_aside(".best.writing") == "best");
  CHECK(name_behind_aside("..best.old.writing") == "best");
  for (const char* other : {"best", ".old", "state.old", ".state", ""}) CHECK(name_behind_aside(other) == other);
}

TEST_CASE("files: a full disk is an error and loses nothing") {
  CHECK(contains(error_of([] { write_file("/dev/full", "x"); }), "cannot write /dev/full: No space left on device"));
  const TemporaryFolder folder;
  const fs::path file = folder.path() / "file", model = folder.path() / "model";
  write_file(file, "old");
  write_folder(model, [](const fs::path& aside) { fill_version(aside, 1); });
  CHECK(in_child([&] {
    const rlimit limit{100'000, 100'000};  // a write across it ends early, the next one fails
    setrlimit(RLIMIT_FSIZE, &limit);
    const std::string much(150'000, 'x');
    const std::string first = error_of([&] { write_file(file, much); });
    const std::string second = error_of([&] {
      write_file(file, [](std::ostream& out) {
        for (int i = 0; i < 100'000; ++i) out << i << '\n';
      });
    });
    const std::string third = error_of([&] {
      write_folder(model, [&](const fs::path& aside) { write_file(aside / "a", much); });
    });
    return first == "cannot write " + file.string() + ": File too large" && second == first &&
           contains(third, "File too large");
  }));
  CHECK(read_text(file) == "old");
  CHECK(version_of(model) == 1);
  CHECK(entries_in(folder.path()) == 2);
}

TEST_CASE("files: a read-only folder is an error and loses nothing") {
  const TemporaryFolder folder;
  const fs::path file = folder.path() / "file", model = folder.path() / "model";
  write_file(file, "old");
  write_folder(model, [](const fs::path& aside) { fill_version(aside, 1); });
  fs::permissions(folder.path(), fs::perms(0555));
  CHECK(in_child([&] {
    if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) return false;  // root may write everywhere
    const std::string first = error_of([&] { write_file(file, "new"); });
    const std::string second =
        error_of([&] { write_folder(model, [](const fs::path& aside) { fill_version(aside, 2); }); });
    return first == "cannot write " + file.string() + ": Permission denied" &&
           second == "cannot write " + model.string() + ": Permission denied";
  }));
  fs::permissions(folder.path(), fs::perms(0755));
  CHECK(read_text(file) == "old");
  CHECK(version_of(model) == 1);
}

TEST_CASE("files: a folder is replaced whole, and an error in filling it keeps the old one") {
  const TemporaryFolder folder;
  const fs::path model = folder.path() / "deep" / "model";
  write_folder(model, [](const fs::path& aside) { fill_version(aside, 1); });
  CHECK(version_of(model) == 1);
  write_file(model / "only in the old one", "x");
  write_folder(model / "", [](const fs::path& aside) { fill_version(aside, 2); });
  CHECK(version_of(model) == 2);
  CHECK(entries_in(model) == 2);
  CHECK(error_of([&] {
          write_folder(model, [](const fs::path& aside) {
            fill_version(aside, 3);
            fail("no more");
          });
        }) == "no more");
  CHECK(version_of(model) == 2);
  CHECK(entries_in(model.parent_path()) == 1);
}

TEST_CASE("files: without an exchange of names the old folder is set aside, found there, and put back") {
  const TemporaryFolder folder;
  const fs::path model = folder.path() / "model", aside = folder.path() / ".model.writing";
  write_folder(model, [](const fs::path& filled) { fill_version(filled, 1); });
  fs::create_directory(aside);
  fill_version(aside, 2);
  detail::swap_folder(model, aside, /*can_exchange=*/false);
  CHECK(version_of(model) == 2);
  CHECK(entries_in(folder.path()) == 1);
  CHECK(written_folder(model) == model);

  // A writer that is killed between the two renames leaves it so.
  fs::rename(model, folder.path() / ".model.old");
  fs::create_directory(aside);
  fill_version(aside, 3);
  CHECK(version_of(written_folder(model)) == 2);
  CHECK(version_of(written_folder(model / "")) == 2);
  CHECK(error_of([&] { write_folder(model, [](const fs::path&) { fail("no more"); }); }) == "no more");
  CHECK(version_of(model) == 2);
  write_folder(model, [](const fs::path& filled) { fill_version(filled, 4); });
  CHECK(version_of(model) == 4);
  CHECK(entries_in(folder.path()) == 1);
}

TEST_CASE("files: a writer killed at any moment leaves the old folder or the new") {
  const TemporaryFolder folder;
  const fs::path model = folder.path() / "model", file = folder.path() / "file";
  write_folder(model, [](const fs::path& aside) { fill_version(aside, 0); });
  write_file(file, "0");
  int last = 0, torn = 0;
  for (int round = 0; round < 40; ++round) {
    const pid_t child = fork();
    if (child == 0) {
      for (int version = last + 1;; ++version) {
        write_folder(model, [&](const fs::path& aside) { fill_version(aside, version); });
        write_file(file, std::string(static_cast<size_t>(version % 5000), 'x') + std::to_string(version));
      }
    }
    // A kill at some moment leaves what others see at that moment: the folder is there, with its file.
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (version_of(model) <= last && std::chrono::steady_clock::now() < deadline)
      for (int i = 0; i < 200; ++i) torn += is_torn(model);
    for (int i = 0; i < 40 * round; ++i) torn += is_torn(model);
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    const int version = version_of(written_folder(model));
    REQUIRE(version > last);
    const std::string text = read_text(file);
    const int in_file = std::stoi(text.substr(text.find_first_not_of('x')));
    REQUIRE(text.size() == static_cast<size_t>(in_file % 5000) * (in_file > 0) + std::to_string(in_file).size());
    REQUIRE(in_file <= version);
    last = version;
  }
  CHECK(torn == 0);
  write_folder(model, [](const fs::path& aside) { fill_version(aside, 1); });
  write_file(file, "1");
  CHECK(entries_in(folder.path()) == 2);
}

TEST_CASE("files: writers at the same time wait for each other, readers always see one content") {
  const TemporaryFolder folder;
  const fs::path model = folder.path() / "model", file = folder.path() / "file";
  std::vector<std::string> errors(3);
  std::vector<std::thread> writers;
  for (size_t writer = 0; writer < errors.size(); ++writer)
    writers.emplace_back([&, writer] {
      errors[writer] = error_of([&] {
        for (int i = 0; i < 60; ++i) {
          const int version = static_cast<int>(writer) * 100 + i;
          if (i < 15) write_folder(model, [&](const fs::path& aside) { fill_version(aside, version); });
          write_file(file, std::string(70'000, static_cast<char>('a' + version % 26)));
          const std::string text = read_text(file);
          require(text == std::string(70'000, text[0]), "mixed content");
        }
      });
    });
  for (std::thread& writer : writers) writer.join();
  for (const std::string& error : errors) CHECK(error == "");
  CHECK(version_of(model) >= 0);
  CHECK(entries_in(folder.path()) == 2);
}

}  // namespace engine::test::test_files
