#include "bench/steps/schedule.h"

#include <cstring>
#include <string>

#include "kernels/observe/count_ops.h"
#include "kernels/observe/wrapped_ops.h"

namespace engine {

using nlohmann::json;

json json_of(const OperationCount& count) {
  return {{"operation", count.name}, {"shapes", count.shapes}, {"compute", name_of(count.compute)},
          {"calls", count.calls},    {"flops", count.flops},   {"bytes", count.bytes}};
}

// Operations are merged up to the next exchange.
class Schedule::Pieces {
 public:
  std::vector<OperationCount> counts;

  void add_zeroes(size_t bytes) {
    const OperationCount zero{.name = "zero", .compute = DType::f32, .calls = 1, .bytes = static_cast<double>(bytes)};
    for (OperationCount& known : counts)
      if (known.is_like(zero)) {
        ++known.calls;
        return;
      }
    counts.push_back(zero);
  }
  void add_exchange(const char* kind, size_t bytes) {
    end_operations();
    lines_.push_back({{"exchange", kind}, {"bytes", bytes}});
  }
  void clear() { counts.clear(), lines_.clear(); }
  const std::vector<json>& lines() {
    end_operations();
    return lines_;
  }

 private:
  void end_operations() {
    for (const OperationCount& count : counts) lines_.push_back(json_of(count));
    counts.clear();
  }

  std::vector<json> lines_;
};

// Stands for the memory of a GPU: it is not the host's, and large tensors in it are never touched.
class Schedule::Device final : public Memory {
 public:
  explicit Device(Pieces& pieces) : pieces_(pieces) {}
  void* reserve(size_t bytes) override { return host_memory().reserve(bytes); }
  void release(void* data, size_t bytes) override { host_memory().release(data, bytes); }
  void copy_in(void* device, const void* host, size_t bytes) override { host_memory().copy_in(device, host, bytes); }
  void copy_out(void* host, const void* device, size_t bytes) override { host_memory().copy_out(host, device, bytes); }
  void zero(void* device, size_t bytes) override {
    constexpr size_t small = 4096;
    if (bytes <= small) host_memory().zero(device, bytes);
    pieces_.add_zeroes(bytes);
  }
  size_t capacity() const override { return size_t{80} << 30; }

 private:
  Pieces& pieces_;
};

class Schedule::CountedOps final : public WrappedOps<CountedOps> {
 public:
  CountedOps(Pieces& pieces, Memory& memory) : counting_(make_count_ops(pieces.counts)), memory_(memory) {}
  Memory& memory() override { return memory_; }
  size_t packed_bytes(int64_t k, int64_t n, DType compute) override { return counting_->packed_bytes(k, n, compute); }

  template <class Args>
  void run(const char*, const Args& args, void (Ops::*method)(const Args&)) {
    ((*counting_).*method)(args);
  }

 private:
  std::unique_ptr<Ops> counting_;
  Memory& memory_;
};

class Schedule::ListedRanks final : public Communicator {
 public:
  using Communicator::gather;

  ListedRanks(Pieces& pieces, int ranks) : pieces_(pieces) { size_ = local_size_ = ranks; }
  void start_sum(std::span<float> values, SumOrder) override { pieces_.add_exchange("sum", values.size_bytes()); }
  void start_or(std::span<uint8_t> values) override { pieces_.add_exchange("or", values.size_bytes()); }
  void start_reduce_scatter(std::span<float> values, std::span<const int64_t>, SumOrder) override {
    pieces_.add_exchange("reduce_scatter", values.size_bytes());
  }
  void start_all_gather(std::span<std::byte> values, std::span<const int64_t>) override {
    pieces_.add_exchange("all_gather", values.size_bytes());
  }
  void wait() override { pieces_.add_exchange("wait", 0); }
  std::vector<float> gather(const std::vector<float>& own) override {
    pieces_.add_exchange("gather", own.size() * sizeof(float));
    return own;
  }

 private:
  Pieces& pieces_;
};

Schedule::Schedule(int ranks)
    : pieces_(std::make_unique<Pieces>()),
      device_(std::make_unique<Device>(*pieces_)),
      ops_(std::make_unique<CountedOps>(*pieces_, *device_)),
      ranks_(std::make_unique<ListedRanks>(*pieces_, ranks)) {}

Schedule::~Schedule() = default;

Ops& Schedule::ops() { return *ops_; }

Communicator& Schedule::ranks() { return *ranks_; }

void Schedule::begin_step() { pieces_->clear(); }

void Schedule::print(const Parameters& parameters, const std::vector<MemoryUse>& uses, std::ostream& out) {
  for (const Parameter& p : parameters.all())
    out << json{{"parameter", p.name}, {"elements", p.shape.count()}}.dump() << "\n";
  for (const MemoryUse& use : uses) out << json{{"memory", use.name}, {"bytes", use.bytes}}.dump() << "\n";
  for (const json& line : pieces_->lines()) out << line.dump() << "\n";
}

}  // namespace engine
