#!/usr/bin/env python3
"""The experiments with explanations: none, oracle and self-learned, each without and with a curriculum.

    python bench/scratchpad.py --seeds 1 2 3 --only none oracle self_learned
    python bench/scratchpad.py --only none_curriculum oracle_curriculum self_learned_curriculum
    python bench/scratchpad.py --only          # writes the table and the plot anew, trains nothing

Each run is configs/scratchpad_bart.cfg with the overrides below. Results go to bench/results/scratchpad.json, where a
run that is there already is not made again (--again does), from there to docs/results.md and docs/scratchpad.svg.
"""
import argparse
import json
import os
import pathlib
import subprocess
import tempfile
import time

from experiments import line_plot, run_missing
from tables import table, write_tables

root = pathlib.Path(__file__).parent.parent
results = root / "bench/results/scratchpad.json"
config = "scratchpad_bart"

ways = ["--scratchpad.evaluation"]
kinds = {"none": ["--scratchpad.explanation", "none", *ways, "free"],
         "oracle": ["--scratchpad.explanation", "oracle", *ways, "free,help,results"],
         "self_learned": ["--scratchpad.explanation", "self_learned", *ways, "results,help"]}
curricula = {"": ["--scratchpad.stages", ""],
             "_curriculum": [],  # the stages of the configuration
             "_exp3": ["--scratchpad.stages", "", "--scratchpad.curriculum", "exp3"]}
experiments = {kind + name: [*overrides, *more] for name, more in curricula.items()
               for kind, overrides in kinds.items()}
colours = {"none": "#888888", "oracle": "#1f6fb4", "self_learned": "#d1571b"}


def run(name, seed, extra):
    with tempfile.TemporaryDirectory() as folder:
        command = ["./engine", "train", f"configs/{config}.cfg", "--seed", str(seed), *experiments[name], *extra]
        begin = time.perf_counter()
        subprocess.run([*command, "--output_dir", folder], cwd=root, check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - begin
        log = (pathlib.Path(folder) / config / "metrics.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in log]
    evaluations = [event for event in events if event["split"] == "eval"]
    shares = [event["generating_share"] for event in events if "generating_share" in event]
    row = {"experiment": name, "seed": seed, "command": " ".join(command), "processors": os.cpu_count(),
           "seconds": round(seconds), "metrics": evaluations[-1],
           "curve": [[event["step"], event["exact_match"]] for event in evaluations]}
    if shares:
        row["generating_share"] = sum(shares) / len(shares)
        row["inner"] = [[event["step"], {key[21:]: value for key, value in event.items()
                                         if key.startswith("inner_accuracy_level_")}] for event in evaluations]
    print(json.dumps({**row, "curve": row["curve"][-1]}), flush=True)
    return row


def mean_and_range(values, scale=100):
    mean = scale * sum(values) / len(values)
    if len(values) == 1:
        return f"{mean:.1f}"
    return f"{mean:.1f} ({scale * min(values):.1f} - {scale * max(values):.1f})"


def results_table(rows):
    levels = sorted({key for row in rows for key in row["metrics"] if key.startswith("exact_match_level_")})
    lines = []
    for name in experiments:
        of_name = [row for row in rows if row["experiment"] == name]
        if not of_name:
            continue
        cell = lambda key: (mean_and_range([row["metrics"][key] for row in of_name])
                            if all(key in row["metrics"] for row in of_name) else "")
        share = [row["generating_share"] for row in of_name if "generating_share" in row]
        lines.append([name.replace("_", " "), len(of_name), cell("exact_match"), *map(cell, levels),
                      cell("EM_all_per_sample"), cell("EM_results_all_per_sample"),
                      f"{100 * sum(share) / len(share):.0f}" if share else "",
                      f"{sum(row['seconds'] for row in of_name) / len(of_name):.0f} s"])
    return table(["explanation", "seeds", "exact match, %", *(f"level {key[-1]}" for key in levels),
                  "all levels, with help", "all levels, results alone", "generating, % of steps", "time"], lines)


def plot(rows):
    """Exact match by step, a line an experiment."""
    last = max(row["curve"][-1][0] for row in rows)
    lines = []
    for name in experiments:
        curves = [row["curve"] for row in rows if row["experiment"] == name]
        if not curves:
            continue
        kind = next(kind for kind in reversed(list(kinds)) if name.startswith(kind))
        dash = {"": "", "_curriculum": "6 3", "_exp3": "2 3"}[name[len(kind):]]
        steps = [step for step, _ in curves[0] if all(any(step == s for s, _ in curve) for curve in curves)]
        points = [(step, [dict(map(tuple, curve))[step] for curve in curves]) for step in steps]
        lines.append((name.replace("_", " "), colours[kind], dash, points))
    return line_plot(lines, 0, last, range(0, last + 1, max(1, last // 4)), "step", lambda share: f"{100 * share:.0f} %")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="*", default=[1])
    parser.add_argument("--only", nargs="*", choices=experiments, default=["none", "oracle", "self_learned"])
    parser.add_argument("--again", action="store_true", help="runs that are there already, too")
    parser.add_argument("extra", nargs="*", help="after --: more overrides, such as --training.max_steps 100")
    arguments = parser.parse_args()
    rows = run_missing(results, "experiment", arguments.only, arguments.seeds, arguments.again,
                       lambda name, seed: run(name, seed, arguments.extra))
    if rows:
        write_tables(root / "docs/results.md", {"scratchpad": lambda: results_table(rows)})
        (root / "docs/scratchpad.svg").write_text(plot(rows))


if __name__ == "__main__":
    main()
