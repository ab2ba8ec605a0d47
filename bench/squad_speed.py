#!/usr/bin/env python3
"""The speed of task squad beside transformers: both sides run in turn, and a ratio is the median of the rounds.

    python bench/squad_speed.py MODEL --train train-v1.1.json --dev dev-v1.1.json --python VENV/bin/python \
        --modes f32 f32-compiled --output bench/results/squad_speed.json

Training: --steps steps of 32 windows of real lengths, of which the first quarter is not measured. Predicting: the first
--questions questions of the dev set from file to answers; the engine's time is that of the whole command, the other side's
that of tokenizing, model and postprocessing. Memory is the most of each process; training's of the engine, and of both
together on the other side. Needs torch, numpy and transformers in VENV.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

from squad_files import first_questions

here = pathlib.Path(__file__).parent
root = here.parent
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("model", type=pathlib.Path)
parser.add_argument("--train", type=pathlib.Path, required=True)
parser.add_argument("--dev", type=pathlib.Path, required=True)
parser.add_argument("--python", default="python3")
parser.add_argument("--modes", nargs="*", default=["f32", "bf16", "f32-compiled", "bf16-compiled", "f32-as-bf16"])
parser.add_argument("--precision", default="auto", help="of the engine")
parser.add_argument("--steps", type=int, default=24)
parser.add_argument("--questions", type=int, default=400)
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--engine", default=str(root / "engine"))
parser.add_argument("--output", type=pathlib.Path, required=True)
arguments = parser.parse_args()


def timed(command):
    """Seconds by the clock and megabytes of a process."""
    begin = time.perf_counter()
    process = subprocess.Popen(command, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"failed: {' '.join(command)}")
    return time.perf_counter() - begin, usage.ru_maxrss // 1024


def engine(folder, train, dev):
    common = ["--precision", arguments.precision, "--threads", str(arguments.threads)]
    _, train_megabytes = timed(
        [arguments.engine, "train", "configs/squad.cfg", "--init", str(arguments.model), "--data.train", str(train),
         "--data.eval", "", "--training.max_steps", str(arguments.steps), "--training.epochs", "0",
         "--training.warmup_steps", "4", "--training.eval_every", "0", "--training.save_every", "0",
         "--training.log_every", "1", "--resume", "false", "--output_dir", str(folder), *common])
    lines = [json.loads(line) for line in (folder / "squad" / "metrics.jsonl").read_text().splitlines()]
    first, last = lines[arguments.steps // 4 - 1], lines[arguments.steps - 1]
    seconds, megabytes = timed([arguments.engine, "predict", str(folder / "squad"), "--input", str(dev), "--output",
                                str(folder / "answers"), *common])
    return {"train_tokens_per_second": (last["tokens"] - first["tokens"]) / (last["seconds"] - first["seconds"]),
            "predict_seconds": seconds, "train_megabytes": train_megabytes, "predict_megabytes": megabytes}


def torch(mode, folder, train, dev):
    output = folder / "torch.json"
    timed([arguments.python, "bench/squad_torch.py", str(arguments.model), "--train", str(train), "--dev", str(dev),
           "--steps", str(arguments.steps), "--seeds", "1", "--mode", mode, "--threads", str(arguments.threads),
           "--output", str(output)])
    run = json.loads(output.read_text())["runs"][0]
    return {"train_tokens_per_second": run["tokens"] / run["seconds"], "predict_seconds": run["predict_seconds"],
            "megabytes": run["megabytes"]}


with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    train = first_questions(arguments.train, 4000, folder / "train.json")
    dev = first_questions(arguments.dev, arguments.questions, folder / "dev.json")
    info = subprocess.run([arguments.engine, "info"], capture_output=True, text=True, check=True).stdout
    isa = info.split("instruction set: ")[1].splitlines()[0]
    results = {"model": arguments.model.name, "instruction_set": isa, "threads": arguments.threads,
               "precision": arguments.precision, "rounds": []}
    for _ in range(arguments.rounds):
        one = {"engine": engine(folder, train, dev)}
        for mode in arguments.modes:
            one[mode] = torch(mode, folder, train, dev)
        results["rounds"].append(one)
        print(json.dumps(one), flush=True)
    results["ratios"] = {
        mode: {"train": round(statistics.median(r["engine"]["train_tokens_per_second"] /
                                                r[mode]["train_tokens_per_second"] for r in results["rounds"]), 2),
               "predict": round(statistics.median(r[mode]["predict_seconds"] / r["engine"]["predict_seconds"]
                                                  for r in results["rounds"]), 2),
               "memory": round(statistics.median(r["engine"]["train_megabytes"] / r[mode]["megabytes"]
                                                 for r in results["rounds"]), 2)}
        for mode in arguments.modes}
    arguments.output.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results["ratios"], indent=1))
