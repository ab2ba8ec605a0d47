// Packing, places of thoughts and documents of the task thought.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "tasks/documents.h"
#include "tasks/thought/insertion.h"
#include "tasks/thought/packed_documents.h"
#include "tests/task_settings.h"

namespace engine::test::test_thought_data {

namespace {

// Packs a window in the obvious way: longest first, each into the fullest row that holds it.
std::vector<std::vector<int32_t>> packed_slowly(std::span<const int32_t> lengths, int32_t room) {
  std::vector<int32_t> order(lengths.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int32_t>(i);
  const auto length = [&](int32_t piece) { return lengths[static_cast<size_t>(piece)]; };
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return length(a) > length(b); });
  std::vector<std::vector<int32_t>> rows;
  std::vector<int32_t> left;
  for (const int32_t piece : order) {
    size_t best = rows.size();
    for (size_t row = 0; row < rows.size(); ++row)
      if (left[row] >= length(piece) && (best == rows.size() || left[row] < left[best])) best = row;
    if (best == rows.size()) {
      rows.emplace_back();
      left.push_back(room);
    }
    rows[best].push_back(piece);
    left[best] -= length(piece);
  }
  return rows;
}

std::vector<std::vector<int32_t>> rows_of(const PackedRows& packed) {
  std::vector<std::vector<int32_t>> rows;
  for (int64_t row = 0; row < packed.rows(); ++row)
    rows.emplace_back(packed.row(row).begin(), packed.row(row).end());
  return rows;
}

std::vector<int32_t> random_lengths(uint64_t seed, size_t count, uint32_t room) {
  Random random(seed, 0);
  std::vector<int32_t> lengths(count);
  for (int32_t& length : lengths) length = 1 + static_cast<int32_t>(random.below(random.below(3) ? room / 4 : room));
  return lengths;
}

std::vector<int32_t> counted(int32_t count) {
  std::vector<int32_t> tokens;
  for (int32_t i = 0; i < count; ++i) tokens.push_back(i);
  return tokens;
}

}  // namespace

TEST_CASE("thought data: rows are those of the obvious packing, window by window") {
  for (const uint64_t seed : {1u, 2u, 3u}) {
    const std::vector<int32_t> lengths = random_lengths(seed, 300, 65);
    CHECK(rows_of(pack_rows(lengths, 65)) == packed_slowly(lengths, 65));
    const PackedRows packed = pack_rows(lengths, 65, 64);
    std::vector<std::vector<int32_t>> expected;
    for (size_t first = 0; first < lengths.size(); first += 64) {
      const auto window = std::span(lengths).subspan(first, std::min<size_t>(64, lengths.size() - first));
      for (std::vector<int32_t>& row : packed_slowly(window, 65)) {
        for (int32_t& piece : row) piece += static_cast<int32_t>(first);
        expected.push_back(std::move(row));
      }
    }
    CHECK(rows_of(packed) == expected);
    std::vector<int32_t> pieces = packed.pieces;
    std::sort(pieces.begin(), pieces.end());
    CHECK(pieces == counted(300));
    // Rows are nearly full.
    int64_t tokens = 0;
    for (const int32_t length : lengths) tokens += length;
    CHECK(static_cast<double>(tokens) > 0.9 * 65 * static_cast<double>(pack_rows(lengths, 65).rows()));
  }
  CHECK(pack_rows({}, 8).rows() == 0);
  CHECK_THROWS_AS(pack_rows(std::vector<int32_t>{9}, 8), Error);
}

