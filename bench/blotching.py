#!/usr/bin/env python3
"""Solutions with steps left out: accuracy against generated tokens, and what a model makes of its own rows.

    python bench/blotching.py --seeds 1 2 3        # every arm that is not in bench/results/blotching.json yet
    python bench/blotching.py --seeds              # writes the tables and the plot anew, trains nothing

Each run is a config of configs/blotching_*.cfg with the overrides below. Results go to bench/results/blotching.json, from
there to docs/results.md and docs/blotching.svg. Time is that of one processor in this program, as the system counts it.
"""
import argparse
import json
import pathlib
import resource
import subprocess
import tempfile

from experiments import run_missing
from tables import table, write_tables

root = pathlib.Path(__file__).parent.parent
results = root / "bench/results/blotching.json"
steps = 2500
temperatures = ["0", "0.5", "0.7"]
shares = ["0", "0.25", "0.5", "0.75"]
two_layers = ["--model.num_layers", "2"]
some = ["--blotching.blotch_p", "0.3"]
star, augment, axe = ["--blotching.star_loops"], ["--blotching.aug_loops"], ["--blotching.axe_loops"]
# name: config, overrides, what it is, colour
arms = {
    "answers": ("plain", ["--blotching.blotch_p", "1"], "answers only", "#888888"),
    "full": ("plain", [], "every step", "#1f6fb4"),
    "blotched": ("quick", [], "one model, four blotch tokens", "#d1571b"),
    "full, 2 layers": ("plain", two_layers, "every step", "#8fb5da"),
    "blotched, 2 layers": ("quick", two_layers, "one model, four blotch tokens", "#e8ab8d"),
    "unchanged": ("changes", [*star, "0", *augment, "0", *axe, "0"], "rows that stay as they are", ""),
    "STaR": ("changes", [*augment, "0", *axe, "0"], "right solutions of new problems are added", ""),
    "augment": ("changes", [*star, "0", *axe, "0"], "shorter solutions take a row's place", ""),
    "axe": ("changes", [*star, "0", *augment, "0"], "rows lose the step that is missed least", ""),
}
changes = [name for name, arm in arms.items() if arm[0] == "changes"]


