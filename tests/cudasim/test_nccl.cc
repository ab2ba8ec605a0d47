// Exchanges between simulated GPUs: their results, how they overlap with work, and what goes wrong at the start.
#include <csignal>

#include "kernels/backend/backend.h"
#include "tests/cudasim/device_ranks.h"
#include "tests/cudasim/stream.h"
#include "tests/variable.h"

namespace engine::test::test_nccl {

namespace {

__global__ void write_kernel(float* y, float value) { y[threadIdx.x] = value; }

void write_numbers(DeviceRank& of, std::span<float> to, float value) {
  of.start(write_kernel, 1, static_cast<unsigned>(to.size()), 0, to.data(), value);
}

void require_values(DeviceRank& of, std::span<const float> numbers, float expected) {
  for (const float value : of.values_of(numbers))
    require(value == expected, "rank ", of.rank, " has ", value, " in place of ", expected);
}

// Checks that nothing went wrong.
void check_well(const RanksEnded& ended) {
  CAPTURE(ended.error);
  CHECK(ended.all(0));
  CHECK(ended.error.empty());
}

// Writes four blocks' gradients one behind the other. Each is exchanged at once or, where overlap is lost, when the
// last is written. Returns how many kernels each exchange could be hidden behind.
std::vector<size_t> hidden_work(DeviceRank& rank, bool is_lost) {
  std::vector<std::span<float>> blocks;
  for (int block = 0; block < 4; ++block) blocks.push_back(rank.numbers(std::vector<float>(32)));
  const size_t before = cudasim::overlaps().size();
  for (const std::span<float> block : blocks) {
    write_numbers(rank, block, 1);
    if (!is_lost) rank.ranks->start_sum(block);
  }
  if (is_lost)
    for (const std::span<float> block : blocks) rank.ranks->start_sum(block);
  rank.ranks->wait();
  for (const std::span<float> block : blocks) require_values(rank, block, static_cast<float>(rank.size));
  std::vector<size_t> kernels;
  for (size_t i = before; i < cudasim::overlaps().size(); ++i) kernels.push_back(cudasim::overlaps()[i].kernels);
  return kernels;
}

}  // namespace

TEST_CASE("device ranks: sums, bits and both halves of a sum, of any size, in buckets of any size") {
  for (const int size : {2, 3})
    for (const auto& [bucket, spans_machines] : std::initializer_list<std::pair<size_t, bool>>{
             {1, false}, {1000, false}, {1 << 20, false}, {1, true}, {1 << 20, true}}) {
      CAPTURE(size);
      CAPTURE(bucket);
      CAPTURE(spans_machines);
      check_well(as_processes(size, [&, bucket = bucket, spans_machines = spans_machines](Communicator& host) {
        DeviceRank own(host, {.timeout = 20, .bucket_bytes = bucket, .spans_machines = spans_machines});
        const auto rank = static_cast<float>(own.rank), all = static_cast<float>(size * (size - 1) / 2);
        const std::span<float> one = own.numbers({rank}), many = own.numbers(std::vector<float>(300, rank + 1));
        const std::span<float> halves = own.numbers(std::vector<float>(7, rank)), none{};
        const std::vector<uint8_t> touched{static_cast<uint8_t>(own.rank == 1 ? 3 : 0), 1, 0};
        const Tensor bits = own.arena.make(DType::u8, {3});
        own.arena.memory().copy_in(bits.data, touched.data(), 3);
        own.ranks->start_sum(one);
        own.ranks->start_or(std::span(bits.as<uint8_t>(), 3));
        own.ranks->start_sum(none);
        own.ranks->start_sum(many);
        own.ranks->wait();
        require_values(own, one, all);
        require_values(own, many, all + static_cast<float>(size));
        std::vector<uint8_t> any(3);
        own.arena.memory().copy_out(any.data(), bits.data, 3);
        require(any == std::vector<uint8_t>{3, 1, 0}, "wrong bits");
        // The second rank's part is empty, and the parts differ in size.
        std::vector<int64_t> begins{0, 2, 2, 7}, bytes;
        if (size == 2) begins = {0, 2, 7};
        for (const int64_t begin : begins) bytes.push_back(4 * begin);
        own.ranks->start_reduce_scatter(halves, begins);
        own.ranks->wait();
        const auto at = static_cast<size_t>(own.rank);
        const std::span<float> part = halves.subspan(static_cast<size_t>(begins[at]),
                                                     static_cast<size_t>(begins[at + 1] - begins[at]));
        require_values(own, part, all);
        if (!part.empty()) write_numbers(own, part, rank);
        own.ranks->start_all_gather(std::as_writable_bytes(halves), bytes);
        own.ranks->wait();
        const std::vector<float> gathered = own.values_of(halves);
        for (size_t i = 0; i < gathered.size(); ++i)
          require(gathered[i] == (i < 2 ? 0.0f : static_cast<float>(size - 1)), "wrong part: ", gathered[i]);
        // The host's communicator carries the rest.
        std::vector<double> host_sum{1};
        own.ranks->sum(std::span<double>(host_sum));
        require(host_sum[0] == size, "wrong sum of the host");
        require(own.ranks->gather(std::vector<int32_t>{own.rank}).size() == static_cast<size_t>(size), "gather");
      }));
    }
}

TEST_CASE("device ranks: a rank that takes its time changes no result, be it the host or its exchanges") {
  check_well(as_device_ranks(3, [](DeviceRank& own) {
    if (own.rank == 1) usleep(200000);
    const Variable delay("CUDASIM_NCCL_DELAY", own.rank == 2 ? "100" : "0");
    const std::span<float> numbers = own.numbers(std::vector<float>(32));
    for (int step = 0; step < 3; ++step) {
      write_numbers(own, numbers, static_cast<float>(own.rank + step));
      own.ranks->start_sum(numbers);
      own.ranks->wait();
      // The host does not wait for a device whose work another one needs.
      std::vector<double> nothing{0};
      if (step == 1) own.host.sum(std::span<double>(nothing));
      if (own.rank == 0 || step == 2) require_values(own, numbers, static_cast<float>(3 + 3 * step));
    }
  }));
}

TEST_CASE("device ranks: exchanges are hidden behind the work after their gradients, and losing that shows") {
  check_well(as_device_ranks(2, [](DeviceRank& own) {
    const std::vector<size_t> hidden = hidden_work(own, false), lost = hidden_work(own, true);
    require(hidden == std::vector<size_t>{3, 2, 1, 0}, "the first exchange is behind ", hidden.at(0), " kernels");
    require(lost == std::vector<size_t>{0, 0, 0, 0}, "a lost overlap is not seen");
  }));
}

TEST_CASE("device ranks: a captured step is cut where an exchange begins, and its graphs are launched again") {
  check_well(as_processes(2, [](Communicator& host) {
    const auto ops = make_ops("sim", {.gpu = host.local_rank()});
    const auto ranks = make_device_communicator(*ops, host, 20, 1);
    Arena arena(ops->memory());
    const Tensor x = arena.make(DType::f32, {64}), y = arena.make(DType::f32, {64}), z = arena.make(DType::f32, {64});
    const auto numbers = [](const Tensor& of) { return std::span(of.as<float>(), static_cast<size_t>(of.count())); };
    for (int step = 0; step < 5; ++step) {
      const std::vector<float> values(64, static_cast<float>(host.rank() + step));
      ops->memory().copy_in(x.data, values.data(), x.bytes());
      const uint64_t launches = cudasim::host_counts().launches, captures = cudasim::host_counts().captures;
      const auto work = [&] {
        ops->copy({.x = x, .y = y});
        ranks->start_sum(numbers(y));
        ops->copy({.x = x, .y = z});
        ranks->start_sum(numbers(z));
      };
      ops->run_captured(1, work);
      ranks->wait();
      std::vector<float> sums(64);
      for (const Tensor& one : {y, z}) {
        ops->memory().copy_out(sums.data(), one.data, one.bytes());
        require(sums == std::vector<float>(64, static_cast<float>(1 + 2 * step)), "step ", step, ": ", sums[0]);
      }
      require(cudasim::host_counts().launches - launches == (step > 0 ? 2 : 0), "another number of graphs");
      require(cudasim::host_counts().captures - captures == (step == 1 ? 2 : 0), "another number of captures");
    }
    require(cudasim::overlaps().at(8).kernels == 1, "the first exchange of a captured step is not hidden");
  }));
}

TEST_CASE("device ranks: what is missing at the start is one line of all ranks, which names the one") {
  const auto start = [](const char* variable, const char* value, int rank, double timeout) {
    return as_processes(2, [=](Communicator& host) {
      if (host.rank() == rank) setenv(variable, value, 1);
      const DeviceRank own(host, {.timeout = timeout});
    });
  };
  check_one_line(start("CUDASIM_NCCL", "absent", 1, 20),
                 "rank 1 of 2: libnccl.so.2 cannot be loaded, and ranks on several GPUs need it: install NCCL 2.14");
  check_one_line(start("CUDASIM_NCCL", "unreachable", 1, 1), "NCCL did not connect the GPUs of 2 ranks within 1 s");
  check_one_line(as_processes(2,
                              [](Communicator& host) {
                                const KernelRun run(0);
                                cuda::Device& device = const_cast<cuda::Device&>(run.device);
                                cuda::make_nccl_communicator(device.memory(), host, {});
                              }),
                 "ranks 0 and 1 would share GPU 0 (simulated device) of ");
}

}  // namespace engine::test::test_nccl
