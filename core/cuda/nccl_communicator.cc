#include "core/cuda/nccl_communicator.h"

#include <unistd.h>

#include <cstring>
#include <exception>
#include <thread>

#include "core/cuda/memory.h"
#include "core/cuda/nccl_watch.h"
#include "core/cuda/presence.h"
#include "core/cuda/recording.h"
#include "core/error.h"

namespace engine::cuda {

namespace {

using Clock = std::chrono::steady_clock;

// An Exchange is of some elements in the device's memory, in place.
struct Exchange {
  // A gather is an all_reduce, before which all but the elements own_begin ... own_end-1 become 0.
  enum Kind { all_reduce, reduce, broadcast, gather } kind;
  void* data;
  size_t count;
  NcclType type;
  NcclOperation operation = NcclOperation::sum;
  int root = 0;
  size_t own_begin = 0, own_end = 0;

  size_t bytes() const { return count * (type == NcclType::f32 ? sizeof(float) : 1); }
};

std::string name_of(const Communicator& ranks) {
  return detail::joined("rank ", ranks.rank(), " of ", ranks.size());
}

// Holds NCCL's own communicator.
class NcclConnection {
 public:
  // Connects all ranks within so many seconds.
  NcclConnection(const Nccl& library, Communicator& host, double timeout)
      : library_(library), host_(host), timeout_(timeout) {
    const NcclId id = id_of_all();
    NcclConfig config;
    const NcclResult begun = library_.init(&communicator_, host.size(), id, host.rank(), &config);
    const NcclResult state = begun == NcclResult::in_progress ? result_until(deadline()) : begun;
    if (state == NcclResult::success) return;
    const std::string text = text_of(state);
    if (communicator_) library_.abort(communicator_);
    if (state != NcclResult::in_progress) fail(name_of(host), ": NCCL: ", text);
    fail("NCCL did not connect the GPUs of ", host.size(), " ranks within ", timeout,
         " s: can all machines reach one another? NCCL_DEBUG=INFO tells more");
  }
  ~NcclConnection() {
    // Other ranks may be waited for in vain where an error has ended this one.
    if (std::uncaught_exceptions() > 0) {
      library_.abort(communicator_);
      return;
    }
    if (library_.finalize(communicator_) == NcclResult::in_progress)
      result_until(Clock::now() + std::chrono::seconds(10));
    library_.destroy(communicator_);
  }
  NcclConnection(const NcclConnection&) = delete;
  NcclConnection& operator=(const NcclConnection&) = delete;

  ncclComm* get() const { return communicator_; }
  void set_timeout(double seconds) { timeout_ = seconds; }
  // Throws an Error where a call has failed. One that goes on in the background is waited for.
  void check_call(NcclResult result, const char* call) const {
    if (result == NcclResult::in_progress) result = result_until(deadline());
    if (result == NcclResult::in_progress)
      fail(name_of(host_), ": NCCL: ", call, " could not be started for ", timeout_, " s: do all ranks do the same?");
    if (result != NcclResult::success) fail(name_of(host_), ": NCCL: ", call, ": ", text_of(result));
  }

 private:
  NcclId id_of_all() {
    NcclId id{};
    std::vector<char> own;
    std::string problem;
    if (host_.is_first()) {
      const NcclResult result = library_.make_id(&id);
      if (result == NcclResult::success) own.assign(id.bytes, id.bytes + sizeof id.bytes);
      else problem = text_of(result);
    }
    const std::vector<char> all = host_.gather(own);
    const std::string told = host_.gather(std::vector<std::string>{problem}).front();
    if (all.size() != sizeof id.bytes) fail("rank 0: NCCL: ", told);
    std::memcpy(id.bytes, all.data(), sizeof id.bytes);
    return id;
  }
  Clock::time_point deadline() const {
    return Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(timeout_));
  }
  NcclResult result_until(Clock::time_point end) const {
    NcclResult state = NcclResult::in_progress;
    for (auto pause = std::chrono::microseconds(10);; pause = std::min(2 * pause, std::chrono::microseconds(20000))) {
      if (library_.asynchronous_error(communicator_, &state) != NcclResult::success) return NcclResult::internal_error;
      if (state != NcclResult::in_progress || Clock::now() > end) return state;
      std::this_thread::sleep_for(pause);
    }
  }
  std::string text_of(NcclResult result) const { return library_.text_of(result, communicator_); }

  const Nccl& library_;
  Communicator& host_;
  double timeout_;  // seconds
  ncclComm* communicator_ = nullptr;
};

// Holds the stream of exchanges, and the events that order it with the compute stream.
class ExchangeStream {
 public:
  ExchangeStream() {
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    for (cudaEvent_t* const event : {&ready_, &done_})
      check(cudaEventCreateWithFlags(event, cudaEventDisableTiming), "cudaEventCreateWithFlags");
  }
  ~ExchangeStream() {
    for (const cudaEvent_t event : {ready_, done_}) cudaEventDestroy(event);
    cudaStreamDestroy(stream_);
  }
  ExchangeStream(const ExchangeStream&) = delete;
  ExchangeStream& operator=(const ExchangeStream&) = delete;

