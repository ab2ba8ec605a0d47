// Ranks: the processes that `mpirun -np W ./engine ...` starts together, each with the whole model and its share of the
// work. Without mpirun, or in a build without MPI, there is one. What is said to be of all ranks must be called by all
// of them in the same order.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace engine {

// For main, first and last. An error where mpirun started a build without MPI.
void begin_ranks();
void end_ranks();
// Ends all ranks at once, with this exit code: the others would wait for one that failed. One rank alone returns.
void abort_ranks(int code);

bool has_mpi();  // this build
int rank();  // 0 ... rank_count()-1
int rank_count();
// The one that writes files and speaks to the user.
inline bool is_first_rank() { return rank() == 0; }
// How many of the ranks run on this machine.
int ranks_here();

// This rank's part of `count` things, begin and end: the parts lie in the ranks' order and differ by at most one thing.
std::pair<int64_t, int64_t> share_of_rank(int64_t count);

// Of all ranks. Each element's sum over the ranks, the same bits on each of them.
void sum_over_ranks(std::span<float> values);
void sum_over_ranks(std::span<double> values);
// Of all ranks. The bits that any of them has.
void or_over_ranks(std::span<uint8_t> values);
// Of all ranks. Their elements, those of rank 0 first.
std::vector<float> gather_over_ranks(const std::vector<float>& own);
std::vector<int32_t> gather_over_ranks(const std::vector<int32_t>& own);
std::vector<std::string> gather_over_ranks(const std::vector<std::string>& own);

}  // namespace engine
