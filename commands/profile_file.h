// Profiles as JSON, and the timeline of their steps as a trace.
#pragma once

#include <filesystem>
#include <string>

#include "training/profile.h"

namespace engine {

std::string profile_json(const Profile& profile);
// Reads what profile_json wrote. An Error names the file and what is wrong in it.
Profile read_profile(const std::filesystem::path& file);

// Returns a trace in Chrome's JSON format, which Perfetto (ui.perfetto.dev) and chrome://tracing show. Its tracks are
// phases, layers and operations; an operation has its shapes, FLOPs and bytes as arguments.
std::string trace_json(const Profile& profile, const std::vector<ProfiledStep>& steps, const StepRecorder& recorder,
                       int rank);

}  // namespace engine
