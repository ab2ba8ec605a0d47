#!/usr/bin/env python3
"""Pointer chasing with thoughts: accuracy by the number of hops, of arms that think in different ways.

    python bench/thought_chase.py --seeds 1 2 3      # every arm that is not in bench/results/thought_chase.json yet
    python bench/thought_chase.py --seeds            # writes the table and the plot anew, trains nothing

Each run is a config of configs/thought_chase_*.cfg with the overrides below. Results go to
bench/results/thought_chase.json, from there to docs/results.md and docs/thought_chase.svg.
"""
import json
import os
import pathlib
import re
import subprocess
import tempfile
import time

from experiments import arguments_of, line_plot, root, run_missing
from tables import table, write_tables

results = root / "bench/results/thought_chase.json"
passes = ["--thought.recurrence", "passes", "--thought.unroll", "4"]
# name: config, overrides, what it is, colour
arms = {
    "none": ("none", [], "no thoughts", "#888888"),
    "pause": ("pause", [], "a thought a hop, without a state", "#b48a1f"),
    "deeper": ("deeper", [], "more layers, no thoughts", "#7a5bb4"),
    "dense": ("dense", [], "a thought a hop, which carries a state", "#d1571b"),
    "dense without layernorm": ("dense", ["--thought.norm", "false"], "the same, without a layernorm on it", "#d19a7b"),
    "4 passes": ("dense", passes, "the same, trained by four runs of whole rows", "#1f9a6f"),
    "4 passes, detached": ("dense", [*passes, "--thought.detach", "true"], "no gradient through the runs before",
                           "#7fbfa8"),
    "written": ("written", [], "every step written", "#1f6fb4"),
}


def run(name, seed):
    config, overrides, *_ = arms[name]
    config = f"thought_chase_{config}"
    with tempfile.TemporaryDirectory() as folder:
        command = ["./engine", "train", f"configs/{config}.cfg", "--seed", str(seed), "--threads", "1", *overrides]
        begin = time.perf_counter()
        subprocess.run([*command, "--output_dir", folder], cwd=root, check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - begin
        log = (pathlib.Path(folder) / config / "metrics.jsonl").read_text().splitlines()
        exact = evaluate_exactly(pathlib.Path(folder) / config) if "passes" in overrides else None
    events = [json.loads(line) for line in log]
    last = [event for event in events if event["split"] == "eval"][-1]
    row = {"arm": name, "seed": seed, "command": " ".join(command), "processors": os.cpu_count(),
           "seconds": round(seconds), "steps": last["step"], "metrics": last}
    if exact:
        row["exact"] = exact
    print(json.dumps(row), flush=True)
    return row


def evaluate_exactly(run_folder):
    """The metrics of a model that was trained by several runs of whole rows, run from thought to thought."""
    command = ["./engine", "eval", str(run_folder), "--thought.recurrence", "exact", "--thought.detach", "false"]
    text = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    return {name: float(value) for name, value in re.findall(r"(accuracy\w*)\s+([\d.]+)", text)}


def hops_of(row, part="metrics"):
    names = [key for key in row[part] if key.startswith("accuracy_hops_")]
    return [row[part][f"accuracy_hops_{p}"] for p in range(1, len(names) + 1)]


def cell(values):
    mean = sum(values) / len(values)
    return f"{mean:.2f}" if max(values) - min(values) < 0.005 else f"{mean:.2f} ({min(values):.2f} - {max(values):.2f})"


def results_table(rows):
    lines = []
    for name, (_, _, meaning, _) in arms.items():
        of_name = [row for row in rows if row["arm"] == name]
        if of_name:
            by_hops = list(zip(*map(hops_of, of_name)))
            lines.append([name, meaning, len(of_name), of_name[0]["steps"], *map(cell, by_hops),
                          f"{sum(row['seconds'] for row in of_name) / len(of_name):.0f} s"])
            if all("exact" in row for row in of_name):
                by_hops = list(zip(*(hops_of(row, "exact") for row in of_name)))
                lines.append([name + ", run exactly", "the same models, from thought to thought", len(of_name), "",
                              *map(cell, by_hops), ""])
    hops = len(hops_of(rows[0]))
    return table(["arm", "what it is", "seeds", "steps", *(f"{p} hops" if p > 1 else "1 hop" for p in range(1, hops + 1)),
                  "time"], lines)


def plot(rows):
    """Accuracy by the number of hops, a line an arm."""
    hops = len(hops_of(rows[0]))
    lines = []
    for name, (_, _, _, colour) in arms.items():
        of_name = [hops_of(row) for row in rows if row["arm"] == name]
        if of_name:
            lines.append((name, colour, "", list(enumerate(zip(*of_name), 1))))
    return line_plot(lines, 1, hops, range(1, hops + 1), "hops", "{:.2f}".format)


def main():
    arguments = arguments_of(__doc__, arms)
    rows = run_missing(results, "arm", arguments.only, arguments.seeds, arguments.again, run)
    if rows:
        write_tables(root / "docs/results.md", {"thought_chase": lambda: results_table(rows)})
        (root / "docs/thought_chase.svg").write_text(plot(rows))


if __name__ == "__main__":
    main()