def run(name, seed):
    config, overrides, *_ = arms[name]
    own = ["--seed", str(seed), "--threads", "1", "--training.max_steps", str(steps), "--training.save_every", str(steps),
           "--training.eval_every", str(steps if config != "changes" else steps // 5), *overrides]
    if config != "changes":
        own += ["--blotching.eval_temperatures", ",".join(temperatures)]
    if config == "quick":
        own += ["--blotching.eval_blotch_p", ",".join(shares)]
    with tempfile.TemporaryDirectory() as folder:
        command = ["./engine", "train", f"configs/blotching_{config}.cfg", *own]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([*command, "--output_dir", folder], cwd=root, check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        log = (pathlib.Path(folder) / f"blotching_{config}" / "metrics.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in log]
    evaluations = [event for event in events if event["split"] == "eval"]
    row = {"arm": name, "seed": seed, "command": " ".join(command), "steps": steps,
           "seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime),
           "metrics": evaluations[-1],
           "curve": [{key: event[key] for key in ("step", "correct", "generated_tokens", "len_percent")}
                     for event in evaluations],
           "changed": {key: value for key, value in events[-2].items() if key.startswith(("star_", "aug_", "axe_"))}}
    print(json.dumps(row), flush=True)
    return row


def spread(values, form="{:.2f}"):
    mean, low, high = sum(values) / len(values), min(values), max(values)
    text = form.format(mean)
    return text if form.format(low) == form.format(high) else f"{text} ({form.format(low)} - {form.format(high)})"


def points(rows, name):
    """[(share, temperature, right answers a run, tokens a run)] of an arm."""
    of_name = [row["metrics"] for row in rows if row["arm"] == name]
    found = []
    for share in shares if arms[name][0] == "quick" else [None]:
        for temperature in temperatures:
            key = (f"p_{share}_" if share is not None else "") + f"t_{temperature}"
            if of_name and f"correct_{key}" in of_name[0]:
                found.append((share, temperature, [row[f"correct_{key}"] for row in of_name],
                              [row[f"generated_tokens_{key}"] for row in of_name]))
    return found


def accuracy_table(rows):
    lines = []
    for name, (config, _, meaning, _) in arms.items():
        if config == "changes":
            continue
        of_name = points(rows, name)
        for share in dict.fromkeys(point[0] for point in of_name):
            own = [point for point in of_name if point[0] == share]
            lines.append([name, meaning if share is None else f"{meaning}; share {share}", len(own[0][2]),
                          *(spread(point[2]) for point in own), spread(own[0][3], "{:.1f}")])
    return table(["arm", "rows", "seeds", *(f"right at temperature {t}" for t in temperatures), "tokens written"], lines)


def changes_table(rows):
    lines = []
    for name in changes:
        of_name = [row for row in rows if row["arm"] == name]
        if of_name:
            lines.append([name, arms[name][2], len(of_name),
                          *(spread([row["metrics"][key] for row in of_name], form)
                            for key, form in (("correct", "{:.2f}"), ("generated_tokens", "{:.1f}"), ("len_percent", "{:.0f}"))),
                          f"{sum(row['seconds'] for row in of_name) / len(of_name):.0f} s"])
    return table(["arm", "what it does", "seeds", "right", "tokens written", "shorter, %", "processor time"], lines)


def plot(rows):
    """Accuracy against written tokens, a line an arm and temperature."""
    width, height, left, bottom, right = 760, 380, 50, 40, 190
    all_points = {name: points(rows, name) for name, arm in arms.items() if arm[0] != "changes"}
    most = max(max(point[3]) for own in all_points.values() for point in own) * 1.05
    x = lambda tokens: left + tokens / most * (width - left - right)
    y = lambda share: 15 + (1 - share) * (height - bottom - 15)
    mean = lambda values: sum(values) / len(values)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
             'font-size="12"><rect width="100%" height="100%" fill="white"/>']
    for share in (0, 0.25, 0.5, 0.75, 1):
        parts.append(f'<line x1="{left}" x2="{width - right}" y1="{y(share):.1f}" y2="{y(share):.1f}" stroke="#ddd"/>'
                     f'<text x="{left - 6}" y="{y(share) + 4:.1f}" text-anchor="end">{share}</text>')
    for tick in range(0, int(most) + 1, 10):
        parts.append(f'<text x="{x(tick):.1f}" y="{height - bottom + 18}" text-anchor="middle">{tick}</text>')
    parts.append(f'<text x="{(left + width - right) / 2}" y="{height - 6}" text-anchor="middle">tokens written</text>')
    label_at = 20
    for name, own in all_points.items():
        colour = arms[name][3]
        for temperature, dash in zip(temperatures, ("", "6 3", "2 3")):
            line = sorted((mean(point[3]), mean(point[2])) for point in own if point[1] == temperature)
            ends = [(min(point[2]), max(point[2]), mean(point[3])) for point in own if point[1] == temperature]
            parts += [f'<line x1="{x(at):.1f}" x2="{x(at):.1f}" y1="{y(low):.1f}" y2="{y(high):.1f}" stroke="{colour}"/>'
                      for low, high, at in ends]
            parts += [f'<circle cx="{x(a):.1f}" cy="{y(b):.1f}" r="3" fill="{colour}"/>' for a, b in line]
            parts.append(f'<polyline fill="none" stroke="{colour}" stroke-dasharray="{dash}" points="' +
                         " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in line) + '"/>')
        if own:
            parts.append(f'<text x="{width - right + 8}" y="{label_at}" fill="{colour}">{name}</text>')
            label_at += 16
    parts.append(f'<text x="{width - right + 8}" y="{label_at + 8}">full, dashed, dotted:</text>'
                 f'<text x="{width - right + 8}" y="{label_at + 24}">temperatures {", ".join(temperatures)}</text>')
    return "\n".join([*parts, "</svg>\n"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="*", default=[1])
    parser.add_argument("--only", nargs="*", choices=arms, default=list(arms))
    parser.add_argument("--again", action="store_true", help="runs that are there already, too")
    arguments = parser.parse_args()
    rows = run_missing(results, "arm", arguments.only, arguments.seeds, arguments.again, run)
    if rows:
        write_tables(root / "docs/results.md", {"blotching": lambda: accuracy_table(rows),
                                                "blotching_changes": lambda: changes_table(rows)})
        (root / "docs/blotching.svg").write_text(plot(rows))


if __name__ == "__main__":
    main()
