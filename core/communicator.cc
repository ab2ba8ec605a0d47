#include "core/communicator.h"

#include <algorithm>
#include <cstdlib>
#include <sstream>

#include "core/error.h"
#include "core/socket_communicator.h"

#ifdef ENGINE_MPI
#define OMPI_SKIP_MPICXX  // the C++ bindings, which the standard has dropped
#define MPICH_SKIP_MPICXX
#include <mpi.h>
#endif

namespace engine {

namespace {

// mpirun (Open MPI's, MPICH's) tells it to the processes that it starts; 1 where it did not start this one.
int size_from_environment() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"})
    if (const char* text = std::getenv(name)) return std::atoi(text);
  return 1;
}

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
  void start_sum(std::span<float> values) override {
    start(values.data(), values.size(), sizeof(float), MPI_FLOAT, MPI_SUM);
  }
  void start_or(std::span<uint8_t> values) override { start(values.data(), values.size(), 1, MPI_BYTE, MPI_BOR); }
  void wait() override {
    MPI_Waitall(static_cast<int>(requests_.size()), requests_.data(), MPI_STATUSES_IGNORE);
    requests_.clear();
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
};

#endif

}  // namespace

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
  const RankPlace place = rank_place([](const char* name) -> const char* { return std::getenv(name); });
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
  if (size_from_environment() > 1) return std::make_unique<MpiCommunicator>();
  return make_without_mpi();
}
#else
bool has_mpi() { return false; }

std::unique_ptr<Communicator> make_communicator() {
  if (const int count = size_from_environment(); count > 1)
    fail_usage("started as one of ", count,
               " ranks by mpirun, but this build has no MPI: `make deps`, then `make`");
  return make_without_mpi();
}
#endif

}  // namespace engine
