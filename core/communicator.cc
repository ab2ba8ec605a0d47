#include "core/communicator.h"

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <sstream>

#include "core/error.h"
#include "core/socket_communicator.h"
#include "core/tree_sum.h"

#ifdef ENGINE_MPI
#define OMPI_SKIP_MPICXX  // the C++ bindings, which the standard has dropped
#define MPICH_SKIP_MPICXX
#include <mpi.h>
#endif

namespace engine {

namespace {

#ifdef ENGINE_MPI

// MPI counts elements by int.
constexpr size_t most_at_once = size_t{1} << 30;

class MpiCommunicator final : public Communicator {
 public:
  using Communicator::gather;

  MpiCommunicator() {
    int level = 0;
    MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &level);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
    MPI_Comm_size(MPI_COMM_WORLD, &size_);
    MPI_Comm here;
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &here);
    MPI_Comm_rank(here, &local_rank_);
    MPI_Comm_size(here, &local_size_);
    MPI_Comm_free(&here);
  }
  ~MpiCommunicator() override { MPI_Finalize(); }

  void sum(std::span<float> values) override {
    start(values.data(), values.size(), sizeof(float), MPI_FLOAT, MPI_SUM);
    wait();
  }
  void sum(std::span<double> values) override {
    start(values.data(), values.size(), sizeof(double), MPI_DOUBLE, MPI_SUM);
    wait();
  }
  void start_sum(std::span<float> values, SumOrder order) override {
    if (order == SumOrder::fastest) return start(values.data(), values.size(), sizeof(float), MPI_FLOAT, MPI_SUM);
    const std::vector<int64_t> begins = begins_of_shares(std::ssize(values));
    start_tree(values, begins);
    then_.push_back([this, values, begins] {
      each_part(std::as_writable_bytes(values), begins, sizeof(float),
                [&](char* part, int count, int root) { start_broadcast(part, count, root); });
    });
  }
  void start_or(std::span<uint8_t> values) override { start(values.data(), values.size(), 1, MPI_BYTE, MPI_BOR); }
  void start_reduce_scatter(std::span<float> values, std::span<const int64_t> begins, SumOrder order) override {
    if (order == SumOrder::tree) return start_tree(values, begins);
    each_part(std::as_writable_bytes(values), begins, sizeof(float), [&](char* part, int count, int root) {
      MPI_Ireduce(root == rank_ ? MPI_IN_PLACE : part, root == rank_ ? part : nullptr,
                  count / static_cast<int>(sizeof(float)), MPI_FLOAT, MPI_SUM, root, MPI_COMM_WORLD,
                  &requests_.emplace_back());
    });
  }
  void start_all_gather(std::span<std::byte> values, std::span<const int64_t> begins) override {
    each_part(values, begins, 1, [&](char* part, int count, int root) { start_broadcast(part, count, root); });
  }
  void wait() override {
    wait_for_requests();
    for (const std::function<void()>& next : then_) next();
    then_.clear();
    wait_for_requests();
  }

  std::vector<float> gather(const std::vector<float>& own) override { return gather_all(own, MPI_FLOAT); }
  std::vector<int32_t> gather(const std::vector<int32_t>& own) override { return gather_all(own, MPI_INT32_T); }
  std::vector<char> gather(const std::vector<char>& own) override { return gather_all(own, MPI_CHAR); }

  void abort(int code) override { MPI_Abort(MPI_COMM_WORLD, code); }

