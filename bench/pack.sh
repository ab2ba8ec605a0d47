#!/usr/bin/env bash
# Packs what make gpu-package built: bench/pack.sh BUILD_FOLDER ARCHITECTURE ARCHIVE
#
# The archive holds the programs, stripped, the files that tests and benchmarks read, and gpu_check.py. Fails where a
# program needs more than the C library, or where the archive has 60 MB or more.
set -euo pipefail
cd "$(dirname "$0")/.."
build=$1 architecture=$2 archive=$3
staging=$build/gpu-package
rm -rf "$staging"
mkdir -p "$staging"

git ls-files -z 'bench/*.py' bench/sst2_lengths.txt configs docs README.md tests/data tests/golden |
  xargs -0 cp --parents -t "$staging"
ln -s bench/gpu_check.py "$staging/gpu_check.py"
glibc=0
for program in engine tests/run bench/whole_steps; do
  mkdir -p "$(dirname "$staging/build/$program")"
  strip -o "$staging/build/$program" "$build/$program"
  needed=$(readelf -d "$build/$program" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' |
    grep -vxE '(libc|libm|libdl|librt|libpthread)\.so\.[0-9]+|ld-linux[a-z0-9-]*\.so\.[0-9]+' || true)
  [ -z "$needed" ] || { echo "$program needs" $needed "beside the C library" >&2; exit 1; }
  glibc=$({ echo "$glibc"; objdump -T "$build/$program" | grep -oE 'GLIBC_[0-9.]+' | cut -d_ -f2; } | sort -V | tail -n 1)
done
cuda=$("${NVCC:-nvcc}" --version | sed -n 's/.*release \([0-9.]*\),.*/\1/p')

cat >"$staging/PACKAGE.md" <<END
# The engine for sm_$architecture, to be tried on a machine with a GPU

    python3 gpu_check.py --quick

takes less than eight minutes and writes bench/results/gpu_DEVICE.md and .json. It needs: Linux on $(uname -m), a C library
of glibc $glibc or newer, Python 3.9 or newer, and NVIDIA's driver for CUDA $cuda or newer. With cuBLAS, cuDNN, compute-sanitizer
and PyTorch, where pip or the toolkit put them, it does more. It was made from commit $(git rev-parse --short HEAD).
Other commands: \`build/engine info\`, \`build/tests/run\`, \`build/bench/whole_steps --help\`.
END
rm -f "$archive"
tar -C "$build" --sort=name --owner=0 --group=0 --numeric-owner -c gpu-package | xz -T0 -6 >"$archive"
size=$(stat -c %s "$archive")
((size < 60000000)) || { echo "$archive has $size bytes, 60 MB or more" >&2; exit 1; }
echo "$archive: $((size / 1000000)) MB for sm_$architecture; it needs glibc $glibc and a driver for CUDA $cuda"
