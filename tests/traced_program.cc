#include "tests/traced_program.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <system_error>

#include "core/error.h"

namespace engine::test {

std::string Fault::text() const {
  switch (act) {
    case Act::none: return "nothing happens";
    case Act::fail: return std::string("fails: ") + strerrorname_np(error);
    case Act::shorten: return "does half of its work";
    case Act::kill: return "is the last before a kill";
  }
  return "";
}

#ifdef __x86_64__

namespace {

// How the arguments of a call name its file.
enum class Names { path, path_at, descriptor, descriptor_5 };

struct CallKind {
  long number;
  const char* name;
  Names names;
  std::vector<int> errors;
  bool may_be_short = false;
};

const std::vector<CallKind>& call_kinds() {
  static const std::vector<CallKind> kinds{
      {SYS_openat, "openat", Names::path_at, {EACCES, EIO, EMFILE, EINTR}},
      {SYS_read, "read", Names::descriptor, {EIO, EINTR}, true},
      {SYS_write, "write", Names::descriptor, {ENOSPC, EIO, EINTR}, true},
      {SYS_close, "close", Names::descriptor, {EIO, EINTR}},
      {SYS_fsync, "fsync", Names::descriptor, {EIO, ENOSPC, EINTR}},
      {SYS_ftruncate, "ftruncate", Names::descriptor, {EIO, ENOSPC, EINTR}},
      {SYS_fchmod, "fchmod", Names::descriptor, {EPERM, EIO}},
      {SYS_flock, "flock", Names::descriptor, {ENOLCK, EINTR}},
      {SYS_getdents64, "getdents64", Names::descriptor, {EIO}},
      {SYS_mmap, "mmap", Names::descriptor_5, {ENOMEM}},
      {SYS_rename, "rename", Names::path, {ENOSPC, EIO, EACCES}},
      {SYS_renameat2, "renameat2", Names::path_at, {ENOSPC, EIO, EINVAL}},
      {SYS_mkdir, "mkdir", Names::path, {ENOSPC, EIO, EACCES}},
      {SYS_rmdir, "rmdir", Names::path, {EIO, EACCES}},
      {SYS_unlink, "unlink", Names::path, {EIO, EACCES}},
      {SYS_unlinkat, "unlinkat", Names::path_at, {EIO, EACCES}},
      {SYS_access, "access", Names::path, {EIO, EACCES}},
      {SYS_readlink, "readlink", Names::path, {EIO, EACCES}},
      {SYS_newfstatat, "newfstatat", Names::path_at, {EIO, EACCES}},
  };
  return kinds;
}

const CallKind& kind_of(long number) {
  const auto& kinds = call_kinds();
  const auto found = std::find_if(kinds.begin(), kinds.end(), [&](const CallKind& k) { return k.number == number; });
  require(found != kinds.end(), "the system call ", number, " is not traced");
  return *found;
}

// Makes the calls of call_kinds() stop for whoever traces this process. Others cost nothing.
bool install_filter() {
  std::vector<sock_filter> code{BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr))};
  for (const CallKind& kind : call_kinds()) {
    code.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(kind.number), 0, 1));
    code.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE));
  }
  code.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  const sock_fprog program{.len = static_cast<unsigned short>(code.size()), .filter = code.data()};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

std::string text_at(pid_t process, unsigned long address) {
  std::array<char, 4096> bytes{};
  // A page at a time, since what follows a text may not be mapped.
  for (size_t size = 0; size < bytes.size();) {
    const size_t count = std::min<size_t>(4096 - (address + size) % 4096, bytes.size() - size);
    iovec to{bytes.data() + size, count}, from{reinterpret_cast<void*>(address + size), count};
    if (process_vm_readv(process, &to, 1, &from, 1, 0) < 0) return "";
    if (std::memchr(bytes.data() + size, 0, count)) return bytes.data();
    size += count;
  }
  return "";
}

std::string file_of(pid_t process, unsigned long descriptor) {
  std::error_code error;
  return std::filesystem::read_symlink(
             "/proc/" + std::to_string(process) + "/fd/" + std::to_string(static_cast<int>(descriptor)), error)
      .string();
}

FileCall file_call(pid_t process, const user_regs_struct& registers) {
  const CallKind& kind = kind_of(static_cast<long>(registers.orig_rax));
  FileCall call{kind.name, ""};
  switch (kind.names) {
    case Names::path: call.path = text_at(process, registers.rdi); break;
    case Names::path_at:
      call.path = text_at(process, registers.rsi);
      if (!call.path.starts_with('/') && static_cast<int>(registers.rdi) != AT_FDCWD)
        call.path = file_of(process, registers.rdi) + "/" + call.path;
      break;
    case Names::descriptor: call.path = file_of(process, registers.rdi); break;
    case Names::descriptor_5: call.path = file_of(process, registers.r8); break;
  }
  // The names of event files hold the time.
  const std::string events = "events.out.tfevents.";
  if (const size_t at = call.path.find(events); at != std::string::npos) call.path.resize(at + events.size());
  call.creates = kind.number == SYS_openat && (registers.rdx & O_CREAT);
  return call;
}

