// The communicator of ranks that mpirun started. Its exchanges are those of MPI that do not block. A thread asks for
// them again and again, for MPI goes on with an exchange only when it is called: they would all wait for the end of the
// backward pass otherwise. It sleeps in between while the caller computes, so that it costs next to no time.
#pragma once

#include <memory>

#include "core/communicator.h"

namespace engine {

// Returns nothing in a build without MPI.
std::unique_ptr<Communicator> make_mpi_communicator();

}  // namespace engine
