// Exchanges of ranks over TCP.
#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "tests/rank_threads.h"

namespace engine::test::test_socket_exchanges {

TEST_CASE("socket exchanges: sums have the same bits on all ranks, whatever their number and the size") {
  for (const int size : {2, 3, 5}) {
    CAPTURE(size);
    for (const size_t count : {size_t{0}, size_t{1}, size_t{4}, size_t{100003}}) {
      std::vector<std::vector<float>> sums(static_cast<size_t>(size));
      std::vector<double> expected(count);
      for (int rank = 0; rank < size; ++rank) {
        std::mt19937 random(static_cast<unsigned>(rank));
        std::vector<float>& own = sums[static_cast<size_t>(rank)];
        own.resize(count);
        for (size_t i = 0; i < count; ++i) {
          own[i] = static_cast<float>(static_cast<int>(random() % 2001) - 1000) / 7;
          expected[i] += static_cast<double>(own[i]);
        }
      }
      as_ranks(size, [&](Communicator& ranks) {
        std::vector<float>& own = sums[static_cast<size_t>(ranks.rank())];
        ranks.start_sum(std::span(own).first(count / 3));
        ranks.start_sum(std::span(own).subspan(count / 3));
        ranks.wait();
      });
      for (const std::vector<float>& one : sums) CHECK(one == sums[0]);
      double farthest = 0;
      for (size_t i = 0; i < count; ++i)
        farthest = std::max(farthest, std::abs(static_cast<double>(sums[0][i]) - expected[i]));
      CHECK(farthest < 1e-3);
    }
  }
}

// Returns numbers of a rank whose sums are rounded.
std::vector<float> numbers_of_rank(int rank, size_t count) {
  std::mt19937 random(static_cast<unsigned>(rank) + 17);
  std::vector<float> numbers(count);
  for (float& number : numbers) number = static_cast<float>(static_cast<int>(random() % 2001) - 1000) / 7;
  return numbers;
}

std::vector<float> sum_by_tree(int first, int ranks, size_t count) {
  if (ranks == 1) return numbers_of_rank(first, count);
  std::vector<float> sum = sum_by_tree(first, ranks / 2, count);
  const std::vector<float> other = sum_by_tree(first + ranks / 2, ranks / 2, count);
  for (size_t i = 0; i < count; ++i) sum[i] += other[i];
  return sum;
}

TEST_CASE("socket exchanges: a sum by a tree has the bits of that tree, and parts may be unequal or empty") {
  for (const int size : {2, 4, 8}) {
    CAPTURE(size);
    for (const size_t count : {size_t{0}, size_t{5}, size_t{3001}, size_t{30011}}) {
      CAPTURE(count);
      const std::vector<float> expected = sum_by_tree(0, size, count);
      std::vector<int64_t> begins{0};
      for (int rank = 1; rank < size; ++rank)
        begins.push_back(rank == 2 ? begins.back() : static_cast<int64_t>(count) * rank * rank / (size * size));
      begins.push_back(static_cast<int64_t>(count));
      std::vector<std::vector<float>> sums(static_cast<size_t>(size)), parts(static_cast<size_t>(size));
      as_ranks(size, [&](Communicator& ranks) {
        const auto own = static_cast<size_t>(ranks.rank());
        sums[own] = parts[own] = numbers_of_rank(ranks.rank(), count);
        ranks.start_sum(sums[own], SumOrder::tree);
        ranks.start_reduce_scatter(parts[own], begins, SumOrder::tree);
        ranks.wait();
        for (size_t i = 0; i < count; ++i)
          if (std::cmp_less(i, begins[own]) || std::cmp_greater_equal(i, begins[own + 1])) parts[own][i] = -1;
        std::vector<int64_t> bytes = begins;
        for (int64_t& begin : bytes) begin *= static_cast<int64_t>(sizeof(float));
        ranks.start_all_gather(std::as_writable_bytes(std::span(parts[own])), bytes);
        ranks.wait();
      });
      for (int rank = 0; rank < size; ++rank) {
        CHECK(sums[static_cast<size_t>(rank)] == expected);
        CHECK(parts[static_cast<size_t>(rank)] == expected);
      }
    }
  }
  as_ranks(3, [](Communicator& ranks) {
    std::vector<float> values(1);
    CHECK_THROWS_WITH_AS(ranks.start_sum(values, SumOrder::tree),
                         "a sum by a tree over 3 ranks, which are no power of two", Error);
  });
}

TEST_CASE("socket exchanges: a part's sum is the sum of its elements, wherever it begins") {
  const std::vector<int64_t> begins{0, 0, 7000, 7001, 30011};
  std::vector<double> expected(30011);
  for (int rank = 0; rank < 4; ++rank) {
    const std::vector<float> numbers = numbers_of_rank(rank, expected.size());
    for (size_t i = 0; i < expected.size(); ++i) expected[i] += static_cast<double>(numbers[i]);
  }
  as_ranks(4, [&](Communicator& ranks) {
    std::vector<float> values = numbers_of_rank(ranks.rank(), 30011);
    ranks.start_reduce_scatter(values, begins);
    ranks.wait();
    const auto own = static_cast<size_t>(ranks.rank());
    double farthest = 0;
    for (auto i = static_cast<size_t>(begins[own]); i < static_cast<size_t>(begins[own + 1]); ++i)
      farthest = std::max(farthest, std::abs(static_cast<double>(values[i]) - expected[i]));
    CHECK(farthest < 1e-3);
  });
}

TEST_CASE("socket exchanges: everything else that a communicator does") {
  as_ranks(3, [](Communicator& ranks) {
    CHECK(ranks.size() == 3);
    CHECK(ranks.local_size() == 3);
    CHECK(ranks.local_rank() == ranks.rank());
    CHECK(ranks.is_first() == (ranks.rank() == 0));
    std::vector<double> doubles{0.5, static_cast<double>(ranks.rank())};
    ranks.sum(doubles);
    CHECK(doubles == std::vector<double>{1.5, 3});
    std::vector<uint8_t> bits{static_cast<uint8_t>(1 << ranks.rank()), 0, 8};
    ranks.start_or(bits);
    ranks.wait();
    CHECK(bits == std::vector<uint8_t>{7, 0, 8});
    const std::vector<int32_t> own(static_cast<size_t>(ranks.rank()), ranks.rank());
    CHECK(ranks.gather(own) == std::vector<int32_t>{1, 2, 2});
    CHECK(ranks.gather(std::vector<float>{}) == std::vector<float>{});
    CHECK(ranks.gather(std::vector<std::string>{"of " + std::to_string(ranks.rank()), ""}) ==
          std::vector<std::string>{"of 0", "", "of 1", "", "of 2", ""});
    require_same_on_all_ranks(ranks, "text", "a\nb\n");
    const std::string text = ranks.rank() == 2 ? "a\nc\n" : "a\nb\n";
    CHECK_THROWS_WITH_AS(require_same_on_all_ranks(ranks, "text", text),
                         "rank 2 has another text than rank 0: c in place of b", Error);
    const std::string longer = ranks.rank() == 1 ? "a\nb\nc" : "a\nb";
    CHECK_THROWS_WITH_AS(require_same_on_all_ranks(ranks, "text", longer),
                         "rank 1 has another text than rank 0: c in place of nothing", Error);
  });
}

TEST_CASE("socket exchanges: small tensors of a step are one exchange, and large ones have their own") {
  as_ranks(4, [](Communicator& ranks) {
    const auto own = static_cast<size_t>(ranks.rank());
    static_cast<void>(ranks.take_exchanges());
    std::vector<std::vector<float>> small(10, std::vector<float>(100, 1.5f));
    std::vector<float> large(20000, 2), part(40, 1);
    std::vector<uint8_t> bits(50, static_cast<uint8_t>(1 << own));
    std::vector<std::byte> bytes(8, static_cast<std::byte>(own + 1));
    for (std::vector<float>& one : small) ranks.start_sum(one);
    ranks.start_sum(large);
    ranks.start_reduce_scatter(part, std::vector<int64_t>{0, 10, 20, 20, 40});
    ranks.start_or(bits);
    ranks.start_all_gather(bytes, std::vector<int64_t>{0, 3, 3, 4, 8});
    ranks.wait();
    for (const std::vector<float>& one : small) CHECK(one == std::vector<float>(100, 6));
    CHECK(large == std::vector<float>(20000, 8));
    if (own == 3) CHECK(std::vector<float>(part.begin() + 20, part.end()) == std::vector<float>(20, 4));
    CHECK(bits == std::vector<uint8_t>(50, 15));
    std::vector<int> gathered;
    for (const std::byte one : bytes) gathered.push_back(static_cast<int>(one));
    CHECK(gathered == std::vector<int>{1, 1, 1, 3, 4, 4, 4, 4});
    std::vector<std::pair<std::string, size_t>> exchanges;
    for (const ExchangeSpan& exchange : ranks.take_exchanges()) {
      CHECK(exchange.begin <= exchange.end);
      exchanges.emplace_back(exchange.name, exchange.bytes);
    }
    CHECK(exchanges == std::vector<std::pair<std::string, size_t>>{{"sum", 80000}, {"sum", 4160}, {"or", 58}});
  });
}

TEST_CASE("socket exchanges: sixty-four agree over a tree") {
  as_ranks(64, [](Communicator& ranks) {
    const int rank = ranks.rank();
    CHECK(ranks.local_rank() == rank);
    CHECK(ranks.local_size() == 64);
    std::vector<double> wishes{static_cast<double>(rank), rank == 37 ? 1.0 : 0.0};
    ranks.sum(wishes);
    CHECK(wishes == std::vector<double>{2016, 1});
    const std::vector<int32_t> all = ranks.gather(std::vector<int32_t>(static_cast<size_t>(rank % 3), rank));
    std::vector<int32_t> expected;
    for (int of = 0; of < 64; ++of) expected.insert(expected.end(), static_cast<size_t>(of % 3), of);
    CHECK(all == expected);
    std::vector<float> around(50000, 1), rounded{1 + static_cast<float>(rank) / 7};
    ranks.start_sum(around);
    ranks.start_sum(rounded);
    ranks.wait();
    CHECK(around == std::vector<float>(50000, 64));
    const std::vector<float> same = ranks.gather(rounded);
    CHECK(std::count(same.begin(), same.end(), same[0]) == 64);
  });
}

}  // namespace engine::test::test_socket_exchanges
