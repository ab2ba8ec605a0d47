#!/usr/bin/env python3
"""Self-learned steps against the same algorithm on transformers' BART and generate(): python bench/self_learned.py

A model is trained for some steps first, so that results have their usual lengths; then both go on from it in turn, with
the same expressions. Needs torch and transformers (--python names an interpreter that has them). Writes
bench/results/self_learned.json: seconds a step and the share that generates, of each round, and the ratio's median.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

here = pathlib.Path(__file__).parent
root = here.parent
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--python", default=sys.executable)
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--batch", type=int, default=64)
parser.add_argument("--warm", type=int, default=600, help="steps of the model that both start from")
arguments = parser.parse_args()


def engine(*words):
    begin = time.perf_counter()
    subprocess.run(["./engine", *map(str, words)], cwd=root, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


with tempfile.TemporaryDirectory() as folder:
    expressions = f"{folder}/expressions.json"
    engine("expressions", expressions, "--quantity", 5000, "--scratchpad.max_depth", 3)
    common = ["train", "configs/scratchpad_bart.cfg", "--output_dir", folder, "--scratchpad.data", expressions,
              "--scratchpad.max_depth", 3, "--training.batch_size", arguments.batch, "--training.eval_every", 0,
              "--training.save_every", 0, "--scratchpad.eval_quantity", 5]
    engine(*common, "--name", "warm", "--training.max_steps", arguments.warm)
    model = f"{folder}/warm/last"

    def ours(steps):
        return engine(*common, "--name", "timed", "--resume", "false", "--init", model, "--training.max_steps", steps,
                      "--training.learning_rate", 1e-5, "--training.log_every", steps, "--scratchpad.stages", "",
                      "--scratchpad.mixture", "1:1,2:3")

    rows = []
    for _ in range(arguments.rounds):
        seconds = (ours(20) - ours(220)) / -200  # without the start and the evaluation at the end
        log = [json.loads(line) for line in open(f"{folder}/timed/metrics.jsonl")]
        share = [line["generating_share"] for line in log if line["split"] == "train"][-1]
        output = subprocess.run([arguments.python, here / "self_learned_torch.py", model, expressions, "--batch",
                                 str(arguments.batch)], check=True, capture_output=True, text=True).stdout
        peer = json.loads(output.strip().splitlines()[-1])
        best = min((peer[mode] for mode in ("f32", "bf16")), key=lambda mode: mode["step"])
        rows.append({"ours": {"step": seconds, "generating": share * seconds}, "peer": peer,
                     "ratio": best["step"] / seconds})
        print(json.dumps(rows[-1]), flush=True)
result = {"processors": os.cpu_count(), "batch": arguments.batch, "rounds": rows,
          "ratio": statistics.median(row["ratio"] for row in rows)}
(here / "results/self_learned.json").write_text(json.dumps(result, indent=1) + "\n")
print("ratio:", round(result["ratio"], 2))
