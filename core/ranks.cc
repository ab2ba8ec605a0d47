#include "core/ranks.h"

#include <algorithm>
#include <cstdlib>

#include "core/error.h"

#ifdef ENGINE_MPI
#define OMPI_SKIP_MPICXX  // the C++ bindings, which the standard has dropped
#define MPICH_SKIP_MPICXX
#include <mpi.h>
#endif

namespace engine {

namespace {

#ifdef ENGINE_MPI
constexpr bool built_with_mpi = true;
#else
constexpr bool built_with_mpi = false;
#endif
int own_rank = 0, all_ranks = 1, local_ranks = 1;

// What mpirun (Open MPI's, MPICH's) tells the processes that it starts; 1 where it did not start this one.
int count_from_environment() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"})
    if (const char* text = std::getenv(name)) return std::atoi(text);
  return 1;
}

}  // namespace

bool has_mpi() { return built_with_mpi; }
int rank() { return own_rank; }
int rank_count() { return all_ranks; }
int ranks_here() { return local_ranks; }

std::pair<int64_t, int64_t> share_of_rank(int64_t count) {
  return {count * own_rank / all_ranks, count * (own_rank + 1) / all_ranks};
}

#ifdef ENGINE_MPI

namespace {

// MPI counts elements by int.
constexpr size_t most_at_once = size_t{1} << 30;

void reduce(void* values, size_t count, size_t size, MPI_Datatype type, MPI_Op op) {
  if (all_ranks == 1) return;
  for (size_t done = 0; done < count; done += most_at_once)
    MPI_Allreduce(MPI_IN_PLACE, static_cast<char*>(values) + done * size,
                  static_cast<int>(std::min(most_at_once, count - done)), type, op, MPI_COMM_WORLD);
}

template <class T>
std::vector<T> gather(const std::vector<T>& own, MPI_Datatype type) {
  if (all_ranks == 1) return own;
  const int count = static_cast<int>(own.size());
  std::vector<int> counts(static_cast<size_t>(all_ranks)), begins;
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

}  // namespace

void begin_ranks() {
  if (count_from_environment() <= 1) return;
  int level = 0;
  MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &level);
  MPI_Comm_rank(MPI_COMM_WORLD, &own_rank);
  MPI_Comm_size(MPI_COMM_WORLD, &all_ranks);
  MPI_Comm here;
  MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, own_rank, MPI_INFO_NULL, &here);
  MPI_Comm_size(here, &local_ranks);
  MPI_Comm_free(&here);
}

void end_ranks() {
  if (all_ranks > 1) MPI_Finalize();
}

void abort_ranks(int code) {
  if (all_ranks > 1) MPI_Abort(MPI_COMM_WORLD, code);
}

void sum_over_ranks(std::span<float> values) {
  reduce(values.data(), values.size(), sizeof(float), MPI_FLOAT, MPI_SUM);
}
void sum_over_ranks(std::span<double> values) {
  reduce(values.data(), values.size(), sizeof(double), MPI_DOUBLE, MPI_SUM);
}
void or_over_ranks(std::span<uint8_t> values) { reduce(values.data(), values.size(), 1, MPI_BYTE, MPI_BOR); }
std::vector<float> gather_over_ranks(const std::vector<float>& own) { return gather(own, MPI_FLOAT); }
std::vector<int32_t> gather_over_ranks(const std::vector<int32_t>& own) { return gather(own, MPI_INT32_T); }

std::vector<std::string> gather_over_ranks(const std::vector<std::string>& own) {
  if (all_ranks == 1) return own;
  std::vector<int32_t> lengths;
  std::vector<char> text;
  for (const std::string& one : own) {
    lengths.push_back(static_cast<int32_t>(one.size()));
    text.insert(text.end(), one.begin(), one.end());
  }
  const std::vector<char> all = gather(text, MPI_CHAR);
  std::vector<std::string> texts;
  size_t begin = 0;
  for (const int32_t length : gather_over_ranks(lengths)) {
    texts.emplace_back(all.data() + begin, static_cast<size_t>(length));
    begin += static_cast<size_t>(length);
  }
  return texts;
}

#else

void begin_ranks() {
  if (const int count = count_from_environment(); count > 1)
    fail_usage("started as one of ", count,
               " ranks by mpirun, but this build has no MPI: `make deps`, then `make`");
}
void end_ranks() {}
void abort_ranks(int) {}
void sum_over_ranks(std::span<float>) {}
void sum_over_ranks(std::span<double>) {}
void or_over_ranks(std::span<uint8_t>) {}
std::vector<float> gather_over_ranks(const std::vector<float>& own) { return own; }
std::vector<int32_t> gather_over_ranks(const std::vector<int32_t>& own) { return own; }
std::vector<std::string> gather_over_ranks(const std::vector<std::string>& own) { return own; }

#endif

}  // namespace engine
