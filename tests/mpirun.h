// How tests start ranks by mpirun.
#pragma once

#include <cstdlib>
#include <string>

#include "core/communicator.h"

namespace engine::test {

inline const std::string mpi_environment =
    "env OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_btl_vader_single_copy_mechanism=none "
    "ASAN_OPTIONS=detect_leaks=0 ";  // Open MPI leaves some memory behind
inline const std::string mpirun = "mpirun --oversubscribe --bind-to none -np ";

// Says why several ranks cannot be tested here, or returns null. Some containers do not let mpirun start processes.
inline const char* why_no_ranks() {
  if (!has_mpi()) return "this build has no MPI";
  static const bool can = std::system((mpi_environment + mpirun + "2 true > /dev/null 2>&1 < /dev/null").c_str()) == 0;
  return can ? nullptr : "mpirun does not work here";
}

}  // namespace engine::test
