// Picks the CPU backend for the processor that the program runs on.
#include "kernels/backend/backend.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iostream>
#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#endif

#include "core/error.h"
#include "core/parallel.h"
#include "kernels/backend/timed_backend.h"
#include "kernels/cpu/bf16_unit.h"
#include "kernels/observe/check_ops.h"
#if defined(ENGINE_SIM) || defined(ENGINE_CUDA)
#include "core/cuda/nccl_communicator.h"
#include "kernels/backend/cuda_backend.h"
#endif

namespace engine {

namespace generic {
std::unique_ptr<Ops> make_ops(const Bf16Unit* unit);
}
#if defined(__x86_64__)
namespace avx2 {
std::unique_ptr<Ops> make_ops(const Bf16Unit* unit);
}
namespace avx512 {
std::unique_ptr<Ops> make_ops(const Bf16Unit* unit);
}
namespace avx512_bf16 {
const Bf16Unit& bf16_unit();
}
namespace amx {
const Bf16Unit& bf16_unit();
}

namespace {

// Tells whether the processor has dot products of bf16 in vectors, and whether it has tile registers for them that this
// process may use.
struct Bf16Features {
  bool dots = false, tiles = false;

  Bf16Features() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    constexpr unsigned amx_bf16 = 1u << 22, amx_tile = 1u << 24, avx512_bf16 = 1u << 5;
    dots = __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & avx512_bf16);
    const bool present = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & amx_bf16) && (d & amx_tile);
    // The system must allow a process to keep tile registers: arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA).
    tiles = dots && present && syscall(SYS_arch_prctl, 0x1023, 18) == 0;
  }
};

}  // namespace
#endif

std::vector<std::string> cpu_instruction_sets() {
  std::vector<std::string> sets{"generic"};
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !__builtin_cpu_supports("bmi2")) return sets;
  sets.push_back("avx2");
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl"))
    sets.push_back("avx512");
  if (sets.back() != "avx512") return sets;
  static const Bf16Features bf16;
  // Intel's processors take twice as long for these dot products as for f32, so they serve beside tile registers alone.
  if (bf16.dots && (bf16.tiles || !__builtin_cpu_is("intel"))) sets.push_back("avx512_bf16");
  if (bf16.tiles) sets.push_back("amx");
#endif
  return sets;
}

std::string cpu_instruction_set() { return cpu_instruction_sets().back(); }

std::unique_ptr<Ops> make_cpu_ops(const std::string& instruction_set) {
#if defined(__x86_64__)
  if (instruction_set == "amx") return avx512::make_ops(&amx::bf16_unit());
  if (instruction_set == "avx512_bf16") return avx512::make_ops(&avx512_bf16::bf16_unit());
  if (instruction_set == "avx512") return avx512::make_ops(nullptr);
  if (instruction_set == "avx2") return avx2::make_ops(nullptr);
#endif
  if (instruction_set == "generic") return generic::make_ops(nullptr);
  fail("no CPU backend for the instruction set ", instruction_set, ": generic, avx2, avx512, avx512_bf16 or amx");
}

bool cpu_computes_in_bf16() {
  const std::string set = cpu_instruction_set();
  return set == "avx512_bf16" || set == "amx";
}

std::vector<std::string> devices() {
#if defined(ENGINE_SIM)
  return {"cpu", "sim"};
#elif defined(ENGINE_CUDA)
  static const std::string problem = cuda::find_device().problem;
  if (problem.empty()) return {"cpu", "cuda"};
#endif
  return {"cpu"};
}

std::string auto_device() {
  const std::vector<std::string> names = devices();
  return std::find(names.begin(), names.end(), "cuda") != names.end() ? "cuda" : "cpu";
}

namespace {

void check_choice(const char* name, const std::string& value, const std::vector<std::string>& choices) {
  if (std::find(choices.begin(), choices.end(), value) != choices.end()) return;
  std::string known;
  for (const std::string& choice : choices) known += (known.empty() ? "" : ", ") + choice;
  fail_usage(name, " = \"", value, "\" is not known: ", known);
}

// Makes the CPU backend. Options that only a GPU has are a UsageError.
std::unique_ptr<Ops> cpu_ops_with(const DeviceOptions& options) {
  const auto refuse = [](const char* name, const std::string& value, const char* otherwise) {
    fail_usage(name, " = \"", value, "\" needs device = \"cuda\", and this runs on the CPU: set ", name, " = \"",
               otherwise, "\"");
  };
  if (options.attention == "cudnn") refuse("attention", options.attention, "auto");
  if (options.matmul == "cublaslt") refuse("matmul", options.matmul, "auto");
  return make_cpu_ops();
}

// Makes the GPU's backend where it can be used, else, with a notice if there is a GPU, the CPU's.
std::unique_ptr<Ops> make_auto_ops(const DeviceOptions& options) {
#if defined(ENGINE_CUDA)
  const cuda::Presence found = cuda::find_device();
  std::string problem = found.problem;
  try {
    if (problem.empty()) return cuda::make_cuda_ops(options);
  } catch (const UsageError&) {
    throw;
  } catch (const Error& error) {  // too little memory shows only here
    problem = error.what();
  }
  if (found.exists) std::cerr << "note: running on the CPU: " << problem << "\n";
#endif
  return cpu_ops_with(options);
}

}  // namespace

