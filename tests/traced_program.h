// Runs a program under the eyes of ptrace, and makes one of its system calls on the files of a folder fail, do half of
// its work, or be its last.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/program.h"

namespace engine::test {

// A system call that names a file of the folder, or a file that is open there.
struct FileCall {
  std::string name, path;
  bool creates = false;  // it opens a file to write, and makes it where it is missing

  std::string text() const { return name + " " + path; }
};

struct Fault {
  enum class Act { none, fail, shorten, kill } act = Act::none;
  int error = 0;      // errno of a call that fails
  int64_t call = -1;  // its number among the calls on the folder's files

  std::string text() const;
};

// Returns the faults that such a call may meet, without their numbers: errors, half of the bytes, and a kill.
std::vector<Fault> faults_of(const FileCall& call);

struct TracedRun {
  Ended ended;
  std::vector<FileCall> calls;  // on the folder's files, in their order
};

// Returns why programs cannot be traced here, or nothing.
std::string why_no_tracing();

// Runs a program of one thread. Its output and its errors are in the files "out" and "error" of the program's folder.
TracedRun run_traced(const Program& program, const std::vector<std::string>& arguments, const std::string& folder,
                     const Fault& fault = {});

}  // namespace engine::test
