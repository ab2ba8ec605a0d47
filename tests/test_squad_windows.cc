// The windows of a training of task squad: read piece by piece, in memory or in a file, the same either way.
#include <doctest/doctest.h>

#include "tests/squad_letters.h"

namespace engine::test::test_squad_windows {

namespace fs = std::filesystem;

namespace {

constexpr int questions_of_pieces = 9000;  // more than two pieces have

std::vector<std::string> ids_of(const Config& config, const SquadConfig& own) {
  std::vector<std::string> ids;
  each_piece_of_training(config, own, [&](const QuestionSet& set) {
    for (const Question& question : set.questions) ids.push_back(question.id);
  });
  return ids;
}

bool are_same(const WindowInput& a, const WindowInput& b) {
  return a.framed.ids == b.framed.ids && a.framed.types == b.framed.types && a.context == b.context &&
         a.context_tokens == b.context_tokens && a.answer == b.answer;
}

}  // namespace

TEST_CASE("scratch bytes: few are in memory, many in a file that has no name") {
  const TemporaryFolder folder;
  for (const size_t most : {size_t{1} << 20, size_t{1000}, size_t{0}}) {
    CAPTURE(most);
    std::string all;
    ScratchBytes moved;
    {
      ScratchBytes bytes(folder.path() / "new", most);
      for (int i = 0; i < 3000; ++i) {
        const std::string part = std::to_string(i) + std::string(static_cast<size_t>(i % 500), 'x');
        bytes.append(part);
        all += part;
      }
      bytes.finish();
      CHECK(bytes.is_in_file() == (most < all.size()));
      moved = std::move(bytes);
    }
    CHECK(moved.size() == all.size());
    CHECK(moved.bytes() == all);
    if (most < all.size()) CHECK(fs::is_empty(folder.path() / "new"));
  }
  write_file(folder.path() / "file", "");
  ScratchBytes nowhere(folder.path() / "file" / "in", 0);
  CHECK_THROWS_WITH_AS(nowhere.append("a"), doctest::Contains("cannot make the folder"), Error);
}

TEST_CASE("squad windows: those of a training are those of the questions, in memory and in a file") {
  Letters letters;
  const auto tokenizer = letters.tokenizer();
  const SquadConfig config{.max_length = 9, .doc_stride = 2};
  QuestionSet set = read(letters, letters_file(3, 400));
  set.questions[7].answers.clear();
  set.questions[8].share = 0.5;
  const EncodedQuestions questions(set, *tokenizer, config);
  const auto windows_with = [&](size_t most, const EncodedQuestions& all) {
    TrainingWindows windows(*tokenizer, letters.file("cache"), most);
    windows.add(all);
    windows.finish();
    CHECK(windows.is_in_file() == (most == 0));
    return windows;
  };
  TrainingWindows memory = windows_with(1 << 20, questions), file = windows_with(0, questions);
  REQUIRE(memory.size() == questions.windows().size());
  REQUIRE(memory.size() > 400);
  CHECK(memory.questions() == 400);
  CHECK(memory.digest() == file.digest());
  size_t without = 0;
  for (size_t i = 0; i < memory.size(); ++i) {
    const WindowInput expected = questions.input(questions.windows()[i]);
    without += !expected.answer;
    REQUIRE(are_same(memory.input(i), expected));
    REQUIRE(are_same(file.input(i), expected));
  }
  CHECK(without > 1);
  CHECK(without < memory.size());
  CHECK(file.take_lengths() == questions.lengths());
  CHECK(file.take_shares() != std::vector<float>(memory.size(), 1));
  // Another question, answer or share is other data.
  const auto change = [&](const auto& changed) {
    QuestionSet other = set;
    changed(other.questions[3]);
    CHECK(windows_with(1 << 20, EncodedQuestions(other, *tokenizer, config)).digest() != memory.digest());
  };
  change([](Question& question) { question.text = "z"; });
  change([](Question& question) { question.answers.clear(); });
  change([](Question& question) { question.share = 2; });
}

TEST_CASE("squad windows: questions in pieces are chosen and changed as they are in the whole") {
  Letters letters;
  letters.config.data.train = {letters.write("many.json", letters_file(1, questions_of_pieces)),
                               letters.write("few.csv", "id,context,question,answer_text,answer_start\nz,b x c,y,c,4\n"
                                                        "blank, ,y,,\nlost,b c,y,z,0\n")};
  SquadConfig own;
  std::vector<size_t> pieces;
  const ReadCounts counts = each_piece_of_training(letters.config, own, [&](const QuestionSet& set) {
    pieces.push_back(set.questions.size());
    for (const Question& question : set.questions) CHECK(question.file == (question.id.starts_with("q") ? 0 : 1));
  });
  CHECK(pieces == std::vector<size_t>{4096, 4096, questions_of_pieces + 2 - 2 * 4096});
  CHECK(counts.blank == 1);
  CHECK(counts.lost == 1);
  letters.config.data.train_share = 0.01;
  const std::vector<std::string> some = ids_of(letters.config, own);
  REQUIRE(some.size() == 90);
  for (size_t i = 0; i < some.size(); ++i) CHECK(some[i] == "q" + std::to_string(i * 9002 / 90));
  own.file_weights = {"0", "2"};
  letters.config.data.train_share = 1;
  CHECK(ids_of(letters.config, own) == std::vector<std::string>{"z", "lost"});
  // The answers of all pieces stand in place of those of the first.
  own = {.confusing_sentences = 1};
  letters.config.data.train = {letters.write("plain.json", file_of("In 1 b c", {question("1", "y", "b", 5)})),
                               letters.write("many.json", letters_file(1, questions_of_pieces))};
  bool is_first = true;
  const ReadCounts changed = each_piece_of_training(letters.config, own, [&](const QuestionSet& set) {
    if (is_first) CHECK(set.contexts[0].text.size() > std::string("In 1 b c In 1").size());
    is_first = false;
  });
  CHECK(changed.recipe.confusing == 1);
  // An id of one file occurs in another, though that one is read in other pieces.
  letters.config.data.train.push_back(letters.write("again.json", file_of("b c", {question("q3", "y", "b", 0)})));
  CHECK_THROWS_WITH_AS(ids_of(letters.config, {}), doctest::Contains("the id \"q3\" occurs a second time"), Error);
}

TEST_CASE("squad windows: a training has the same batches either way, and goes on from one way in the other") {
  const auto settings = [](int64_t in_memory, int64_t steps) {
    auto letters = std::make_unique<Letters>();
    letters->sections.squad.windows_in_memory = in_memory;
    letters->config.training.max_steps = steps;
    letters->config.training.scheduler = "constant";
    return letters;
  };
  const auto memory = settings(1, 8), file = settings(0, 8);
  const auto ours = memory->trained(), theirs = file->trained();
  CHECK(ours->fingerprint() == theirs->fingerprint());
  CHECK(ours->start_report().find("in a file") == std::string::npos);
  CHECK(theirs->start_report().find("300 questions, 300 windows; they are in a file in the run folder") !=
        std::string::npos);
  CHECK(fs::is_empty(fs::path(file->config.output_dir) / "run" / "cache"));
  for (int64_t step = 0; step < 60; step += 7) {  // three epochs
    SequenceBatch one, other;
    ours->batch_of(step, one);
    theirs->batch_of(step, other);
    CHECK(one.tokens == other.tokens);
    CHECK(one.targets.spans == other.targets.spans);
  }
  const auto stopped = settings(1, 5);
  stopped->trained();
  stopped->config.training.max_steps = 8;
  stopped->sections.squad.windows_in_memory = 0;
  stopped->trained();
  const auto weights = [](const Letters& letters) {
    return read_text(fs::path(letters.config.output_dir) / "run" / "last" / "model.safetensors");
  };
  CHECK(weights(*stopped) == weights(*memory));
  CHECK(weights(*file) == weights(*memory));
}

}  // namespace engine::test::test_squad_windows
