#!/usr/bin/env python3
"""Text with thoughts at no, random and searched places: the loss at equal tokens and at equal time.

    python bench/thought_text.py TRAIN.txt EVAL.txt      # every arm that is not in bench/results/thought_text.json yet
    python bench/thought_text.py                         # writes the table anew, trains nothing

Each run is configs/thought_text.cfg with the overrides below, on the texts without their accents. Time is that of one
processor in this program, as the system counts it, so that other programs disturb it little. Arms of equal time take as
many more steps as the search took more time. Results go to bench/results/thought_text.json, from there to docs/results.md.
"""
import json
import pathlib
import tempfile
import unicodedata

from experiments import arguments_of, root, run_engine, run_missing
from tables import table, write_tables

results = root / "bench/results/thought_text.json"
small = ["--model.hidden_size", "128", "--model.num_heads", "4", "--thought.samples", "0", "--threads", "1",
         "--data.train_share", "0.25", "--training.warmup_steps", "40"]
steps = 400
exact = ["--thought.recurrence", "exact"]
searched = [*exact, "--thought.places", "searched", "--thought.search_passes", "8", "--thought.search_group", "16",
            "--thought.reinforce", "0.5", "--thought.punish", "0.25"]
# name: overrides, what it is, the arm whose time it has
arms = {
    "none": (["--thought.places", "none"], "no thoughts", None),
    "pause": ([], "random places, no states", None),
    "random": (exact, "random places", None),
    "expectation": ([*exact, "--thought.expectation", "true"], "the same, the loss an expectation over asking", None),
    "searched": (searched, "8 of 16 trials a row kept, kept ones are targets", None),
    "none, equal time": (["--thought.places", "none"], "no thoughts", "searched"),
    "random, equal time": (exact, "random places", "searched"),
}


def plain_text(path, folder):
    """A copy of a text in ASCII."""
    text = unicodedata.normalize("NFKD", pathlib.Path(path).read_text()).encode("ascii", "ignore")
    copy = pathlib.Path(folder) / pathlib.Path(path).name
    copy.write_bytes(text)
    return str(copy)


def seconds_of(name, seed):
    rows = json.loads(results.read_text()) if results.exists() else []
    return next(row["seconds"] for row in rows if (row["arm"], row["seed"]) == (name, seed))


def run(name, seed, train, evaluation):
    overrides, _, same_time = arms[name]
    count = steps
    if same_time:
        count = round(steps * seconds_of(same_time, seed) / seconds_of(name.split(",")[0], seed))
    own = [*small, *overrides, "--seed", str(seed), "--training.max_steps", str(count), "--training.eval_every", str(count),
           "--training.save_every", str(count)]
    with tempfile.TemporaryDirectory() as folder:
        files = ["--data.train", plain_text(train, folder), "--data.eval", plain_text(evaluation, folder)]
        command = ["./engine", "train", "configs/thought_text.cfg", *own]
        events, seconds = run_engine([*command, *files], "thought_text", folder)
        run_folder = pathlib.Path(folder) / "thought_text"
        samples = "".join(path.read_text() for path in sorted((run_folder / "samples").glob("*")))
    training = [event for event in events if event["split"] == "train"]
    row = {"arm": name, "seed": seed, "command": " ".join(command), "steps": count,
           "seconds": seconds,
           "metrics": [event for event in events if event["split"] == "eval"][-1], "last_log": training[-1],
           "samples": samples[-2500:]}
    print(json.dumps(row), flush=True)
    return row


def results_table(rows):
    def cell(metrics, name):
        return f"{metrics[name]:.4f}" if name in metrics else ""

    lines = []
    for name, (_, meaning, _) in arms.items():
        for row in (row for row in rows if row["arm"] == name):
            metrics = row["metrics"]
            without = "loss_without_thoughts" if "loss_without_thoughts" in metrics else "loss"
            with_thoughts = cell(metrics, "loss") if without != "loss" else ""
            asked = f"{100 * metrics['asked_share']:.1f} %" if "asked_share" in metrics else ""
            lines.append([name, meaning, row["steps"], f"{row['seconds']} s", cell(metrics, without), with_thoughts,
                          cell(metrics, "loss_asking"), asked])
    return table(["arm", "what it is", "steps", "processor time", "loss without thoughts", "with random ones",
                  "with its own", "own thoughts, of all tokens"], lines)


def main():
    arguments = arguments_of(__doc__, arms, "train", "evaluation")
    seeds = arguments.seeds if arguments.evaluation else []
    rows = run_missing(results, "arm", arguments.only, seeds, arguments.again,
                       lambda name, seed: run(name, seed, arguments.train, arguments.evaluation))
    if rows:
        write_tables(root / "docs/results.md", {"thought_text": lambda: results_table(rows)})


if __name__ == "__main__":
    main()
