#!/usr/bin/env python3
"""What can be known of the CUDA backend without a GPU: python bench/cuda_static.py [--check]

Reads what ptxas said when the kernels were compiled (build/cuda/**/*.o.log), how the tests on the simulated device
started them (build/launches.txt: kernel, threads, bytes of dynamic shared memory), which operations a training step of
GPT-2 is made of (build/bench/whole_steps --operations) and what every operation moves (--every_operation), and writes
the tables of docs/cuda.md, each between <!-- NAME --> and <!-- /NAME -->. Needs `make build/bench/whole_steps`, `make
sim-test` and an nvcc; --tables names those that are written where not all can be. With --check (`make cuda-check`) it
writes nothing and exits with 1 if a kernel spills registers, or if the PTX of a kernel (build/cuda/**/*.ptx) stores
16 neighbouring bytes by several instructions: nvcc splits assignments of structs, which store_global does not.
"""
import argparse
import math
import pathlib
import re
import subprocess
import sys

from gpus import peaks
from step_costs import expected_seconds, listed, seconds_of
from tables import table, write_tables

root = pathlib.Path(__file__).parent.parent

# A multiprocessor of each architecture (CUDA C++ Programming Guide, technical specifications per compute capability):
# registers, bytes of shared memory (1 KiB of it is the system's for each block), warps, blocks.
multiprocessors = {"sm_80": (65536, 164 << 10, 64, 32), "sm_90": (65536, 228 << 10, 64, 32),
                   "sm_100": (65536, 228 << 10, 64, 32)}

devices = {name: peaks[name] for name in ("A100", "H100", "B200")}


def kernel_name(symbol_or_name):
    """engine::cuda::(anonymous namespace)::f<float, 4>(float const*) -> f<float, 4>"""
    name = symbol_or_name.replace("(anonymous namespace)::", "").replace("_GLOBAL__N__", "")
    depth, end = 0, len(name)
    for i, character in enumerate(name):
        depth += {"<": 1, ">": -1}.get(character, 0)
        if character == "(" and depth == 0:
            end = i
            break
    name = re.sub(r"^(void |.*?__global__ )", "", name[:end])
    return re.sub(r"^(?:[\w$]+::)+", "", name).replace("engine::cuda::", "").replace("__nv_bfloat16", "bf16")


def demangled(symbols):
    lines = subprocess.run(["c++filt"], input="\n".join(symbols), capture_output=True, text=True, check=True).stdout
    return dict(zip(symbols, lines.splitlines()))


def source_of_kernels():
    """(folder, kernel) -> folder/file: several files of a folder may be compiled as one."""
    found = {}
    for path in root.glob("kernels/*/cuda/*.cu"):
        folder = path.parent.parent.name
        for kernel in re.findall(r"__global__\s+void\s+(?:__launch_bounds__\([^)]*\)\s*)?(\w+)\(", path.read_text()):
            found[folder, kernel] = f"{folder}/{path.stem}"
    return found


def compiled_kernels(build):
    """[(file, kernel, architecture, registers, static shared bytes, spilled bytes)]"""
    found = []
    logs = sorted((build / "cuda").rglob("*.o.log"))
    if not logs:
        sys.exit(f"{build}/cuda holds no *.o.log: build the program with nvcc first")
    files = source_of_kernels()
    for log in logs:
        folder = log.parent.parent.name
        text = log.read_text()
        pattern = re.compile(
            r"Compiling entry function '(\S+)' for '(sm_\d+)'.*?(\d+) bytes spill stores, (\d+) bytes spill loads"
            r".*?Used (\d+) registers([^\n]*)", re.S)
        entries = pattern.findall(text)
        names = demangled(sorted({entry[0] for entry in entries}))
        for symbol, architecture, stores, loads, registers, rest in entries:
            shared = re.search(r"(\d+) bytes smem", rest)
            kernel = kernel_name(names[symbol])
            found.append((files[folder, kernel.split("<")[0]], kernel, architecture, int(registers),
                          int(shared[1]) if shared else 0, int(stores) + int(loads)))
    return found