  cudaStream_t get() const { return stream_; }
  cudaEvent_t ready() const { return ready_; }  // the compute stream has completed a bucket
  cudaEvent_t done() const { return done_; }    // all exchanges are done

 private:
  cudaStream_t stream_ = nullptr;
  cudaEvent_t ready_ = nullptr, done_ = nullptr;
};

class NcclCommunicator final : public Communicator {
 public:
  using Communicator::gather;

  NcclCommunicator(const Nccl& library, Device& device, Communicator& host, const NcclSettings& settings)
      : library_(library),
        device_(device),
        host_(host),
        bucket_bytes_(settings.bucket_bytes),
        spans_machines_(settings.spans_machines),
        connection_(library, host, settings.timeout) {
    rank_ = host.rank(), size_ = host.size();
    local_rank_ = host.local_rank(), local_size_ = host.local_size();
    watch_ = std::make_unique<NcclWatch>(library, connection_.get(), device.index(), host, settings.timeout);
  }
  ~NcclCommunicator() override {
    // An error on this rank leaves exchanges that the others do not join. NCCL's communicator is aborted then.
    if (std::uncaught_exceptions() == 0) cudaStreamSynchronize(stream_.get());
    watch_.reset();
  }
  NcclCommunicator(const NcclCommunicator&) = delete;
  NcclCommunicator& operator=(const NcclCommunicator&) = delete;

  void sum(std::span<float> values) override { host().sum(values); }
  void sum(std::span<double> values) override { host().sum(values); }
  std::vector<float> gather(const std::vector<float>& own) override { return host().gather(own); }
  std::vector<int32_t> gather(const std::vector<int32_t>& own) override { return host().gather(own); }
  std::vector<char> gather(const std::vector<char>& own) override { return host().gather(own); }
  void let_first_speak() override { host_.let_first_speak(); }
  void abort(int code) override { host_.abort(code); }
  void set_timeout(double seconds) override {
    host_.set_timeout(seconds);
    connection_.set_timeout(seconds);
    watch_->set_timeout(seconds);
  }

  void start_sum(std::span<float> values, SumOrder order) override {
    refuse_tree(order);
    add({Exchange::all_reduce, values.data(), values.size(), NcclType::f32});
  }
  // NCCL has no operation for bits. Those of touched blocks are nested: none, moments, and these with the gradient. So
  // the largest holds all.
  void start_or(std::span<uint8_t> values) override {
    add({Exchange::all_reduce, values.data(), values.size(), NcclType::u8, NcclOperation::max});
  }
  // On one machine the halves of a sum are an exchange for each rank's part. Between machines the latencies of so many
  // would cost far more than the bytes of whole tensors (docs/scaling.md), so both halves are sums of these: the first
  // one of all values, the second one of bytes that are 0 but on the rank whose part they are.
  void start_reduce_scatter(std::span<float> values, std::span<const int64_t> begins, SumOrder order) override {
    if (spans_machines_) return start_sum(values, order);
    refuse_tree(order);
    add_parts({Exchange::reduce, values.data(), 0, NcclType::f32}, begins);
  }
  void start_all_gather(std::span<std::byte> values, std::span<const int64_t> begins) override {
    if (!spans_machines_) return add_parts({Exchange::broadcast, values.data(), 0, NcclType::u8}, begins);
    Exchange whole{Exchange::gather, values.data(), values.size(), NcclType::u8, NcclOperation::max};
    const auto at = static_cast<size_t>(rank_);
    whole.own_begin = static_cast<size_t>(begins[at]), whole.own_end = static_cast<size_t>(begins[at + 1]);
    add(whole);
  }
  void wait() override {
    flush();
    if (!is_waited_for_) return;
    is_waited_for_ = false;
    start_or_break([this] { join(); });
  }