 private:
  void start(void* values, size_t count, size_t size, MPI_Datatype type, MPI_Op op) {
    for (size_t done = 0; done < count; done += most_at_once)
      MPI_Iallreduce(MPI_IN_PLACE, static_cast<char*>(values) + done * size,
                     static_cast<int>(std::min(most_at_once, count - done)), type, op, MPI_COMM_WORLD,
                     &requests_.emplace_back());
  }
  void start_broadcast(char* part, int count, int root) {
    MPI_Ibcast(part, count, MPI_BYTE, root, MPI_COMM_WORLD, &requests_.emplace_back());
  }
  void wait_for_requests() {
    MPI_Waitall(static_cast<int>(requests_.size()), requests_.data(), MPI_STATUSES_IGNORE);
    requests_.clear();
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
  // Starts to exchange the parts. Once all are there, this rank's part becomes their sum.
  void start_tree(std::span<float> values, std::span<const int64_t> begins) {
    require_tree();
    const auto own = static_cast<size_t>(rank_);
    const std::span<float> part = values.subspan(static_cast<size_t>(begins[own]),
                                                 static_cast<size_t>(begins[own + 1] - begins[own]));
    const auto received = std::make_shared<std::vector<float>>(part.size() * static_cast<size_t>(size_));
    const std::vector<int64_t> rows = begins_of_shares(std::ssize(*received));
    each_part(std::as_writable_bytes(std::span(*received)), rows, sizeof(float), [&](char* row, int count, int rank) {
      if (rank == rank_) return;
      MPI_Irecv(row, count, MPI_BYTE, rank, 0, MPI_COMM_WORLD, &requests_.emplace_back());
    });
    each_part(std::as_writable_bytes(values), begins, sizeof(float), [&](char* data, int count, int rank) {
      if (rank == rank_) return;
      MPI_Isend(data, count, MPI_BYTE, rank, 0, MPI_COMM_WORLD, &requests_.emplace_back());
    });
    then_.push_back([this, part, received] {
      TreeSums sums(part.size());
      for (int rank = 0; rank < size_; ++rank)
        sums.add(rank, rank == rank_ ? part
                                     : std::span(*received).subspan(static_cast<size_t>(rank) * part.size(),
                                                                    part.size()));
      std::copy(sums.values().begin(), sums.values().end(), part.begin());
    });
  }

  template <class T>
  std::vector<T> gather_all(const std::vector<T>& own, MPI_Datatype type) const {
    const int count = static_cast<int>(own.size());
    std::vector<int> counts(static_cast<size_t>(size_)), begins;
    MPI_Allgather(&count, 1, MPI_INT, counts.data(), 1, MPI_INT, MPI_COMM_WORLD);
    int total = 0;
    for (const int one : counts) {
      begins.push_back(total);
      total += one;
    }
    std::vector<T> all(static_cast<size_t>(total));
    MPI_Allgatherv(own.data(), count, type, all.data(), counts.data(), begins.data(), type, MPI_COMM_WORLD);
    return all;
  }

  std::vector<MPI_Request> requests_;
  std::vector<std::function<void()>> then_;  // what wait() does once the requests are done
};

#endif

}  // namespace

void Communicator::require_tree() const {
  require((size_ & (size_ - 1)) == 0, "a sum by a tree over ", size_, " ranks, which are no power of two");
}

std::vector<std::string> Communicator::gather(const std::vector<std::string>& own) {
  std::vector<int32_t> lengths;
  std::vector<char> text;
  for (const std::string& one : own) {
    lengths.push_back(static_cast<int32_t>(one.size()));
    text.insert(text.end(), one.begin(), one.end());
  }
  const std::vector<char> all = gather(text);
  std::vector<std::string> texts;
  size_t begin = 0;
  for (const int32_t length : gather(lengths)) {
    texts.emplace_back(all.data() + begin, static_cast<size_t>(length));
    begin += static_cast<size_t>(length);
  }
  return texts;
}

namespace {

// The ranks of a job may be started minutes apart.
double start_seconds() {
  const char* const text = std::getenv("ENGINE_START_TIMEOUT");
  if (!text) return 300;
  char* end = nullptr;
  const double seconds = std::strtod(text, &end);
  if (*end != 0 || !(seconds > 0))
    fail_usage("the environment's ENGINE_START_TIMEOUT is \"", text, "\": seconds are right");
  return seconds;
}

std::unique_ptr<Communicator> make_without_mpi() {
  const RankPlace place = rank_place(own_environment());
  if (place.size <= 1) return std::make_unique<Communicator>();
  return make_socket_communicator(place, start_seconds());
}

}  // namespace

void require_same_on_all_ranks(Communicator& ranks, const std::string& what, const std::string& text) {
  const std::vector<std::string> all = ranks.gather(std::vector<std::string>{text});
  for (size_t rank = 1; rank < all.size(); ++rank) {
    if (all[rank] == all[0]) continue;
    std::istringstream first(all[0]), other(all[rank]);
    std::string of_first, of_other;
    do {
      of_first = of_other = "nothing";
      std::getline(first, of_first);
      std::getline(other, of_other);
    } while (of_first == of_other && (first || other));
    fail("rank ", rank, " has another ", what, " than rank 0: ", of_other, " in place of ", of_first);
  }
}

#ifdef ENGINE_MPI
bool has_mpi() { return true; }

std::unique_ptr<Communicator> make_communicator() {
  if (mpirun_size(own_environment()) > 1) return std::make_unique<MpiCommunicator>();
  return make_without_mpi();
}
#else
bool has_mpi() { return false; }

std::unique_ptr<Communicator> make_communicator() {
  if (const int count = mpirun_size(own_environment()); count > 1)
    fail_usage("started as one of ", count,
               " ranks by mpirun, but this build has no MPI: `make deps`, then `make`");
  return make_without_mpi();
}
#endif

}  // namespace engine
