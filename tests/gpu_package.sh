#!/usr/bin/env bash
# Tests the archive of make gpu-package, without a GPU: tests/gpu_package.sh ARCHIVE
#
# Unpacks it into a root that holds nothing but the C library, bash, a few of coreutils and Python's interpreter with its
# library, and runs gpu_check.py there: every program has to start, and the report has to say that there is no GPU. With a
# program that needs a library which is not there it has to fail. Then programs that pretend to have a GPU, and work on
# the CPU, take it through all of its stages.
set -euo pipefail
cd "$(dirname "$0")/.."
archive=$(realpath "$1")
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

# Copies a program, or a library of Python's, and the libraries that it needs.
add_with_libraries() {
  local file
  for file in "$@" $(ldd "$@" 2>/dev/null | grep -oE '/[^ :)]+' | sort -u); do
    [ -e "$root$file" ] || install -D "$(realpath "$file")" "$root$file"
  done
}
read -r python library prefix < <(python3 -c 'import sys, sysconfig
print(sys.executable, sysconfig.get_path("stdlib"), sys.prefix)')
mkdir -p "$root"/{bin,dev,proc,tmp,usr/bin}
add_with_libraries "$(command -v bash)" "$(command -v env)" "$(command -v cat)" "$(command -v sleep)" "$python"
libraries=$(dirname "$(ldd "$(command -v bash)" | grep -oE '/[^ ]*/libc\.so\.6')")
for name in libm.so.6 libdl.so.2 librt.so.1 libpthread.so.0; do
  [ ! -e "$libraries/$name" ] || add_with_libraries "$libraries/$name"
done
mapfile -t modules < <(find "$library/lib-dynload" -name '*.so')
add_with_libraries "${modules[@]}"
tar -C "$(dirname "$library")" --exclude=site-packages --exclude=dist-packages --exclude=test --exclude='config-*' \
  --exclude=__pycache__ -c "$(basename "$library")" | tar -C "$root$(dirname "$library")" -x
[ -e "$root/bin/bash" ] || ln -s "$(command -v bash)" "$root/bin/bash"
[ -e "$root/usr/bin/env" ] || ln -s "$(command -v env)" "$root/usr/bin/env"
tar -C "$root" -xJf "$archive"

# inside COMMAND...: runs it in the root, in the package's folder, with nothing of this machine's environment.
inside() {
  unshare --map-root-user --mount --pid --fork --mount-proc="$root/proc" bash -c '
    root=$1; shift
    for file in null zero urandom; do touch "$root/dev/$file"; mount --bind "/dev/$file" "$root/dev/$file"; done
    exec env -i PATH=/bin:/usr/bin:"$(dirname "$1")" HOME=/tmp PYTHONHOME="$PREFIX" \
      "$CHROOT" "$root" /usr/bin/env -C /gpu-package "$@"' inside "$root" "$@"
}
CHROOT=$(PATH=$PATH:/usr/sbin:/sbin command -v chroot)
export PREFIX=$prefix CHROOT
package=$root/gpu-package log=$root/log
# fails WHY: shows the last run, and ends the test.
fails() { cat "$log" >&2; echo "gpu_package: $1" >&2; exit 1; }

inside "$python" gpu_check.py --quick --output /tmp/none >"$log" 2>&1 || fails "the check ended with an error"
grep -q 'every program starts; no NVIDIA GPU answers here' "$log" || fails "the check does not say that there is no GPU"
python3 - "$root/tmp/none/gpu_none.json" <<'END' || fails "the report is not that of a machine without a GPU"
import json, sys
report = json.load(open(sys.argv[1]))
stage, = report["stages"]
sys.exit(not (report["failed"] == [] and report["device"] is None and stage["outcome"] == "left out"
              and "there is no GPU" in stage["text"]))
END
echo "gpu_package: every program starts where there is only a C library"

cp "$package/build/tests/run" "$root/tests-run"
cp "$(realpath "$(command -v tar)")" "$package/build/tests/run"
inside "$python" gpu_check.py --quick --output /tmp/broken >"$log" 2>&1 && fails "a program that lacks a library passed"
grep -q 'error while loading shared libraries' "$log" || fails "the check does not show which library is missing"
echo "gpu_package: a library that is missing is told"

# A pretended GPU: the tests of one operation and the steps of a small model, on the CPU.
mv "$package/build/engine" "$package/build/engine-cpu"
mv "$package/build/bench/whole_steps" "$package/build/bench/whole_steps-cpu"
mv "$root/tests-run" "$package/build/tests/run-cpu"
cat >"$package/build/engine" <<'END'
#!/bin/bash
echo 'device auto: cuda'
echo 'CUDA: NVIDIA H100 80GB HBM3, compute capability 9.0, 132 multiprocessors'
END
cat >"$package/build/bench/whole_steps" <<'END'
#!/bin/bash
rest=()
for argument; do
  case $argument in
    cuda) rest+=(cpu) ;;
    gpt2) rest+=(decoder) ;;
    minilm) rest+=(decoder) ;;
    8 | 32) rest+=(1) ;;
    1024 | 128) rest+=(24) ;;
    *) rest+=("$argument") ;;
  esac
done
exec build/bench/whole_steps-cpu "${rest[@]}"
END
cat >"$package/build/tests/run" <<'END'
#!/bin/bash
case $* in
  *rank:*) echo 'a kernel failed'; exit 1 ;;
  *attention:\ short*) sleep 1000 ;;
  *) exec build/tests/run-cpu '-tc=lerp*' ;;
esac
END
cat >"$root/bin/compute-sanitizer" <<'END'
#!/bin/bash
echo "compute-sanitizer $1 $2"
shift 4
exec "$@"
END
chmod +x "$package"/build/{engine,bench/whole_steps,tests/run} "$root/bin/compute-sanitizer"
inside "$python" gpu_check.py --quick --output /tmp/pretended >"$log" 2>&1 && fails "a test that failed passed"
python3 - "$root/tmp/pretended/gpu_nvidia_h100_80gb_hbm3.json" <<'END' || fails "the report is not that of the pretended GPU"
import json, sys
report = json.load(open(sys.argv[1]))
stages = {stage["title"]: stage for stage in report["stages"]}
print("gpu_package:", *(f"{title}: {stage['outcome']}, {stage['seconds']} s" for title, stage in stages.items()), sep="\n  ")
assert report["failed"] == ["tests of the operations", "racecheck of attention"], report["failed"]
failed = [row["tests"] for row in stages["tests of the operations"]["data"] if row["failed"]]
assert failed == ["rank:*"], failed
assert any("not done after" in (row["failed"] or "") for row in stages["racecheck of attention"]["data"])
assert stages["racecheck of attention"]["seconds"] < 50
assert stages["racecheck of products"]["outcome"] == stages["attention by cuDNN"]["outcome"] == "passed"
step = stages["GPT-2 124M, 8 x 1024 tokens"]["data"]
assert step["tokens per second"] > 0 and 0 < step["share of peak"] < 1, step
rows = stages["operations of MiniLM, 32 x 128 tokens"]["data"]
assert {"matmul", "cross_entropy", "adamw"} <= {row["operation"] for row in rows}
assert all(row["seconds"] > 0 and row["derived seconds"] > 0 for row in rows)
assert stages["PyTorch, compiled: MiniLM, 32 x 128 tokens"]["outcome"] == "left out"
assert report["seconds"] < 480
END
[ -s "$root/tmp/pretended/gpu_nvidia_h100_80gb_hbm3.md" ] || fails "there is no report in Markdown"
echo "gpu_package: a pretended GPU is taken through every stage"
