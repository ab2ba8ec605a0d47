// A RankPlace says which of several processes this one is, as the program that started them tells it by the
// environment: torchrun and `engine --ranks N` by RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT, Slurm's srun by
// SLURM_PROCID, SLURM_NTASKS and the list of its nodes.
#pragma once

#include <functional>
#include <string>

namespace engine {

struct RankPlace {
  int rank = 0, size = 1;
  std::string host;  // where rank 0 is
  int port = 0;      // where it listens, or soon behind
  // A process that is no rank listens at the port itself, as torchrun's agent does.
  bool port_is_taken = false;
  std::string job;  // tells this job's processes from those of others, which may meet at a port
};

// Returns a variable's value, or null.
using Environment = std::function<const char*(const char*)>;

// Throws an Error where variables are missing or make no sense. A process that was started alone is rank 0 of 1.
RankPlace rank_place(const Environment& environment);

// Open MPI's and MPICH's mpirun set some of these for the processes that they start. Some tell the number of ranks.
struct MpirunVariable {
  const char* name;
  bool is_size;
};
inline constexpr MpirunVariable mpirun_variables[] = {
    {"OMPI_COMM_WORLD_SIZE", true}, {"PMI_SIZE", true}, {"PMI_RANK", false}, {"PMIX_RANK", false}};

// Returns whether mpirun started this process.
bool was_started_by_mpirun(const Environment& environment);
// Returns how many ranks mpirun started, or 1 where it did not start this process or does not tell.
int mpirun_size(const Environment& environment);

// Returns the environment of this process.
Environment own_environment();

// Returns the first host of a list as Slurm writes it: "node[007-012,020],other" has
// "node007".
std::string first_host(const std::string& list);

}  // namespace engine
