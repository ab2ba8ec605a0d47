// The limits of control groups, in made-up trees of folders as Linux shows them in hosts, containers and services.
#include "core/control_groups.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "core/files.h"
#include "core/parallel.h"
#include "tests/temporary.h"

namespace engine::test::test_control_groups {

namespace {

constexpr size_t no_limit = std::numeric_limits<size_t>::max();
constexpr size_t MiB = size_t{1} << 20;

// A machine with the files of its control groups.
struct Machine {
  TemporaryFolder folder;

  Machine(const std::string& mounts, const std::string& groups) {
    write("proc/self/mountinfo", mounts);
    write("proc/self/cgroup", groups);
  }
  void write(const std::string& name, const std::string& text) const {
    const std::filesystem::path path = folder.path() / name;
    std::filesystem::create_directories(path.parent_path());
    write_file(path, text);
  }
  ControlGroups groups() const { return ControlGroups(folder.path()); }
};

const std::string other_mounts = R"(22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
24 22 0:22 / /proc rw,nosuid - proc proc rw
)";
const std::string version_2 = other_mounts +
                              "31 24 0:27 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
const std::string version_1 = other_mounts +
                              "40 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:10 - cgroup cgroup rw,cpu,cpuacct\n"
                              "41 31 0:30 / /sys/fs/cgroup/memory rw shared:11 - cgroup cgroup rw,memory\n";

}  // namespace

TEST_CASE("control groups: a machine without any, or without quotas, has no limit") {
  const Machine none(other_mounts, "");
  CHECK(std::isinf(none.groups().processors()));
  CHECK(none.groups().memory() == no_limit);
  CHECK(std::isinf(ControlGroups("/no such folder").processors()));
  CHECK(ControlGroups("/no such folder").memory() == no_limit);
  const Machine free(version_2, "0::/user.slice\n");
  free.write("sys/fs/cgroup/user.slice/cpu.max", "max 100000\n");
  free.write("sys/fs/cgroup/user.slice/memory.max", "max\n");
  free.write("sys/fs/cgroup/user.slice/memory.high", "1000000\n");
  CHECK(std::isinf(free.groups().processors()));
  CHECK(free.groups().memory() == no_limit);
  const Machine old(version_1, "4:cpu,cpuacct:/\n3:memory:/\n");
  old.write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
  old.write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  old.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  CHECK(std::isinf(old.groups().processors()));
  CHECK(old.groups().memory() == 9223372036854771712u);
}

TEST_CASE("control groups: version 2 in a container, where the group is the root") {
  const Machine machine(version_2, "0::/\n");
  machine.write("sys/fs/cgroup/cpu.max", "150000 100000\n");
  machine.write("sys/fs/cgroup/memory.max", "1073741824\n");
  CHECK(machine.groups().processors() == 1.5);
  CHECK(machine.groups().memory() == 1024 * MiB);
}

TEST_CASE("control groups: the tightest limit of nested groups counts") {
  const Machine machine(version_2, "0::/system.slice/a b/job\n");
  const std::string root = "sys/fs/cgroup/system.slice/";
  machine.write(root + "cpu.max", "250000 50000\n");
  machine.write(root + "a b/cpu.max", "300000 100000\n");
  machine.write(root + "a b/job/cpu.max", "max 100000\n");
  machine.write(root + "memory.max", std::to_string(300 * MiB));
  machine.write(root + "a b/memory.max", "max\n");
  machine.write(root + "a b/job/memory.max", std::to_string(500 * MiB));
  CHECK(machine.groups().processors() == 3);
  CHECK(machine.groups().memory() == 300 * MiB);
  // Groups beside it and below it do not.
  machine.write(root + "other/cpu.max", "10000 100000\n");
  machine.write(root + "a b/job/below/cpu.max", "10000 100000\n");
  CHECK(machine.groups().processors() == 3);
}

TEST_CASE("control groups: version 1, on a host and in containers that see their own part or another of the tree") {
  const std::string cpu = "sys/fs/cgroup/cpu,cpuacct/", memory = "sys/fs/cgroup/memory/";
  const std::string groups = "9:name=systemd:/docker/c1\n4:cpu,cpuacct:/docker/c1\n3:memory:/docker/c1\n0::/\n";
  const auto write_limits = [&](const Machine& machine, const std::string& below) {
    machine.write(cpu + below + "cpu.cfs_quota_us", "200000\n");
    machine.write(cpu + below + "cpu.cfs_period_us", "100000\n");
    machine.write(memory + below + "memory.limit_in_bytes", "536870912\n");
  };
  const Machine host(version_1, groups);
  write_limits(host, "docker/c1/");
  host.write(cpu + "docker/cpu.cfs_quota_us", "50000\n");
  host.write(cpu + "docker/cpu.cfs_period_us", "100000\n");
  CHECK(host.groups().processors() == 0.5);
  CHECK(host.groups().memory() == 512 * MiB);
  std::string own_part = version_1;
  for (const std::string point : {"/sys/fs/cgroup/cpu", "/sys/fs/cgroup/memory"})
    own_part.replace(own_part.find("/ " + point), 1, "/docker/c1");
  const Machine container(own_part, groups);
  write_limits(container, "");
  CHECK(container.groups().processors() == 2);
  CHECK(container.groups().memory() == 512 * MiB);
  const Machine outside(version_1, "4:cpu,cpuacct:/../../elsewhere\n3:memory:/../..\n");
  write_limits(outside, "");
  CHECK(outside.groups().processors() == 2);
  CHECK(outside.groups().memory() == 512 * MiB);
}

TEST_CASE("control groups: both versions side by side, a mount point with a space, and lines that say nothing") {
  const std::string mounts = "no dash in this line\n" + version_1 +
                             "50 31 0:31 / /sys/fs/cgroup/all\\040of\\040two rw - cgroup2 cgroup2 rw\n";
  const Machine machine(mounts, "neither\n4:cpu,cpuacct:/\n3:memory:/m\n0::/session\n");
  machine.write("sys/fs/cgroup/all of two/session/memory.max", std::to_string(70 * MiB));
  machine.write("sys/fs/cgroup/memory/m/memory.limit_in_bytes", std::to_string(80 * MiB));
  machine.write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "400000\n");  // its period is the usual one
  CHECK(machine.groups().memory() == 70 * MiB);
  CHECK(machine.groups().processors() == 4);
}

TEST_CASE("control groups: threads are at most as many as the quota allows, and at least one") {
  const int all = processors_of_each(1, ControlGroups("/no such folder"));
  CHECK(all >= 1);
  for (const auto& [quota, most] :
       {std::pair{"40000", 1}, {"100000", 1}, {"199999", 1}, {"200000", 2}, {"99900000", all}}) {
    CAPTURE(quota);
    const Machine machine(version_2, "0::/\n");
    machine.write("sys/fs/cgroup/cpu.max", std::string(quota) + " 100000\n");
    CHECK(processors_of_each(1, machine.groups()) == std::min(all, most));
    CHECK(processors_of_each(1000, machine.groups()) == 1);
  }
}

}  // namespace engine::test::test_control_groups