TEST_CASE("thought data: thoughts are put between tokens, and the targets are the same with them and without") {
  constexpr int32_t thought = 99;
  std::vector<double> at(11, 0.0);  // thoughts before each token
  for (uint64_t i = 0; i < 500; ++i) {
    Random random(1, i);
    const ThoughtPlan plan{.count = 3, .thought = thought};
    std::vector<int32_t> tokens = counted(13), without = counted(13);
    REQUIRE(insert_thoughts(plan, random, tokens));
    REQUIRE(insert_thoughts({.count = 3, .thought = thought, .inserts = false}, random, without));
    CHECK(without == counted(10));
    REQUIRE(tokens.size() == 13);
    CHECK(std::count(tokens.begin(), tokens.end(), thought) == 3);
    CHECK(std::find(tokens.begin(), tokens.end(), thought) - tokens.begin() >= 3);
    size_t passed = 0;
    for (const int32_t token : tokens) token == thought ? ++at[passed] : static_cast<double>(++passed);
    std::erase(tokens, thought);
    CHECK(tokens == without);
  }
  // The first thought has 8 places, which are equally likely, and the others have one more each.
  CHECK(at[0] + at[1] + at[2] == 0);
  for (size_t place = 3; place <= 10; ++place) CHECK(std::abs(at[place] - 1500.0 / 8) < 5 * std::sqrt(1500.0 / 8));

  Random random(1, 0);
  std::vector<int32_t> with = counted(13), short_one = counted(6), least = counted(7);
  insert_thoughts({.count = 3, .thought = thought}, random, with);
  SequenceBatch batch;
  append_sequence(with, thought, batch);
  append_sequence(counted(10), thought, batch);
  REQUIRE(batch.sequences() == 2);
  CHECK(batch.offsets == std::vector<int32_t>{0, 12, 21});
  std::vector<int32_t> labels = batch.targets.labels;
  for (size_t i = 0; i < 12; ++i) CHECK(labels[i] == (with[i + 1] == thought ? -100 : with[i + 1]));
  CHECK(std::vector<int32_t>(batch.tokens.begin(), batch.tokens.begin() + 12) ==
        std::vector<int32_t>(with.begin(), with.end() - 1));
  const std::vector<int32_t> other(labels.begin() + 12, labels.end());
  labels.resize(12);
  std::erase(labels, -100);
  CHECK(labels == other);

  CHECK_FALSE(insert_thoughts({.count = 3, .thought = thought}, random, short_one));
  CHECK(short_one == counted(6));
  CHECK(insert_thoughts({.count = 3, .thought = thought}, random, least));
  CHECK_THROWS_AS(append_sequence(counted(1), thought, batch), Error);
}

TEST_CASE("thought data: documents are cut into pieces, and each piece is in one row") {
  const TemporaryFolder folder;
  const auto write = [&](const std::string& name, const std::string& text) {
    write_file(folder.path() / name, text);
    return (folder.path() / name).string();
  };
  std::string lines;
  std::vector<std::string> documents;
  for (int i = 0; i < 40; ++i) {
    documents.emplace_back(static_cast<size_t>(1 + i * 7 % 60), static_cast<char>('a' + i % 26));
    lines += "{\"text\": \"" + documents.back() + "\"}\n";
  }
  const std::string letters = write("letters.txt", "abcdefghijklmnopqrstuvwxyz");
  const std::string file = write("documents.jsonl", lines);
  const auto tokenizer = make_tokenizer_of_characters({letters});
  // The pieces of every document, in their order.
  std::vector<std::vector<int32_t>> expected;
  int64_t dropped = 0;
  for (const std::string& document : documents) {
    std::vector<int32_t> ids = tokenizer->encode(document);
    ids.push_back(tokenizer->end_token());
    for (size_t begin = 0; begin < ids.size(); begin += 17) {
      const size_t length = std::min<size_t>(17, ids.size() - begin);
      if (length < 5) ++dropped;
      else expected.emplace_back(ids.begin() + static_cast<ptrdiff_t>(begin),
                                 ids.begin() + static_cast<ptrdiff_t>(begin + length));
    }
  }
  CHECK(dropped > 0);
  for (const bool joined : {false, true}) {
    PackedDocuments packed(folder.path() / "cache", {file}, *tokenizer,
                           {.context = 16, .min_piece = 5, .joined = joined});
    CHECK(packed.dropped() == dropped);
    CHECK(packed.pieces() == static_cast<int64_t>(expected.size()));
    CHECK(packed.report().starts_with("40 documents, "));
    std::vector<std::vector<int32_t>> found(expected.size());
    std::set<int64_t> indices;
    std::vector<int32_t> all, wanted;
    int64_t short_ones = 0;
    for (int64_t row = 0; row < packed.rows(); ++row) {
      size_t tokens = 0;
      packed.each_sequence(row, [&](int64_t index, std::vector<int32_t>& sequence) {
        CHECK(indices.insert(index).second);
        tokens += sequence.size();
        short_ones += sequence.size() < 10;
        all.insert(all.end(), sequence.begin(), sequence.end());
        if (!joined) found.at(static_cast<size_t>(index)) = sequence;
        sequence.resize(1);  // a caller may change it
      });
      CHECK(tokens <= 17);
    }
    CHECK(static_cast<int64_t>(indices.size()) == packed.sequences());
    CHECK(packed.shorter_than(10) == short_ones);
    if (!joined) CHECK(found == expected);
    else CHECK(packed.sequences() == packed.rows());
    for (const auto& piece : expected) wanted.insert(wanted.end(), piece.begin(), piece.end());
    std::sort(all.begin(), all.end());
    std::sort(wanted.begin(), wanted.end());
    CHECK(all == wanted);
  }
  CHECK_THROWS_WITH_AS(PackedDocuments(folder.path() / "cache", {file}, *tokenizer,
                                       {.context = 100, .min_piece = 90, .joined = false}),
                       doctest::Contains("thought.min_piece"), Error);
}

}  // namespace engine::test::test_thought_data