 private:
  Communicator& host() const {
    watch_->hold_if_ending();
    return host_;
  }
  static void refuse_tree(SumOrder order) {
    require(order != SumOrder::tree, "NCCL has no sums by a fixed tree");
  }
  // The parts differ in size, which NCCL's own reduce-scatter and all-gather do not take.
  void add_parts(const Exchange& whole, std::span<const int64_t> begins) {
    std::vector<Exchange> parts;
    const size_t size = Exchange{whole.kind, nullptr, 1, whole.type}.bytes();
    for (int rank = 0; rank < size_; ++rank) {
      const auto at = static_cast<size_t>(rank);
      Exchange part = whole;
      part.data = static_cast<char*>(whole.data) + static_cast<size_t>(begins[at]) * size;
      part.count = static_cast<size_t>(begins[at + 1] - begins[at]);
      part.root = rank;
      parts.push_back(part);
    }
    add(parts);
  }
  void add(const Exchange& one) { add(std::span(&one, 1)); }
  void add(std::span<const Exchange> all) {
    is_waited_for_ = true;
    for (const Exchange& one : all) {
      if (one.count == 0) continue;
      bucket_.push_back(one);
      bytes_ += one.bytes();
    }
    if (bytes_ >= bucket_bytes_) flush();
  }
  void flush() {
    if (bucket_.empty()) return;
    start_or_break([this, bucket = std::move(bucket_)] { exchange(bucket); });
    bucket_.clear();
    bytes_ = 0;
  }
  void exchange(const std::vector<Exchange>& bucket) {
    check(cudaEventRecord(stream_.ready(), device_.compute_stream()), "cudaEventRecord");
    check(cudaStreamWaitEvent(stream_.get(), stream_.ready(), 0), "cudaStreamWaitEvent");
    for (const Exchange& one : bucket)
      if (one.kind == Exchange::gather) clear_others(one);
    connection_.check_call(library_.group_start(), "ncclGroupStart");
    for (const Exchange& one : bucket) start(one);
    connection_.check_call(library_.group_end(), "ncclGroupEnd");
  }
  void clear_others(const Exchange& one) const {
    const auto clear = [&](size_t begin, size_t end) {
      if (begin == end) return;
      check(cudaMemsetAsync(static_cast<char*>(one.data) + begin, 0, end - begin, stream_.get()), "cudaMemsetAsync");
    };
    clear(0, one.own_begin);
    clear(one.own_end, one.count);
  }
  void start(const Exchange& one) const {
    ncclComm* const communicator = connection_.get();
    const cudaStream_t stream = stream_.get();
    const auto& [kind, data, count, type, operation, root, own_begin, own_end] = one;
    const NcclResult result =
        kind == Exchange::reduce      ? library_.reduce(data, data, count, type, operation, root, communicator, stream)
        : kind == Exchange::broadcast ? library_.broadcast(data, data, count, type, root, communicator, stream)
                                      : library_.all_reduce(data, data, count, type, operation, communicator, stream);
    // A call inside a group may go on in the background until the group has ended.
    if (result != NcclResult::in_progress) connection_.check_call(result, "an exchange");
  }
  // Makes what the compute stream does from now on wait for the exchanges.
  void join() {
    watch_->add(device_.compute_stream(), stream_.get());
    check(cudaEventRecord(stream_.done(), stream_.get()), "cudaEventRecord");
    check(cudaStreamWaitEvent(device_.compute_stream(), stream_.done(), 0), "cudaStreamWaitEvent");
  }

  const Nccl& library_;
  Device& device_;
  Communicator& host_;
  const size_t bucket_bytes_;
  const bool spans_machines_;
  const ExchangeStream stream_;  // outlives the connection
  NcclConnection connection_;
  std::unique_ptr<NcclWatch> watch_;
  std::vector<Exchange> bucket_;
  size_t bytes_ = 0;            // of the bucket
  bool is_waited_for_ = false;  // something was exchanged since the last wait
};

// Throws where two ranks have one GPU, which NCCL does not take.
void refuse_shared_gpus(const Device& device, Communicator& host) {
  char machine[65] = {};
  gethostname(machine, sizeof machine - 1);
  const std::string name = detail::joined("GPU ", device.index(), " (", device.name(), ") of ", machine);
  const std::vector<std::string> names = host.gather(std::vector<std::string>{name});
  const std::vector<std::string> identities = host.gather(std::vector<std::string>{machine + device.identity()});
  for (size_t rank = 1; rank < identities.size(); ++rank)
    for (size_t before = 0; before < rank; ++before)
      if (identities[before] == identities[rank])
        fail_usage("ranks ", before, " and ", rank, " would share ", names[rank],
                   ": start no more ranks than there are GPUs, or set device = \"cpu\"");
}

}  // namespace

std::unique_ptr<Communicator> make_nccl_communicator(Memory& memory, Communicator& host, const NcclSettings& settings) {
  const std::vector<std::string> problems = host.gather(std::vector<std::string>{nccl_problem()});
  for (size_t rank = 0; rank < problems.size(); ++rank)
    if (!problems[rank].empty())
      fail("rank ", rank, " of ", problems.size(), ": ", problems[rank],
           ", and ranks on several GPUs need it: install NCCL 2.14 or newer, or set device = \"cpu\"");
  Device& device = dynamic_cast<DeviceMemory&>(memory).device();
  refuse_shared_gpus(device, host);
  return std::make_unique<NcclCommunicator>(*Nccl::get(), device, host, settings);
}

}  // namespace engine::cuda
