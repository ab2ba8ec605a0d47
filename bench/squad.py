#!/usr/bin/env python3
"""The engine's side of bench/squad_torch.py: configs/squad.cfg on the first questions of SQuAD with several seeds.

    python bench/squad.py MODEL --train train-v1.1.json --dev dev-v1.1.json --first 8760 --warmup_steps 30 --seeds 1 2 3 \
        --output bench/results/squad_engine.json -- --squad.negative_weight 0.2

What stands behind -- is given to the engine. A training's state is kept under runs/bench_squad, so that this script can
be stopped and begun again. seconds are of the training's steps alone, by the clock. Writes after each seed.
"""
import argparse
import json
import pathlib
import subprocess
import sys

from squad_files import first_questions

here = pathlib.Path(__file__).parent
root = here.parent
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("model", type=pathlib.Path)
parser.add_argument("--train", type=pathlib.Path, required=True)
parser.add_argument("--dev", type=pathlib.Path, required=True)
parser.add_argument("--first", type=int, default=0, help="so many questions of the training's file; 0: all")
parser.add_argument("--epochs", type=int, default=2)
parser.add_argument("--warmup_steps", type=int, default=300)
parser.add_argument("--learning_rate", type=float, default=1e-4)
parser.add_argument("--seeds", nargs="*", type=int, default=[1, 2, 3])
parser.add_argument("--precision", default="auto")
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--engine", default=str(root / "engine"))
parser.add_argument("--name", default="squad", help="of the runs and of the entry in the output")
parser.add_argument("--output", type=pathlib.Path, required=True)
end = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
arguments = parser.parse_args(sys.argv[1:end])
options = sys.argv[end + 1:]

train = arguments.train
if arguments.first:
    train = first_questions(train, arguments.first, root / "runs" / "bench_squad" / f"first_{arguments.first}.json")
results = json.loads(arguments.output.read_text()) if arguments.output.exists() else {"model": arguments.model.name, "runs": []}
for seed in arguments.seeds:
    name = f"{arguments.name}_{seed}"
    command = [arguments.engine, "train", "configs/squad.cfg", "--name", name, "--output_dir", "runs/bench_squad",
               "--init", str(arguments.model), "--data.train", str(train), "--data.eval", str(arguments.dev),
               "--seed", str(seed), "--training.epochs", str(arguments.epochs), "--training.eval_every", "0",
               "--training.save_every", "100", "--training.log_every", "10",
               "--training.warmup_steps", str(arguments.warmup_steps), "--precision", arguments.precision,
               "--training.learning_rate", str(arguments.learning_rate), "--threads", str(arguments.threads),
               *options]
    subprocess.run(command, cwd=root, check=True, stdout=subprocess.DEVNULL)
    log = root / "runs" / "bench_squad" / name / "metrics.jsonl"
    events = [json.loads(line) for line in log.read_text().splitlines()]
    evaluation = [event for event in events if event["split"] == "eval"][-1]
    steps = [event for event in events if event["split"] == "train"]
    run = {"name": arguments.name, "seed": seed, "first": arguments.first, "epochs": arguments.epochs,
           "options": options, "precision": arguments.precision, "threads": arguments.threads,
           "steps": steps[-1]["step"], "seconds": round(steps[-1].get("seconds", 0), 1),
           **{key: evaluation[key] for key in ("loss", "exact_match", "f1", "jaccard", "start_accuracy", "end_accuracy")}}
    results["runs"] = [r for r in results["runs"] if (r["name"], r["seed"]) != (run["name"], seed)] + [run]
    print(run, flush=True)
    arguments.output.write_text(json.dumps(results, indent=1) + "\n")
