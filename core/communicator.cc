#include "core/communicator.h"

#include <cstdlib>
#include <sstream>

#include "core/error.h"
#include "core/mpi_communicator.h"
#include "core/socket_communicator.h"

namespace engine {

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

std::unique_ptr<Communicator> make_communicator() {
  const int count = mpirun_size(own_environment());
  if (count > 1 && !has_mpi())
    fail_usage("started as one of ", count, " ranks by mpirun, but this build has no MPI: `make deps`, then `make`");
  if (count <= 1) return make_without_mpi();
  std::unique_ptr<Communicator> ranks = make_mpi_communicator();
  // That of another MPI than the build's starts processes which know nothing of one another.
  if (ranks->size() != count)
    fail_usage("mpirun started ", count, " ranks, but MPI knows ", ranks->size(), ": is this mpirun that of the MPI ",
               "which the engine was built with?");
  return ranks;
}

}  // namespace engine
