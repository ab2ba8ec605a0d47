// The backends of this build, what the machine has, and what is chosen by itself.
#pragma once

#include <iosfwd>
#include <memory>
#include <string>
#include <vector>

#include "kernels/backend/device_options.h"
#include "kernels/ops.h"

namespace engine {

// Those of generic, avx2 and avx512 that this processor runs, each better than the one before; and the best of them.
std::vector<std::string> cpu_instruction_sets();
std::string cpu_instruction_set();
// A CPU backend for one of these, which the processor must have.
std::unique_ptr<Ops> make_cpu_ops(const std::string& instruction_set);
// Whether the CPU backend has matrix units for bf16 here (AMX), so that bf16 products are the faster ones.
bool cpu_has_bf16_matrix_units();

// The devices that the option `device` may name here, cpu first: those that this build knows and this machine has.
std::vector<std::string> devices();
// What auto is here: cuda where there is a GPU that can be used, else cpu.
std::string auto_device();
// The backend that the option `device` names: auto, one of devices(), or check: every operation runs on the CPU and on
// the other device, and the first that differs is an error. An error says what is missing; options that only a GPU has
// are a UsageError elsewhere.
std::unique_ptr<Ops> make_ops(const std::string& device, const DeviceOptions& options = {});
// f32 or bf16, as the option `precision` says; auto: bf16 where the device has matrix units for it.
DType compute_precision(const std::string& precision, const std::string& device);

// Devices, instruction sets, libraries (those that this build lacks too) and the precision chosen, a line each.
void print_info(std::ostream& out);

}  // namespace engine