std::unique_ptr<Ops> make_ops(const std::string& device, const DeviceOptions& options) {
  check_choice("attention", options.attention, {"auto", "own", "cudnn"});
  check_choice("matmul", options.matmul, {"auto", "own", "cublaslt"});
  if (device == "cpu") return cpu_ops_with(options);
  if (device == "auto") return make_auto_ops(options);
  if (device == "check") {
    const std::vector<std::string> names = devices();
    if (names.size() < 2) fail_usage("device \"check\" compares two devices, but here is only ", names[0]);
    return make_check_ops(make_cpu_ops(), make_ops(names[1], options));
  }
#if defined(ENGINE_SIM)
  if (device == "sim") return cuda::make_cuda_ops(options);
#elif defined(ENGINE_CUDA)
  if (device == "cuda") return cuda::make_cuda_ops(options);  // throws an Error that says why there is none
#endif
  std::string known = "auto";
  for (const std::string& name : devices()) known += ", " + name;
  fail_usage("device \"", device, "\" is not here: ", known);
}

std::unique_ptr<Stopwatch> stopwatch_of([[maybe_unused]] Ops& ops) {
#if defined(ENGINE_SIM) || defined(ENGINE_CUDA)
  if (&ops.memory() != &host_memory()) return cuda::make_stopwatch(ops.memory());
#endif
  return make_host_stopwatch();
}

std::unique_ptr<TimeOps> make_timed_ops(const std::string& device, const DeviceOptions& options) {
  std::unique_ptr<Ops> ops = make_ops(device, options);
  std::unique_ptr<Stopwatch> stopwatch = stopwatch_of(*ops);
  return make_time_ops(std::move(ops), std::move(stopwatch));
}

int gpu_count() {
#if defined(ENGINE_SIM) || defined(ENGINE_CUDA)
  return cuda::device_count();
#else
  return 0;
#endif
}

// Slurm may let each process see one GPU alone, which is number 0.
int gpu_of_rank(const Communicator& ranks) { return gpu_count() > 0 ? ranks.local_rank() % gpu_count() : 0; }

std::unique_ptr<Communicator> make_device_communicator(Ops& ops, Communicator& ranks, [[maybe_unused]] double timeout,
                                                       [[maybe_unused]] size_t bucket) {
  if (ranks.size() == 1) return nullptr;
  const std::string own = &ops.memory() == &host_memory() ? "the CPU" : "a GPU";
  const std::vector<std::string> all = ranks.gather(std::vector<std::string>{own});
  for (size_t rank = 1; rank < all.size(); ++rank)
    if (all[rank] != all[0])
      fail("rank ", rank, " computes on ", all[rank], ", and rank 0 on ", all[0],
           ": set device = \"cuda\" or device = \"cpu\"");
#if defined(ENGINE_SIM) || defined(ENGINE_CUDA)
  if (&ops.memory() != &host_memory())
    return cuda::make_nccl_communicator(
        ops.memory(), ranks,
        {.timeout = timeout, .bucket_bytes = bucket, .spans_machines = ranks.local_size() != ranks.size()});
#endif
  return nullptr;
}

DType compute_precision(const std::string& precision, const std::string& device) {
  if (precision == "f32") return DType::f32;
  if (precision == "bf16") return DType::bf16;
  if (precision != "auto") fail_usage("precision \"", precision, "\" is not known: auto, f32 or bf16");
  const bool has_units = device == "cuda" || device == "sim" || (device == "auto" && auto_device() == "cuda");
  return has_units || cpu_computes_in_bf16() ? DType::bf16 : DType::f32;
}

namespace {

std::string processor_name() {
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);)
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  return "processor";
}

// Says how several ranks of this machine compute.
std::string ranks_text() {
#if defined(ENGINE_SIM) || defined(ENGINE_CUDA)
  if (const cuda::Presence found = cuda::find_device(); found.problem.empty()) {
    const int count = cuda::device_count();
    const std::string problem = cuda::nccl_problem();
    if (!problem.empty()) return detail::joined("on the CPU: ", problem, ", and ranks on several GPUs need it");
    return detail::joined(count == 1 ? "one" : "up to " + std::to_string(count),
                          " on this machine, rank r on GPU r; ", cuda::nccl_description());
  }
#endif
  return "on the CPU";
}

std::string cuda_text() {
#if defined(ENGINE_SIM) || defined(ENGINE_CUDA)
  const cuda::Presence found = cuda::find_device();
  if (!found.problem.empty()) return found.problem;
  std::string text = cuda::describe_device(0);
  for (int gpu = 1; gpu < cuda::device_count(); ++gpu)
    text.append("\nGPU ").append(std::to_string(gpu)).append(": ").append(cuda::describe_device(gpu));
  return text + "\n" + cuda::matrix_products_description() + "\n" + cuda::cudnn_description();
#else
  return "not in this build";
#endif
}

}  // namespace

void print_info(std::ostream& out) {
  const double memory = static_cast<double>(host_memory().capacity()) / (1 << 30);
  out << "cpu: " << processor_name() << ", " << thread_count() << " threads, " << memory << " GiB\n"
      << "instruction set: " << cpu_instruction_set()
      << "\nprecision auto: " << name_of(compute_precision("auto", "auto")) << "\n"
      << "device auto: " << auto_device() << "\nCUDA: " << cuda_text() << "\nseveral ranks: " << ranks_text()
      << "\nMPI: " << (has_mpi() ? "yes" : "not in this build") << "\nSentencePiece: not in this build\n";
}

std::unique_ptr<Ops> make_cpu_ops() { return make_cpu_ops(cpu_instruction_set()); }

}  // namespace engine
