#!/usr/bin/env python3
"""Everything that only a machine with an NVIDIA GPU can show, in one report: `make gpu-check`.

    python3 bench/gpu_check.py [--quick] [--build FOLDER] [--output FOLDER]

Stages run one after the other, each with a time limit, and the report (gpu_DEVICE.md and gpu_DEVICE.json) is written
after each. --quick takes less than eight minutes: tests of the operations, with our own products and with cuDNN, too,
racecheck, training steps of GPT-2 124M and a MiniLM and the time of each operation beside the least that it can take,
and the same steps in compiled PyTorch, where this Python has it. Without --quick all tests run, three tools of
compute-sanitizer, microbenchmarks and training steps beside PyTorch's in all modes. The exit status is 1 if anything
failed. Without a GPU it says so once it has started every program, and exits with 0.
"""
import argparse
import concurrent.futures
import importlib.util
import json
import os
import pathlib
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time

from cuda_static import cross_entropy_parts, seconds_of
from gpu_report import Report, Result
from gpus import peaks
from tables import table

root = pathlib.Path(__file__).resolve().parent.parent

families = ["matmul*", "activation*", "embedding*", "layernorm*", "attention:*", "cross_entropy*", "soft cross entropy*",
            "cosine loss*", "rank:*", "rows*", "sampl*", "copy*", "lerp*", "adamw*", "sum_of_squares*", "segment mean*",
            "dropout*", "relative positions*"]
# Products by our own kernels, where cuBLASLt would multiply, and attention by cuDNN, where our own kernels would.
own_products, cudnn_attention = {"ENGINE_TEST_MATMUL": "own"}, {"ENGINE_TEST_ATTENTION": "cudnn"}
raced_attention = ["attention: short sequences*", "attention: keys that end*", "attention: few queries*"]
raced_products = ["matmul: sizes that*", "matmul: blocks*", "matmul: every epilogue"]
works = {"GPT-2 124M, 8 x 1024 tokens": ["--model", "gpt2", "--work", "train", "--batch", "8", "--length", "1024"],
         "MiniLM, 32 x 128 tokens": ["--model", "minilm", "--work", "train", "--batch", "32", "--length", "128"]}


def execute(command, limit, environment={}, given=None):
    """(what failed or None, standard output, standard error). At the limit all that the command started is ended."""
    try:
        process = subprocess.Popen([str(part) for part in command], cwd=root, text=True, env=os.environ | environment,
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   errors="replace", start_new_session=True)
    except OSError as error:
        return str(error), "", ""
    try:
        output, errors = process.communicate(given, limit)
        return f"exit status {process.returncode}" if process.returncode else None, output, errors
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        try:
            output, errors = process.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            output = errors = ""
        return f"not done after {limit:.0f} s", output, errors


def shown(text, keep=40):
    return "```\n" + "\n".join(text.splitlines()[-keep:]) + "\n```"


