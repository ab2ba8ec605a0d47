#include "core/mpi_communicator.h"

#ifdef ENGINE_MPI
#define OMPI_SKIP_MPICXX  // the C++ bindings, which the standard has dropped
#define MPICH_SKIP_MPICXX
#include <mpi.h>
#endif
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

#include "core/queued_communicator.h"
#include "core/tree_sum.h"

namespace engine {

#ifdef ENGINE_MPI

namespace {

// MPI counts elements by int.
constexpr size_t most_at_once = size_t{1} << 30;

// All calls of MPI are made by the thread, which begins and ends MPI, too.
class MpiCommunicator final : public QueuedCommunicator {
 public:
  MpiCommunicator() {
    start_thread();
    add([this] {
      int level = 0;
      MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &level);
      MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
      MPI_Comm_size(MPI_COMM_WORLD, &size_);
      MPI_Comm here;
      MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &here);
      MPI_Comm_rank(here, &local_rank_);
      MPI_Comm_size(here, &local_size_);
      MPI_Comm_free(&here);
    });
    wait();
  }
  ~MpiCommunicator() override {
    add([] { MPI_Finalize(); });
    end_thread();
  }

  void abort(int code) override {
    abort_code_ = code;
    add([this] { abort_where_wanted(); });
    for (;;) pause();
  }

 protected:
  void reduce(std::span<float> values, SumOrder order) override {
    if (order == SumOrder::fastest) return reduce_all(values.data(), values.size(), sizeof(float), MPI_FLOAT, MPI_SUM);
    const std::vector<int64_t> begins = begins_of_shares(std::ssize(values));
    reduce_by_tree(values, begins);
    std::vector<int64_t> bytes;
    for (const int64_t begin : begins) bytes.push_back(begin * static_cast<int64_t>(sizeof(float)));
    all_gather(std::as_writable_bytes(values), bytes);
  }
  void reduce(std::span<double> values) override {
    reduce_all(values.data(), values.size(), sizeof(double), MPI_DOUBLE, MPI_SUM);
  }
  void reduce_bits(std::span<uint8_t> values) override {
    reduce_all(values.data(), values.size(), 1, MPI_BYTE, MPI_BOR);
  }
  void reduce_scatter(std::span<float> values, std::span<const int64_t> begins, SumOrder order) override {
    if (order == SumOrder::tree) return reduce_by_tree(values, begins);
    each_part(std::as_writable_bytes(values), begins, sizeof(float), [&](char* part, int count, int root) {
      MPI_Ireduce(root == rank_ ? MPI_IN_PLACE : part, root == rank_ ? part : nullptr,
                  count / static_cast<int>(sizeof(float)), MPI_FLOAT, MPI_SUM, root, MPI_COMM_WORLD,
                  &requests_.emplace_back());
    });
    finish();
  }
  void all_gather(std::span<std::byte> values, std::span<const int64_t> begins) override {
    each_part(values, begins, 1, [&](char* part, int count, int root) {
      MPI_Ibcast(part, count, MPI_BYTE, root, MPI_COMM_WORLD, &requests_.emplace_back());
    });
    finish();
  }
  std::vector<char> gather_bytes(std::span<const char> own) override {
    const int64_t bytes = std::ssize(own);
    std::vector<int64_t> counts(static_cast<size_t>(size_)), begins{0};
    MPI_Iallgather(&bytes, 1, MPI_INT64_T, counts.data(), 1, MPI_INT64_T, MPI_COMM_WORLD, &requests_.emplace_back());
    finish();
    for (const int64_t count : counts) begins.push_back(begins.back() + count);
    std::vector<char> all(static_cast<size_t>(begins.back()));
    std::copy(own.begin(), own.end(), all.begin() + begins[static_cast<size_t>(rank_)]);
    all_gather(std::as_writable_bytes(std::span(all)), begins);
    return all;
  }

 private:
  void reduce_all(void* values, size_t count, size_t size, MPI_Datatype type, MPI_Op op) {
    for (size_t done = 0; done < count; done += most_at_once)
      MPI_Iallreduce(MPI_IN_PLACE, static_cast<char*>(values) + done * size,
                     static_cast<int>(std::min(most_at_once, count - done)), type, op, MPI_COMM_WORLD,
                     &requests_.emplace_back());
    finish();
  }
  // Waits for what was started, without taking a processor's time from the caller.
  void finish() {
    for (;;) {
      int done = 0;
      MPI_Testall(static_cast<int>(requests_.size()), requests_.data(), &done, MPI_STATUSES_IGNORE);
      if (done) break;
      abort_where_wanted();
      if (is_waited_for()) sched_yield();
      else std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
    requests_.clear();
  }
  void abort_where_wanted() const {
    if (abort_code_ >= 0) MPI_Abort(MPI_COMM_WORLD, abort_code_);
  }
  // Calls body(begin, bytes, rank) for the part of every rank, or for pieces of it that MPI can count.
  template <class Body>
  void each_part(std::span<std::byte> values, std::span<const int64_t> begins, size_t size, const Body& body) const {
    char* const all = reinterpret_cast<char*>(values.data());
    for (int rank = 0; rank < size_; ++rank) {
      const auto at = static_cast<size_t>(rank);
      const size_t end = static_cast<size_t>(begins[at + 1]) * size;
      for (size_t begin = static_cast<size_t>(begins[at]) * size, count; begin < end; begin += count)
        body(all + begin, static_cast<int>(count = std::min(most_at_once, end - begin)), rank);
    }
  }
  // Exchanges the parts, of which this rank's becomes their sum.
  void reduce_by_tree(std::span<float> values, std::span<const int64_t> begins) {
    const auto own = static_cast<size_t>(rank_);
    const std::span<float> part = values.subspan(static_cast<size_t>(begins[own]),
                                                 static_cast<size_t>(begins[own + 1] - begins[own]));
    std::vector<float> received(part.size() * static_cast<size_t>(size_));
    const std::vector<int64_t> rows = begins_of_shares(std::ssize(received));
    each_part(std::as_writable_bytes(std::span(received)), rows, sizeof(float), [&](char* row, int count, int rank) {
      if (rank == rank_) return;
      MPI_Irecv(row, count, MPI_BYTE, rank, 0, MPI_COMM_WORLD, &requests_.emplace_back());
    });
    each_part(std::as_writable_bytes(values), begins, sizeof(float), [&](char* data, int count, int rank) {
      if (rank == rank_) return;
      MPI_Isend(data, count, MPI_BYTE, rank, 0, MPI_COMM_WORLD, &requests_.emplace_back());
    });
    finish();
    TreeSums sums(part.size());
    for (int rank = 0; rank < size_; ++rank)
      sums.add(rank, rank == rank_ ? part
                                   : std::span(received).subspan(static_cast<size_t>(rank) * part.size(), part.size()));
    std::copy(sums.values().begin(), sums.values().end(), part.begin());
  }

  std::vector<MPI_Request> requests_;
  std::atomic<int> abort_code_ = -1;
};

}  // namespace

bool has_mpi() { return true; }
std::unique_ptr<Communicator> make_mpi_communicator() { return std::make_unique<MpiCommunicator>(); }

#else

bool has_mpi() { return false; }
std::unique_ptr<Communicator> make_mpi_communicator() { return nullptr; }

#endif

}  // namespace engine