def split_stores(ptx):
    """[(kernel, line)] where at least 16 neighbouring bytes are stored by several instructions with no load between them.

    A loop over single elements loads, or branches, between its stores, so that it does not count.
    """
    found, kernel, run = [], "", None  # run: base register, offset behind it, bytes, line
    for number, line in enumerate(ptx.splitlines(), 1):
        entry = re.search(r"\.entry (\w+)", line)
        kernel = entry[1] if entry else kernel
        store = re.search(r"st\.global(?:\.wb)?\.(?:v(\d)\.)?[a-z](\d+)\s+\[(%\w+)\+?(-?\d+)?\]", line)
        if store:
            size, base, offset = int(store[1] or 1) * int(store[2]) // 8, store[3], int(store[4] or 0)
            run = (base, offset + size, run[2] + size, run[3]) if run and run[:2] == (base, offset) else \
                (base, offset + size, size, number)
            if run[2] >= 16 and run[2] > size:
                found.append((kernel, run[3]))
                run = None
        elif re.match(r"\s*(@!?%p\d+\s+)?bra|\s*\$\w+:|.*\bld\.global", line):
            run = None
    return found


def check(build, architectures):
    """What is wrong with the kernels that are compiled for these architectures, a line each."""
    kernels = compiled_kernels(build)
    for file, kernel, architecture, registers, _, spilled in kernels:
        if spilled:
            yield f"{file}: {kernel} for {architecture} spills {spilled} bytes, with {registers} registers"
    if missing := missing_code(build, kernels, architectures):
        yield missing
    logs, texts = sorted((build / "cuda").rglob("*.o.log")), sorted((build / "cuda").rglob("*.ptx"))
    if {log.name.removesuffix(".o.log") for log in logs} != {text.stem for text in texts}:
        yield f"{build}/cuda holds the PTX of {len(texts)} of {len(logs)} objects: run make cuda-check"
    stores = 0
    for path in texts:
        text = path.read_text()
        stores += len(re.findall(r"st\.global\.v4\.b32", text))
        split = split_stores(text)
        names = demangled(sorted({symbol for symbol, _ in split}))
        yield from (f"{path}:{line}: {kernel_name(names[symbol])} stores a vector by parts" for symbol, line in split)
    print(f"{len(kernels)} kernels, {stores} vector stores of 16 bytes in the PTX of {len(texts)} files")


def launches(build):
    """kernel -> {(threads, dynamic shared bytes)}"""
    path, found = build / "launches.txt", {}
    if not path.exists():
        sys.exit(f"{path} is missing: run `make sim-test` first")
    for line in path.read_text().splitlines():
        name, threads, shared = line.split("\t")
        found.setdefault(kernel_name(name), set()).add((int(threads), int(shared)))
    return found


def missing_code(build, kernels, architectures):
    """Says which architectures there is no code for, where there are any: by default make compiles for this machine."""
    missing = set(architectures) - {architecture for _, _, architecture, *_ in kernels}
    everything = " ".join(name.removeprefix("sm_") for name in architectures)
    return f'{build} has no code for {", ".join(sorted(missing))}: run make CUDA_ARCHS="{everything}"' if missing else ""


