#!/usr/bin/env python3
"""Everything that only a machine with an NVIDIA GPU can show, in one report: `make gpu-check`.

The tests on the device, compute-sanitizer over the tests of the operations, microbenchmarks with their share of the
device's peak, and training steps beside PyTorch's where this Python has it (torch with CUDA, transformers). The report goes to
bench/results/gpu_NAME.md; the exit status is 1 if a test failed or the sanitizer found something. Without a GPU it says
so after what can be done without one, and exits with 0.
"""
import argparse
import datetime
import importlib.util
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

from gpus import peaks
from tables import table

root = pathlib.Path(__file__).parent.parent

operation_tests = ("matmul*,activation*,embedding*,layernorm*,attention:*,cross_entropy*,soft cross entropy*,cosine loss*,rank:*,"
                   "rows*,sampl*,copy*,lerp*,adamw*,sum_of_squares*,segment mean*,dropout*")
# Products by our own kernels, where cuBLASLt would multiply, and attention by cuDNN, where our own kernels would.
own_products, cudnn_attention = {"ENGINE_TEST_MATMUL": "own"}, {"ENGINE_TEST_ATTENTION": "cudnn"}


class Report:
    def __init__(self, name=None):
        self.name, self.lines, self.failed = name, [], []
        stem = re.sub(r"\W+", "_", (name or "none").split(",")[0]).strip("_").lower()
        self.target = root / "bench/results" / f"gpu_{stem}.md"

    def section(self, title, text):
        """Kept at once: what comes next may not end."""
        self.lines += [f"## {title}", "", text.strip(), ""]
        print(f"== {title}\n{text.strip()}", flush=True)
        if self.name:
            self.write()

    def run(self, title, command, keep=40, limit=3600, environment={}):
        """Runs a command, keeps the last lines of what it printed, notes a failure."""
        shown = " ".join([f"{key}={value}" for key, value in environment.items()] + command)
        print(f"== {title}: {shown}", flush=True)
        try:
            done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=limit,
                                  env=os.environ | environment)
            output, outcome = done.stdout + done.stderr, "FAILED" if done.returncode else "passed"
        except subprocess.TimeoutExpired as expired:
            output = "".join(part.decode(errors="replace") for part in (expired.stdout, expired.stderr) if part)
            outcome = f"FAILED: not done after {limit} s"
        if outcome != "passed":
            self.failed.append(title)
        self.section(title, f"`{shown}`: {outcome}\n\n```\n{chr(10).join(output.splitlines()[-keep:])}\n```")

    def write(self):
        """Says how it went."""
        outcome = "nothing failed" if not self.failed else "FAILED: " + ", ".join(self.failed)
        self.target.write_text(f"# {self.name}\n\n{datetime.date.today()}, `make gpu-check`: {outcome}.\n\n" +
                               "\n".join(self.lines))
        return outcome


def device_name():
    if not shutil.which("nvidia-smi"):
        return None
    done = subprocess.run(["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"],
                          capture_output=True, text=True)
    return done.stdout.splitlines()[0] if done.returncode == 0 and done.stdout.strip() else None


def benchmark_table(text, name):
    peak = next((rates for part, rates in peaks.items() if part in name), None)
    rows = []
    for entry in json.loads(text)["benchmarks"]:
        if entry.get("error_occurred"):
            rows.append([entry["name"], entry["error_message"], "", "", ""])
            continue
        scale = {"ns": 1e-3, "us": 1, "ms": 1e3, "s": 1e6}[entry["time_unit"]]
        bandwidth, products = entry.get("GB/s"), entry.get("GFLOP/s")
        share = ""
        if peak and products and not bandwidth:
            # The arguments end with bf16, those of cross entropy with bf16 and gradient; behind them stands real_time.
            last = -3 if entry["name"].startswith("cross_entropy") else -2
            bf16 = "bf16" in entry["name"] or entry["name"].split("/")[last:][:1] == ["1"]
            share = f"{100 * products / (1e3 * (peak[0] if bf16 else peak[1])):.0f} %"
        elif peak and bandwidth:
            share = f"{100 * bandwidth / peak[2]:.0f} %"
        rows.append([entry["name"], f"{entry['real_time'] * scale:.1f}", f"{bandwidth or 0:.0f}", f"{products or 0:.0f}",
                     share])
    return table(["benchmark", "µs", "GB/s", "GFLOP/s", "share of peak"], rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    build = parser.parse_args().build
    name = device_name()
    report = Report(name)
    report.run("what is here", ["./engine", "info"])
    if not name:
        print("gpu-check: no NVIDIA GPU answers here (nvidia-smi is missing or finds none). Built, and ready to run on a "
              "machine that has one: the tests, compute-sanitizer, the benchmarks.")
        return 0
    info = subprocess.run(["./engine", "info"], cwd=root, capture_output=True, text=True).stdout
    if "device auto: cuda" not in info:
        print("gpu-check: there is a GPU, but this build of the engine does not use it: see `./engine info` above")
        return 1
    report.run("tests, on the device and the CPU", [f"{build}/tests/run"])
    report.run("products by our own kernels", [f"{build}/tests/run", "-tc=matmul*,cross_entropy*"],
               environment=own_products)
    report.run("attention by cuDNN", [f"{build}/tests/run", "-tc=attention:*"], environment=cudnn_attention)
    sanitizer = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
    if pathlib.Path(sanitizer).exists():
        for tool in ("memcheck", "racecheck", "initcheck"):
            # With NVTX memcheck knows the tensors of an arena, and sees accesses between them.
            report.run(f"compute-sanitizer {tool}", [sanitizer, "--tool", tool, "--nvtx", "yes", "--error-exitcode", "1",
                                                     f"{build}/tests/run", f"-tc={operation_tests}"])
            report.run(f"compute-sanitizer {tool}, products by our own kernels",
                       [sanitizer, "--tool", tool, "--nvtx", "yes", "--error-exitcode", "1", f"{build}/tests/run",
                        "-tc=matmul*"],
                       environment=own_products)
    else:
        report.failed.append("compute-sanitizer is not installed")
    done = subprocess.run([f"{build}/bench/run", "--device=cuda", "--benchmark_filter=-onednn|tokenizer",
                           "--benchmark_format=json"], cwd=root, capture_output=True, text=True)
    if done.returncode:
        report.failed.append("microbenchmarks")
        report.section("microbenchmarks", done.stderr)
    else:
        report.section("microbenchmarks", benchmark_table(done.stdout, name))
    if all(importlib.util.find_spec(module) for module in ("torch", "transformers")):
        output = "bench/results/gpu_steps.json"
        report.run("training steps and generation beside PyTorch",
                   [sys.executable, "bench/compare.py", "--device", "cuda", "--rounds", "5", "--steps", "10", "--output",
                    output], keep=60)
    else:
        report.section("training steps beside PyTorch", "left out: this Python has no torch and transformers")
    print(f"gpu-check: {report.write()}; the report is {report.target}")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
