// Lists the backends of this build and the devices of the machine, and makes a backend for a device.
#pragma once

#include <iosfwd>
#include <memory>
#include <string>
#include <vector>

#include "core/communicator.h"
#include "kernels/backend/device_options.h"
#include "kernels/ops.h"

namespace engine {

// Returns the instruction sets that this processor runs, each better than the one before: generic, avx2, avx512,
// avx512_bf16 (avx512 with dot products of bf16) and amx (avx512 with tile registers for bf16). cpu_instruction_set
// returns the best of them.
std::vector<std::string> cpu_instruction_sets();
std::string cpu_instruction_set();
// Makes a CPU backend for one of these, which the processor must have.
std::unique_ptr<Ops> make_cpu_ops(const std::string& instruction_set);
// Tells whether the CPU has instructions for products of bf16 that are faster than those of f32.
bool cpu_computes_in_bf16();

// Returns the devices that the option `device` may name, cpu first: those that this build knows and this machine has.
std::vector<std::string> devices();
// Returns the device that auto stands for: cuda where there is a GPU that can be used, else cpu.
std::string auto_device();
// Makes the backend that the option `device` names: auto, one of devices(), or check. With check every operation runs
// on the CPU and on the other device, and the first that differs is an error. An Error says what is missing. Options
// that only a GPU has are a UsageError elsewhere.
std::unique_ptr<Ops> make_ops(const std::string& device, const DeviceOptions& options = {});
// Returns how many GPUs this process sees.
int gpu_count();
// Returns the number of this rank's GPU, that of its place among the ranks of its machine.
int gpu_of_rank(const Communicator& ranks);
// Makes the communicator of ranks that compute on GPUs (core/cuda/nccl_communicator.h). `ops` is this rank's backend.
// The time limit is in seconds, a bucket's size in bytes. Returns null where there is one rank, or all compute on the
// CPU. An Error, the same on all ranks, says that they differ in that, or that two have one GPU.
std::unique_ptr<Communicator> make_device_communicator(Ops& ops, Communicator& ranks, double timeout, size_t bucket);
// Returns f32 or bf16, as the option `precision` says. auto is bf16 where the device has instructions for it.
DType compute_precision(const std::string& precision, const std::string& device);

// Prints devices, instruction sets, libraries (also those that this build lacks) and the chosen precision, a line each.
void print_info(std::ostream& out);

}  // namespace engine