// Lets the call that the process stands before happen as the fault says. Nothing is left to do but to let it go on.
void apply(const Fault& fault, pid_t process, user_regs_struct registers) {
  const bool is_close = registers.orig_rax == SYS_close;
  switch (fault.act) {
    case Fault::Act::none: return;
    case Fault::Act::kill: kill(process, SIGKILL); return;
    case Fault::Act::shorten: registers.rdx = std::max<unsigned long>(registers.rdx / 2, 1); break;
    case Fault::Act::fail:
      if (is_close) {  // its error comes from what is written late, and the file is closed all the same
        int status = 0;
        ptrace(PTRACE_SYSCALL, process, 0, 0);
        require(waitpid(process, &status, 0) == process && WIFSTOPPED(status), "the close of a file does not end");
        ptrace(PTRACE_GETREGS, process, 0, &registers);
      } else {
        registers.orig_rax = ~0ull;
      }
      registers.rax = static_cast<unsigned long>(-static_cast<long>(fault.error));
      break;
  }
  require(ptrace(PTRACE_SETREGS, process, 0, &registers) == 0, "cannot change a system call");
}

[[noreturn]] void become(const Program& program, const std::vector<std::string>& arguments) {
  std::vector<std::string> texts{program.path()};
  texts.insert(texts.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& text : texts) argv.push_back(text.data());
  argv.push_back(nullptr);
  const int out = open(program.file("out").c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  const int error = open(program.file("error").c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (dup2(out, 1) < 0 || dup2(error, 2) < 0 || ptrace(PTRACE_TRACEME, 0, 0, 0) != 0) _exit(126);
  raise(SIGSTOP);  // the tracer sets its options here
  if (!install_filter()) _exit(126);
  execv(argv[0], argv.data());
  _exit(127);
}

}  // namespace

std::vector<Fault> faults_of(const FileCall& call) {
  std::vector<Fault> faults;
  for (const CallKind& kind : call_kinds()) {
    if (call.name != kind.name) continue;
    for (const int error : kind.errors) faults.push_back({Fault::Act::fail, error});
    if (call.creates) faults.push_back({Fault::Act::fail, ENOSPC});
    if (kind.may_be_short) faults.push_back({Fault::Act::shorten});
  }
  faults.push_back({Fault::Act::kill});
  return faults;
}

std::string why_no_tracing() {
  const Program program;
  const TracedRun run = run_traced(program, {"--version"}, "/nowhere");
  return run.ended.code == 0 ? "" : "ptrace or seccomp is not allowed here";
}

TracedRun run_traced(const Program& program, const std::vector<std::string>& arguments, const std::string& folder,
                     const Fault& fault) {
  const pid_t child = fork();
  require(child >= 0, "cannot start a process");
  if (child == 0) become(program, arguments);
  TracedRun run;
  int status = 0;
  const auto stops = [&] {
    require(waitpid(child, &status, __WALL) == child, "cannot wait for ", program.path());
    return WIFSTOPPED(status);
  };
  const auto is_event = [&](int event) { return status >> 8 == (SIGTRAP | event << 8); };
  for (bool is_begun = false; stops(); is_begun = true) {
    int signal = 0;
    if (!is_begun) {
      ptrace(PTRACE_SETOPTIONS, child, 0, PTRACE_O_TRACESECCOMP | PTRACE_O_EXITKILL | PTRACE_O_TRACEEXEC);
    } else if (is_event(PTRACE_EVENT_SECCOMP)) {
      user_regs_struct registers{};
      require(ptrace(PTRACE_GETREGS, child, 0, &registers) == 0, "cannot read a system call");
      FileCall call = file_call(child, registers);
      // How often a name for events is looked for depends on the time.
      const bool is_search = call.name == "newfstatat" && call.path.ends_with("events.out.tfevents.");
      if (call.path.starts_with(folder) && !is_search) {
        const bool is_it = fault.call == static_cast<int64_t>(run.calls.size());
        run.calls.push_back(std::move(call));
        if (is_it) apply(fault, child, registers);
      }
    } else if (!is_event(PTRACE_EVENT_EXEC) && WSTOPSIG(status) != SIGTRAP) {
      signal = WSTOPSIG(status);
    }
    ptrace(PTRACE_CONT, child, 0, signal);
  }
  run.ended = {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), read_text(program.file("out")),
               read_text(program.file("error"))};
  return run;
}

#else

std::vector<Fault> faults_of(const FileCall&) { return {}; }
std::string why_no_tracing() { return "system calls are only changed on x86-64"; }
TracedRun run_traced(const Program&, const std::vector<std::string>&, const std::string&, const Fault&) { return {}; }

#endif

}  // namespace engine::test
