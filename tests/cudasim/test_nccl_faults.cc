// Faults that others have had in exchanges between GPUs, made on purpose. Each must be seen, and end all ranks with one
// line.
#include <csignal>

#include "tests/cudasim/device_ranks.h"

namespace engine::test::test_nccl_faults {

namespace {

__global__ void set_kernel(float* y, float value) { y[threadIdx.x] = value; }

constexpr size_t exchanged = 32;

void set_numbers(DeviceRank& of, std::span<float> to, float value) {
  of.start(set_kernel, 1, static_cast<unsigned>(to.size()), 0, to.data(), value);
}

// Each rank's numbers are its own number and one.
std::span<float> written(DeviceRank& of, size_t size = exchanged) {
  const std::span<float> numbers = of.numbers(std::vector<float>(size));
  set_numbers(of, numbers, static_cast<float>(of.rank + 1));
  return numbers;
}

const std::string changed_memory = "ncclAllReduce of 32 f32, sum: its memory changed after it could begin";

}  // namespace

TEST_CASE("faults of device ranks: a bucket that is reduced before its last gradient is written") {
  for (const bool is_early : {false, true}) {
    const RanksEnded ended = as_device_ranks(2, [=](DeviceRank& own) {
      const std::span<float> numbers = own.numbers(std::vector<float>(exchanged));
      if (is_early) own.ranks->start_sum(numbers);
      set_numbers(own, numbers, 1);
      if (!is_early) own.ranks->start_sum(numbers);
      own.ranks->wait();
      own.device.synchronize();
    });
    if (is_early) check_one_line(ended, changed_memory);
    else CHECK_MESSAGE(ended.all(0), ended.error);
  }
}

TEST_CASE("faults of device ranks: a buffer that is used again while it travels") {
  for (const bool is_early : {false, true}) {
    const RanksEnded ended = as_device_ranks(2, [=](DeviceRank& own) {
      const std::span<float> numbers = written(own);
      own.ranks->start_sum(numbers);
      if (!is_early) own.ranks->wait();
      set_numbers(own, numbers, 7);
      own.ranks->wait();
      own.device.synchronize();
    });
    if (is_early) check_one_line(ended, changed_memory);
    else CHECK_MESSAGE(ended.all(0), ended.error);
  }
}

TEST_CASE("faults of device ranks: sums that are read before they are there are no sums") {
  for (const bool waits : {true, false}) {
    const RanksEnded ended = as_device_ranks(2, [=](DeviceRank& own) {
      const std::span<float> numbers = written(own);
      own.ranks->start_sum(numbers);
      if (waits) own.ranks->wait();
      const float found = own.values_of(numbers)[0];
      own.host.sum(std::span<float>{});  // until both have read
      require(found == 3, "found ", found);
    });
    if (waits) CHECK_MESSAGE(ended.all(0), ended.error);
    else CHECK(contains(ended.error, "found 1"));
  }
}

TEST_CASE("faults of device ranks: another order, size or kind on one rank is named") {
  const auto run = [](const std::function<void(DeviceRank&, std::span<float>, std::span<float>)>& exchanges) {
    return as_device_ranks(2, [&](DeviceRank& own) {
      const std::span<float> one = written(own), other = written(own, 8);
      exchanges(own, one, other);
      own.ranks->wait();
      own.device.synchronize();
    });
  };
  // Both ranks see it. Either may be the first to say so.
  const auto check_both = [](const RanksEnded& ended, const std::string& one, const std::string& other) {
    check_one_line(ended, "invalid usage (group ");
    CHECK(contains(ended.error, one));
    CHECK(contains(ended.error, other));
  };
  const RanksEnded order = run([](DeviceRank& own, std::span<float> one, std::span<float> other) {
    own.ranks->start_sum(own.rank == 1 ? other : one);
    own.ranks->start_sum(own.rank == 1 ? one : other);
  });
  check_both(order, "ncclAllReduce of 32 f32, sum", "ncclAllReduce of 8 f32, sum");
  const RanksEnded size = run([](DeviceRank& own, std::span<float> one, std::span<float> other) {
    own.ranks->start_sum(other);
    own.ranks->start_sum(own.rank == 1 ? one.first(31) : one);
  });
  check_both(size, "ncclAllReduce of 31 f32, sum", "ncclAllReduce of 32 f32, sum");
  const RanksEnded kind = run([](DeviceRank& own, std::span<float> one, std::span<float>) {
    const std::vector<int64_t> begins{0, 0, 32};
    if (own.rank == 1) own.ranks->start_sum(one);
    else own.ranks->start_reduce_scatter(one, begins);
  });
  check_both(kind, "ncclAllReduce of 32 f32, sum", "ncclReduce of 32 f32, sum, root 1");
}

TEST_CASE("faults of device ranks: two of one size in another order on one rank: the sums are wrong") {
  const RanksEnded ended = as_device_ranks(2, [](DeviceRank& own) {
    const std::span<float> ones = own.numbers(std::vector<float>(exchanged, 1)),
                           twos = own.numbers(std::vector<float>(exchanged, 2));
    own.ranks->start_sum(own.rank == 1 ? twos : ones);
    own.ranks->start_sum(own.rank == 1 ? ones : twos);
    own.ranks->wait();
    require(own.values_of(ones)[0] == 2, "found ", own.values_of(ones)[0]);
  });
  CHECK(contains(ended.error, "found 3"));
}

TEST_CASE("faults of device ranks: one that takes no part, or ends, ends all in time") {
  const auto run = [](const std::function<void()>& what) {
    return as_processes(2, [&](Communicator& host) {
      DeviceRank own(host, {.timeout = 1, .bucket_bytes = 1});
      if (own.rank == 1) what();
      own.ranks->start_sum(written(own));
      own.ranks->wait();
      own.device.synchronize();
    });
  };
  check_one_line(run([] { pause(); }), "rank 0 of 2: NCCL: an exchange of gradients has not ended for 1 s");
  const RanksEnded killed = run([] { raise(SIGKILL); });
  CAPTURE(killed.error);
  CHECK(killed.codes == std::vector<int>{1, 128 + SIGKILL});
  CHECK(killed.error == "engine: rank 1 of 2 ended without a word: was it killed, or was there too little memory?; the "
                        "last saved state can be resumed\n");
}

}  // namespace engine::test::test_nccl_faults
