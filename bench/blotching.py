#!/usr/bin/env python3
"""Solutions with steps left out: accuracy against generated tokens, and what a model makes of its own rows.

    python bench/blotching.py --seeds 1 2 3        # every arm that is not in bench/results/blotching.json yet
    python bench/blotching.py --seeds              # writes the tables and the plot anew, trains nothing

Each run is a config of configs/blotching_*.cfg with the overrides below. Results go to bench/results/blotching.json, from
there to docs/results.md and docs/blotching.svg. Time is that of one processor in this program, as the system counts it.
"""
import json
import tempfile

from experiments import arguments_of, line_plot, root, run_engine, run_missing
from tables import table, write_tables

results = root / "bench/results/blotching.json"
steps = 2500
temperatures = ["0", "0.5", "0.7"]
shares = ["0", "0.25", "0.5", "0.75"]
two_layers = ["--model.num_layers", "2"]
star, augment, axe = (["--blotching." + name, "0"] for name in ("star_loops", "aug_loops", "axe_loops"))
axe += ["--blotching.rel_axe_tol", "1e9"]
no_change = [*star, *augment, *axe, "--blotching.pre_epochs", "3", "--blotching.aug_mod", "1"]
often = ["--blotching.pre_epochs", "6", "--blotching.aug_mod", "1"]  # rows change after each epoch from the sixth on
# name: config, overrides, what it is, colour
arms = {
    "answers": ("plain", ["--blotching.blotch_p", "1"], "answers only", "#888888"),
    "full": ("plain", [], "every step", "#1f6fb4"),
    "blotched": ("quick", [], "one model, four blotch tokens", "#d1571b"),
    "full, 2 layers": ("plain", two_layers, "every step", "#8fb5da"),
    "blotched, 2 layers": ("quick", two_layers, "one model, four blotch tokens", "#e8ab8d"),
    "blotched, LSTM": ("lstm", [], "an LSTM of as many parameters", "#3a8f5c"),
    "unchanged": ("changes", no_change, "rows that stay as they are", ""),
    "STaR": ("changes", [*augment, *axe, *often, "--blotching.star_loops", "10"], "right solutions of new problems are added", ""),
    "augment": ("changes", [*star, *axe, *often, "--blotching.aug_loops", "10"], "shorter solutions take a row's place", ""),
    "axe": ("changes", [*star, *augment, *often, "--blotching.axe_loops", "10"], "rows lose the step that is missed least", ""),
}
with_tokens = ["quick", "lstm"]  # configs whose rows begin with a blotch token
counts = [f"{change}_{what}" for change in ("star", "aug") for what in ("tried", "kept")] + ["axe_tried", "axe_removed"]
written = ["generated_tokens", "len_percent"]
changes = [name for name, arm in arms.items() if arm[0] == "changes"]


def run(name, seed):
    config, overrides, *_ = arms[name]
    own = ["--seed", str(seed), "--threads", "1", "--training.max_steps", str(steps), "--training.save_every", str(steps),
           "--training.eval_every", str(steps if config != "changes" else steps // 5), *overrides]
    if config != "changes":
        own += ["--blotching.eval_temperatures", ",".join(temperatures)]
    if config in with_tokens:
        own += ["--blotching.eval_blotch_p", ",".join(shares)]
    with tempfile.TemporaryDirectory() as folder:
        command = ["./engine", "train", f"configs/blotching_{config}.cfg", *own]
        events, seconds = run_engine(command, f"blotching_{config}", folder)
    evaluations = [event for event in events if event["split"] == "eval"]
    row = {"arm": name, "seed": seed, "command": " ".join(command), "steps": steps,
           "seconds": seconds,
           "metrics": evaluations[-1],
           "curve": [{key: event[key] for key in ("step", "correct", *written) if key in event} for event in evaluations],
           "changed": {key: sum(event.get(key, 0) for event in events) for key in counts if key in events[0]}}
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
    for share in shares if arms[name][0] in with_tokens else [None]:
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
            over_time = [", ".join(f"{sum(values) / len(values):.2f}" if key == "correct" else f"{sum(values) / len(values):.0f}"
                                   for values in zip(*([point[key] for point in row["curve"]] for row in of_name)))
                         for key in ("correct", written[0])]
            changed = {key: sum(row["changed"][key] for row in of_name) for key in of_name[0]["changed"]}
            lines.append([name, arms[name][2], len(of_name), spread([row["metrics"]["correct"] for row in of_name]),
                          spread([row["metrics"][written[0]] for row in of_name], "{:.1f}"), *over_time,
                          " of ".join(f"{changed[key]:.0f}" for key in reversed(changed)) or "none",
                          f"{sum(row['seconds'] for row in of_name) / len(of_name):.0f} s"])
    return table(["arm", "what it does", "seeds", "right", "tokens written", f"right, each {steps // 5} steps",
                  "tokens written, then", "rows changed, of those tried", "processor time"], lines)


def plot(rows):
    """Accuracy against written tokens, a line an arm and temperature."""
    dashes = dict(zip(temperatures, ("", "6 3", "2 3")))
    lines = []
    for name, (config, _, _, colour) in arms.items():
        of_name = points(rows, name) if config != "changes" else []
        for temperature in dict.fromkeys(point[1] for point in of_name):
            line = sorted((sum(tokens) / len(tokens), right) for _, t, right, tokens in of_name if t == temperature)
            lines.append((f"{name}, {temperature}", colour, dashes[temperature], line))
    most = max(at for *_, line in lines for at, _ in line)
    return line_plot(lines, 0, most, range(0, int(most) + 1, 10), "tokens written", "{:.2f}".format)


def main():
    arguments = arguments_of(__doc__, arms)
    rows = run_missing(results, "arm", arguments.only, arguments.seeds, arguments.again, run)
    if rows:
        write_tables(root / "docs/results.md", {"blotching": lambda: accuracy_table(rows),
                                                "blotching_changes": lambda: changes_table(rows)})
        (root / "docs/blotching.svg").write_text(plot(rows))


if __name__ == "__main__":
    main()