class Check:
    def __init__(self, build, report):
        self.build, self.report, self.peaks = build, report, None

    def run_command(self, command, keep=40, environment={}):
        """A stage that is one command."""
        def stage(limit):
            failed, output, errors = execute(command, limit, environment)
            line = " ".join([f"{key}={value}" for key, value in environment.items()] + [str(part) for part in command])
            return Result("FAILED" if failed else "passed", f"`{line}`: {failed or 'passed'}\n\n" +
                          shown(output + errors, keep))
        return stage

    def device(self, limit):
        """Starts every program, and finds out what there is."""
        text = f"Python {platform.python_version()}, C library {' '.join(platform.libc_ver())}\n\n"
        for command in (["nvidia-smi", "--query-gpu=name,driver_version,memory.total,power.limit", "--format=csv,noheader"],
                        [self.build + "/engine", "info"], [self.build + "/tests/run", "--count"],
                        [self.build + "/bench/whole_steps", "--precision", "bf16", "--every_operation"]):
            if command[0] == "nvidia-smi" and not shutil.which("nvidia-smi"):
                text += "There is no nvidia-smi.\n\n"
                continue
            failed, output, errors = execute(command, limit)
            text += f"`{' '.join(str(part) for part in command)}`: {failed or 'passed'}\n\n" + shown(output + errors, 12) + "\n\n"
            if failed and command[0] != "nvidia-smi":
                return Result("FAILED", text)
            if command[-1] == "info":
                info = output
        name = re.search(r"^CUDA: (.*), compute capability", info, re.M)
        if "device auto: cuda" in info and name:
            self.report.device = name[1]
            self.peaks = next((rates for part, rates in peaks.items() if part in name[1]), None)
            return Result("passed", text)
        absent = "there is no GPU" in info and not shutil.which("nvidia-smi")
        return Result("left out" if absent else "FAILED", text + "The program uses no GPU: see its line CUDA above.")

    def tests(self, patterns, environment={}, prefix=[]):
        """A stage of tests, a process a pattern, so that a kernel that ends one does not take the others with it."""
        def stage(limit):
            deadline = time.monotonic() + limit

            def run(pattern):
                left, begin = deadline - time.monotonic(), time.monotonic()
                failed, output, errors = ("not started in time", "", "") if left < 1 else execute(
                    [*prefix, f"{self.build}/tests/run", f"-tc={pattern}", "--no-colors=true"], left, environment)
                cases = re.search(r"test cases: *(\d+) \| *(\d+) passed \| *(\d+) failed", output)
                if not failed and (not cases or cases[2] == "0"):
                    failed = "no test ran"
                return {"tests": pattern, "failed": failed, "passed cases": int(cases[2]) if cases else 0,
                        "failed cases": int(cases[3]) if cases else 0, "seconds": round(time.monotonic() - begin, 1),
                        "output": output + errors if failed else ""}

            with concurrent.futures.ThreadPoolExecutor(max(1, min(4, (os.cpu_count() or 1) // 2))) as pool:
                rows = list(pool.map(run, patterns))
            text = table(["tests", "outcome", "passed", "failed", "seconds"],
                         [[f"`{row['tests']}`", row["failed"] or "passed", row["passed cases"], row["failed cases"],
                           row["seconds"]] for row in rows])
            for row in rows:
                if row["failed"]:
                    text += f"\n\n`{row['tests']}`\n\n{shown(row['output'])}"
            return Result("FAILED" if any(row["failed"] for row in rows) else "passed", text, rows)
        return stage

    def raced(self, patterns, environment={}):
        sanitizer = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
        if not pathlib.Path(sanitizer).exists():
            return lambda limit: Result("left out", "compute-sanitizer is not installed")
        return self.tests(patterns, environment, [sanitizer, "--tool", "racecheck", "--error-exitcode", "1"])

    def steps(self, options):
        """A stage of training steps of ours: their speed and their share of the tensor cores' peak."""
        def stage(limit):
            program = [f"{self.build}/bench/whole_steps", "--precision", "bf16", *options]
            counting, counts, _ = execute([*program, "--operations"], limit)
            failed, output, errors = execute([*program, "--device", "cuda"], limit, given="5\n20\n")
            if failed or counting:
                return Result("FAILED", f"`{' '.join(program)}`: {failed or counting}\n\n" + shown(output + errors))
            step = json.loads(output.splitlines()[-1])
            flops = sum(count["calls"] * count["flops"] for count in map(json.loads, counts.splitlines()))
            seconds = statistics.median(step["seconds"])
            data = {"tokens per second": round(step["tokens"] / seconds), "milliseconds": round(1e3 * seconds, 3),
                    "GFLOP a step": round(flops / 1e9, 1), "loss": step["loss"], "seconds": step["seconds"]}
            if self.peaks:
                data["share of peak"] = round(flops / seconds / (self.peaks[0] * 1e12), 6)
            return Result("passed", ", ".join(f"{key} {value}" for key, value in data.items() if key != "seconds"), data)
        return stage

    def operations(self, options):
        """A stage that times each operation of a step, beside the least that the device could take for it."""
        def stage(limit):
            command = [f"{self.build}/bench/whole_steps", "--precision", "bf16", *options, "--device", "cuda", "--times",
                       "10"]
            failed, output, errors = execute(command, limit)
            if failed:
                return Result("FAILED", f"`{' '.join(command)}`: {failed}\n\n" + shown(output + errors))
            rows = [json.loads(line) for line in output.splitlines()]
            for row in rows:
                parts = cross_entropy_parts(row) if row["operation"] == "cross_entropy" else [row]
                row["derived seconds"] = sum(max(seconds_of(part, self.peaks)) for part in parts) if self.peaks else None
            return Result("passed", times_table(rows), rows)
        return stage

    def torch_steps(self, options):
        def stage(limit):
            if not importlib.util.find_spec("torch"):
                return Result("left out", "this Python has no torch")
            command = [sys.executable, "bench/torch_steps.py", *options, "--device", "cuda", "--mode", "bf16-compiled"]
            failed, output, errors = execute(command, limit, given="5\n20\n")
            if failed:  # not a fault of ours: it needs a compiler, for one
                return Result("left out", f"`{' '.join(command)}`: {failed}\n\n" + shown(output + errors))
            lines = [json.loads(line) for line in output.splitlines()]
            seconds = statistics.median(lines[-1]["seconds"])
            data = lines[0] | {"tokens per second": round(lines[-1]["tokens"] / seconds),
                               "milliseconds": round(1e3 * seconds, 3), "seconds": lines[-1]["seconds"]}
            return Result("passed", ", ".join(f"{key} {value}" for key, value in data.items() if key != "seconds"), data)
        return stage

    def microbenchmarks(self, limit):
        failed, output, errors = execute([f"{self.build}/bench/run", "--device=cuda", "--benchmark_format=json",
                                          "--benchmark_filter=-onednn|tokenizer"], limit)
        if failed:
            return Result("FAILED", f"{failed}\n\n{shown(errors)}")
        return Result("passed", benchmark_table(json.loads(output)["benchmarks"], self.peaks))

    def quick_stages(self):
        """[(title, seconds that it may take, stage)]"""
        ours = [(work, limit, options) for (work, options), limit in zip(works.items(), (30, 20))]
        return [("tests of the operations", 80, self.tests(families)),
                ("products by our own kernels", 40, self.tests(["matmul*", "cross_entropy*"], own_products)),
                ("attention by cuDNN", 30, self.tests(["attention:*"], cudnn_attention)),
                ("racecheck of attention", 40, self.raced(raced_attention)),
                ("racecheck of products", 40, self.raced(raced_products, own_products)),
                *((work, limit, self.steps(options)) for work, limit, options in ours),
                *((f"operations of {work}", limit, self.operations(options)) for work, limit, options in ours),
                *((f"PyTorch, compiled: {work}", 60 if limit == 30 else 40, self.torch_steps(options))
                  for work, limit, options in ours)]

    def whole_stages(self):
        sanitizer = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
        stages = [("tests, on the device and the CPU", 3600, self.run_command([f"{self.build}/tests/run"])),
                  ("products by our own kernels", 1200, self.tests(["matmul*", "cross_entropy*"], own_products)),
                  ("attention by cuDNN", 1200, self.tests(["attention:*"], cudnn_attention))]
        for tool in ("memcheck", "racecheck", "initcheck"):
            # With NVTX memcheck knows the tensors of an arena, and sees accesses between them.
            start = [sanitizer, "--tool", tool, "--nvtx", "yes", "--error-exitcode", "1"]
            stages += [(f"compute-sanitizer {tool}", 3600, self.tests(families, {}, start)),
                       (f"compute-sanitizer {tool}, products by our own kernels", 3600,
                        self.tests(["matmul*"], own_products, start))]
        stages.append(("microbenchmarks", 3600, self.microbenchmarks))
        stages += [(f"operations of {work}", 600, self.operations(options)) for work, options in works.items()]
        if all(importlib.util.find_spec(module) for module in ("torch", "transformers")):
            stages.append(("training steps and generation beside PyTorch", 3600, self.run_command(
                [sys.executable, "bench/compare.py", "--device", "cuda", "--rounds", "5", "--steps", "10", "--output",
                 "bench/results/gpu_steps.json"], keep=60)))
        else:
            stages.append(("training steps beside PyTorch", 1, lambda limit: Result(
                "left out", "this Python has no torch and transformers")))
        return stages


def times_table(rows):
    """What each operation takes a step, slowest first."""
    total = sum(row["calls"] * row["seconds"] for row in rows)
    lines = []
    for row in sorted(rows, key=lambda row: -row["calls"] * row["seconds"]):
        derived = row["derived seconds"]
        lines.append([row["operation"], row["shapes"], row["calls"], f"{1e6 * row['seconds']:.1f}",
                      f"{1e6 * derived:.1f}" if derived else "-", f"{row['seconds'] / derived:.2f}" if derived else "-",
                      f"{100 * row['calls'] * row['seconds'] / total:.1f} %"])
    return (f"All operations of a step: {1e3 * total:.3f} ms.\n\n" +
            table(["operation", "shapes", "calls", "µs a call", "derived µs", "times derived", "share of step"], lines))


def benchmark_table(entries, rates):
    rows = []
    for entry in entries:
        if entry.get("error_occurred"):
            rows.append([entry["name"], entry["error_message"], "", "", ""])
            continue
        scale = {"ns": 1e-3, "us": 1, "ms": 1e3, "s": 1e6}[entry["time_unit"]]
        bandwidth, products = entry.get("GB/s"), entry.get("GFLOP/s")
        share = ""
        if rates and products and not bandwidth:
            # The arguments end with bf16, those of cross entropy with bf16 and gradient; behind them stands real_time.
            last = -3 if entry["name"].startswith("cross_entropy") else -2
            bf16 = "bf16" in entry["name"] or entry["name"].split("/")[last:][:1] == ["1"]
            share = f"{100 * products / (1e3 * (rates[0] if bf16 else rates[1])):.0f} %"
        elif rates and bandwidth:
            share = f"{100 * bandwidth / rates[2]:.0f} %"
        rows.append([entry["name"], f"{entry['real_time'] * scale:.1f}", f"{bandwidth or 0:.0f}", f"{products or 0:.0f}",
                     share])
    return table(["benchmark", "µs", "GB/s", "GFLOP/s", "share of peak"], rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--build", default="build", help="folder of the programs, below the project's")
    parser.add_argument("--output", type=pathlib.Path, default=root / "bench/results", help="folder of the report")
    arguments = parser.parse_args()
    report = Report(arguments.output)
    check = Check(arguments.build, report)
    stages = check.quick_stages() if arguments.quick else check.whole_stages()
    limits = 30 + sum(limit for _, limit, _ in stages)
    if arguments.quick and limits >= 8 * 60:
        sys.exit(f"the stages may take {limits} s together, more than eight minutes")
    found = report.run("device and libraries", 30, check.device)
    if found.outcome != "passed":
        print("gpu-check: every program starts; no NVIDIA GPU answers here" if found.outcome == "left out" else
              "gpu-check: FAILED before any test: see above", f"; the report is {report.paths()[0]}", sep="")
        return 1 if report.failed else 0
    for title, limit, stage in stages:
        report.run(title, limit, stage)
    print(f"gpu-check: {report.outcome()}; the report is {report.paths()[0]}")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
