#!/usr/bin/env python3
"""Pointer chasing with thoughts: accuracy by the number of hops, of arms that think in different ways.

    python bench/thought_chase.py --seeds 1 2 3      # every arm that is not in bench/results/thought_chase.json yet
    python bench/thought_chase.py --seeds            # writes the table and the plot anew, trains nothing

Each run is a config of configs/thought_chase_*.cfg with the overrides below. Results go to
bench/results/thought_chase.json, from there to docs/results.md and docs/thought_chase.svg.
"""
import argparse
import json
import os
import pathlib
import re
import subprocess
import tempfile
import time

from tables import table, write_tables

root = pathlib.Path(__file__).parent.parent
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
    """Accuracy by the number of hops, a line an arm: the mean of its seeds, and their range."""
    width, height, left, bottom, right = 760, 380, 50, 40, 190
    hops = len(hops_of(rows[0]))
    x = lambda p: left + (p - 1) / (hops - 1) * (width - left - right)
    y = lambda share: 15 + (1 - share) * (height - bottom - 15)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
             'font-size="12"><rect width="100%" height="100%" fill="white"/>']
    for share in (0, 0.25, 0.5, 0.75, 1):
        parts.append(f'<line x1="{left}" x2="{width - right}" y1="{y(share):.1f}" y2="{y(share):.1f}" stroke="#ddd"/>'
                     f'<text x="{left - 6}" y="{y(share) + 4:.1f}" text-anchor="end">{share:.2f}</text>')
    for p in range(1, hops + 1):
        parts.append(f'<text x="{x(p):.1f}" y="{height - bottom + 18}" text-anchor="middle">{p}</text>')
    parts.append(f'<text x="{(left + width - right) / 2}" y="{height - 6}" text-anchor="middle">hops</text>')
    ends = []
    for name, (_, _, _, colour) in arms.items():
        of_name = [hops_of(row) for row in rows if row["arm"] == name]
        if not of_name:
            continue
        values = list(zip(*of_name))
        if len(of_name) > 1:
            edge = [(x(p), y(max(v))) for p, v in enumerate(values, 1)]
            edge += [(x(p), y(min(v))) for p, v in reversed(list(enumerate(values, 1)))]
            parts.append(f'<polygon fill="{colour}" fill-opacity="0.15" points="' +
                         " ".join(f"{a:.1f},{b:.1f}" for a, b in edge) + '"/>')
        means = [sum(v) / len(v) for v in values]
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="' +
                     " ".join(f"{x(p):.1f},{y(m):.1f}" for p, m in enumerate(means, 1)) + '"/>')
        ends.append((y(means[-1]), name, colour))
    at = 0
    for end, name, colour in sorted(ends):  # names do not lie on one another
        at = max(end, at + 14)
        parts.append(f'<text x="{width - right + 8}" y="{at + 4:.1f}" fill="{colour}">{name}</text>')
    return "\n".join([*parts, "</svg>\n"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="*", default=[1])
    parser.add_argument("--only", nargs="*", choices=arms, default=list(arms))
    parser.add_argument("--again", action="store_true", help="runs that are there already, too")
    arguments = parser.parse_args()
    rows = json.loads(results.read_text()) if results.exists() else []
    for seed in arguments.seeds:
        for name in arguments.only:
            same = [row for row in rows if (row["arm"], row["seed"]) == (name, seed)]
            if same and not arguments.again:
                continue
            rows = [row for row in rows if row not in same] + [run(name, seed)]
            results.write_text(json.dumps(rows, indent=1) + "\n")
    if rows:
        write_tables(root / "docs/results.md", {"thought_chase": lambda: results_table(rows)})
        (root / "docs/thought_chase.svg").write_text(plot(rows))


if __name__ == "__main__":
    main()
