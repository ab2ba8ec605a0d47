#!/usr/bin/env python3
"""The main job and its twin without explanations, timed: python bench/arithmetic.py [--seeds 1 2 3]

Writes bench/results/arithmetic.json: for each run the seconds of the whole command and its last evaluation's metrics.
"""
import argparse
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

here = pathlib.Path(__file__).parent
root = here.parent


def run(config, seed):
    with tempfile.TemporaryDirectory() as folder:
        command = ["./engine", "train", f"configs/{config}.cfg", "--seed", str(seed)]
        begin = time.perf_counter()
        subprocess.run([*command, "--output_dir", folder], cwd=root, check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - begin
        run_folder = pathlib.Path(folder) / config
        events = [json.loads(line) for line in (run_folder / "metrics.jsonl").read_text().splitlines()]
        last = [event for event in events if event["split"] == "eval"][-1]
        samples = sorted((run_folder / "samples").iterdir())[-1].read_text()
        if seed == 1:
            (here / "results" / f"{config}_samples.txt").write_text(samples)
            shutil.copy(run_folder / "metrics.jsonl", here / "results" / f"{config}_metrics.jsonl")
    row = {"command": " ".join(command), "processors": os.cpu_count(), "seconds": round(seconds), "metrics": last}
    print(json.dumps(row), flush=True)
    return row


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--seeds", type=int, nargs="*", default=[1])
rows = [run(config, seed) for seed in parser.parse_args().seeds
        for config in ("arithmetic", "arithmetic_no_explanation")]
(here / "results/arithmetic.json").write_text(json.dumps(rows, indent=1) + "\n")