def occupancy(architecture, registers, shared, threads):
    """The share of a multiprocessor's warps that are resident."""
    all_registers, all_shared, all_warps, all_blocks = multiprocessors[architecture]
    warps = math.ceil(threads / 32)
    by_registers = all_registers // (math.ceil(registers * 32 / 256) * 256 * warps)
    by_shared = all_shared // (math.ceil((shared + 1024) / 128) * 128)
    return min(by_registers, by_shared, all_warps // warps, all_blocks) * warps / all_warps


def kernel_table(build):
    started, rows, of_kernel, kernels = launches(build), [], {}, compiled_kernels(build)
    if missing := missing_code(build, kernels, multiprocessors):
        sys.exit(missing)
    for file, kernel, architecture, registers, shared, spilled in kernels:
        of_kernel.setdefault((file, kernel), {})[architecture] = (registers, shared, spilled)
    for (file, kernel), figures in sorted(of_kernel.items()):
        threads, dynamic = max(started.get(kernel, {(0, 0)}), key=lambda launch: (launch[1], launch[0]))
        cells = []
        for architecture in multiprocessors:
            registers, shared, spilled = figures[architecture]
            share = f"{100 * occupancy(architecture, registers, shared + dynamic, threads):.0f} %" if threads else "-"
            cells.append(f"{registers}, {share}" + (f", **{spilled} B spilled**" if spilled else ""))
        shared = max(figure[1] for figure in figures.values()) + dynamic
        rows.append([file, f"`{kernel}`", threads or "-", f"{shared / 1024:.1f}", *cells])
    return table(["file", "kernel", "threads", "shared KiB", *(f"{name}: registers, occupancy" for name in multiprocessors)],
                 rows)


def step_table(build, batch, length):
    rows, totals, floors = [], dict.fromkeys(devices, 0.0), dict.fromkeys(devices, 0.0)
    for operation in listed(build, "--operations", "--clip", "--model", "gpt2", "--batch", str(batch), "--length",
                             str(length)):
        cells = []
        for name in devices:
            arithmetic, memory = seconds_of(operation, devices[name])
            floors[name] += operation["calls"] * max(arithmetic, memory)
            seconds = operation["calls"] * expected_seconds(operation, devices[name])
            totals[name] += seconds
            cells.append(f"{1e3 * seconds:.2f}" + (" (products)" if arithmetic > memory else ""))
        rows.append([operation["operation"], operation["shapes"], operation["calls"], f"{operation['flops'] / 1e9:.1f}",
                     f"{operation['bytes'] / 1e6:.1f}", *cells])
    rows.append(["**all**", "", "", "", "", *(f"**{1e3 * totals[name]:.1f}**" for name in devices)])
    rows.append(["at the full rates", "", "", "", "", *(f"{1e3 * floors[name]:.1f}" for name in devices)])
    rows.append(["tokens/s expected", "", "", "", "", *(f"{batch * length / totals[name]:,.0f}" for name in devices)])
    return table(["operation", "shapes", "calls", "GFLOP a call", "MB a call", *(f"{name} ms" for name in devices)], rows)


def operations_table(build):
    rows, named = [], set()
    for operation in listed(build, "--every_operation"):
        named.add(operation["operation"].partition(":")[0])
        cells = []
        for name in devices:
            arithmetic, memory = seconds_of(operation, devices[name])
            cells.append(f"{1e6 * max(arithmetic, memory):.1f}, {'products' if arithmetic > memory else 'memory'}")
        intensity = operation["flops"] / operation["bytes"]
        rows.append([operation["operation"], operation["shapes"], f"{operation['flops'] / 1e9:.1f}",
                     f"{operation['bytes'] / 1e6:.1f}", f"{intensity:.0f}" if intensity else "-", *cells])
    declared = set(re.findall(r"^  row\((\w+), \w+Args\)", (root / "kernels/ops.h").read_text(), re.M))
    if declared != named:
        sys.exit(f"of kernels/ops.h bench/steps/operations.cc does not list {', '.join(sorted(declared ^ named))}")
    return table(["operation", "shapes", "GFLOP", "MB", "FLOP a byte", *(f"{name}: µs, bound by" for name in devices)],
                 rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=root / "build")
    parser.add_argument("--check", nargs="+", metavar="ARCHITECTURE",
                        help="say what is wrong with the code for these, such as 80 90")
    parser.add_argument("--tables", nargs="+", default=["kernels", "step", "operations"])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--length", type=int, default=1024)
    arguments = parser.parse_args()
    if arguments.check:
        problems = list(check(arguments.build, [f"sm_{number}" for number in arguments.check]))
        print(*problems, sep="\n")
        sys.exit(1 if problems else 0)
    tables = {"kernels": lambda: kernel_table(arguments.build),
              "step": lambda: step_table(arguments.build, arguments.batch, arguments.length),
              "operations": lambda: operations_table(arguments.build)}
    write_tables(root / "docs/cuda.md", {name: tables[name] for name in arguments.tables})


if __name__ == "__main__":
    main()
