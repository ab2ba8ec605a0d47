#include "core/rank_place.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <iterator>

#include "core/error.h"

namespace engine {

namespace {

int number_of(const Environment& environment, const char* name, int least, int most) {
  const char* const text = environment(name);
  if (!text) fail_usage("the environment has no ", name, ", but says that this is one of several ranks");
  int value = 0;
  const char* const end = text + std::strlen(text);
  const auto [at, error] = std::from_chars(text, end, value);
  if (error != std::errc() || at != end || value < least || value > most)
    fail_usage("the environment's ", name, " is \"", text, "\": a whole number from ", least, " to ", most,
               " is right");
  return value;
}

RankPlace from_torchrun(const Environment& environment) {
  RankPlace place;
  if (!environment("WORLD_SIZE"))
    fail_usage("the environment has RANK = ", environment("RANK"), " and no WORLD_SIZE: set both, or unset RANK");
  place.size = number_of(environment, "WORLD_SIZE", 1, 1 << 20);
  if (place.size == 1) return place;
  place.rank = number_of(environment, "RANK", 0, place.size - 1);
  if (!environment("MASTER_ADDR"))
    fail_usage("the environment has no MASTER_ADDR, but says that this is one of several ranks");
  place.host = environment("MASTER_ADDR");
  place.port = number_of(environment, "MASTER_PORT", 1, 65535);
  place.port_is_taken = environment("TORCHELASTIC_RUN_ID") != nullptr;
  place.job = "port " + std::to_string(place.port);
  if (place.port_is_taken) place.job.append(", run ").append(environment("TORCHELASTIC_RUN_ID"));
  return place;
}

RankPlace from_slurm(const Environment& environment) {
  RankPlace place;
  // The tasks of a step may be fewer than those of its job.
  const bool knows_step = environment("SLURM_STEP_NUM_TASKS") != nullptr;
  place.size = number_of(environment, knows_step ? "SLURM_STEP_NUM_TASKS" : "SLURM_NTASKS", 1, 1 << 20);
  if (place.size == 1) return place;
  place.rank = number_of(environment, "SLURM_PROCID", 0, place.size - 1);
  const char* const host = environment("MASTER_ADDR");
  const char* const nodes = environment("SLURM_STEP_NODELIST") ? environment("SLURM_STEP_NODELIST")
                                                               : environment("SLURM_NODELIST");
  if (!host && !nodes) fail_usage("the environment has neither SLURM_STEP_NODELIST nor MASTER_ADDR");
  place.host = host ? host : first_host(nodes);
  // Steps of two jobs on one node should not meet.
  const int job = number_of(environment, "SLURM_JOB_ID", 0, INT32_MAX);
  place.port = environment("MASTER_PORT") ? number_of(environment, "MASTER_PORT", 1, 65535) : 20000 + job % 30000;
  place.job = "job " + std::to_string(job);
  place.job.append(", step ").append(environment("SLURM_STEP_ID"));
  return place;
}

}  // namespace

bool was_started_by_mpirun(const Environment& environment) {
  return std::any_of(std::begin(mpirun_variables), std::end(mpirun_variables),
                     [&](const MpirunVariable& variable) { return environment(variable.name) != nullptr; });
}

int mpirun_size(const Environment& environment) {
  for (const MpirunVariable& variable : mpirun_variables)
    if (const char* const text = variable.is_size ? environment(variable.name) : nullptr) return std::atoi(text);
  return 1;
}

Environment own_environment() {
  return [](const char* name) -> const char* { return std::getenv(name); };
}

std::string first_host(const std::string& list) {
  std::string host;
  for (size_t at = 0; at < list.size() && list[at] != ',';) {
    const size_t end = list[at] == '[' ? list.find(']', at) : at;
    if (end == std::string::npos) fail_usage("the list of nodes \"", list, "\" has a [ without a ]");
    if (list[at] == '[') host += list.substr(at + 1, list.find_first_of(",-]", at) - at - 1);
    else host += list[at];
    at = end + 1;
  }
  if (host.empty()) fail_usage("the list of nodes \"", list, "\" names no host");
  return host;
}

RankPlace rank_place(const Environment& environment) {
  if (environment("RANK") || environment("WORLD_SIZE")) return from_torchrun(environment);
  // A shell of salloc or sbatch has SLURM_NTASKS, but is no task of a step.
  if (environment("SLURM_STEP_ID") && environment("SLURM_PROCID") && environment("SLURM_NTASKS"))
    return from_slurm(environment);
  return {};
}

}  // namespace engine
