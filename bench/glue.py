#!/usr/bin/env python3
"""The engine's side of bench/glue_torch.py: configs/cola.cfg or configs/sst2.cfg with several seeds.

    python bench/glue.py MODEL --task sst2 --train train.tsv --dev dev.tsv --epochs 1 --seeds 1 2 3 \
        --output bench/results/sst2_engine.json

The recipe is that of the other side, but for --own. seconds are those of the whole command by the clock, reading and
evaluation included; cpu_seconds the same added over its threads. Writes after each seed.
"""
import argparse
import json
import math
import pathlib
import resource
import subprocess
import tempfile
import time

here = pathlib.Path(__file__).parent
root = here.parent
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("model", type=pathlib.Path)
parser.add_argument("--task", choices=["cola", "sst2"], required=True)
parser.add_argument("--train", type=pathlib.Path, required=True)
parser.add_argument("--dev", type=pathlib.Path, required=True)
parser.add_argument("--epochs", type=int, default=1)
parser.add_argument("--seeds", nargs="*", type=int, default=[1, 2, 3])
parser.add_argument("--precision", default="auto")
parser.add_argument("--learning_rate", type=float, default=5e-5)
parser.add_argument("--own", action="store_true", help="the configuration's own recipe, not that of transformers")
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--engine", default=str(root / "engine"))
parser.add_argument("--output", type=pathlib.Path, required=True)
arguments = parser.parse_args()

# What configs/sst2.cfg has otherwise.
transformers_recipe = ["--training.warmup_steps", "0", "--training.group_by_length", "true",
                       "--training.label_smoothing", "0"]
results = {"model": arguments.model.name, "task": arguments.task, "epochs": arguments.epochs,
           "precision": arguments.precision, "threads": arguments.threads, "runs": []}


def cpu_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


for seed in arguments.seeds:
    with tempfile.TemporaryDirectory() as folder:
        examples = len(arguments.train.read_text().splitlines()) - (arguments.task == "sst2")
        steps = math.ceil(examples / 32)
        command = [arguments.engine, "train", f"configs/{arguments.task}.cfg", "--init", str(arguments.model),
                   "--data.train", str(arguments.train), "--data.eval", str(arguments.dev), "--seed", str(seed),
                   "--training.epochs", str(arguments.epochs), "--training.eval_every", str(steps),
                   "--training.save_every", "0", "--precision", arguments.precision, "--output_dir", folder,
                   "--threads", str(arguments.threads), "--training.learning_rate", str(arguments.learning_rate),
                   *([] if arguments.own else transformers_recipe)]
        begin, cpu_begin = time.perf_counter(), cpu_seconds()
        subprocess.run(command, cwd=root, check=True, stdout=subprocess.DEVNULL)
        seconds, cpu = time.perf_counter() - begin, cpu_seconds() - cpu_begin
        log = pathlib.Path(folder) / arguments.task / "metrics.jsonl"
        events = [json.loads(line) for line in log.read_text().splitlines()]
        evaluations = [{"accuracy": e["accuracy"], "matthews": e["matthews"]} for e in events if e["split"] == "eval"]
        results["runs"].append({"seed": seed, "learning_rate": arguments.learning_rate,
                                "recipe": "own" if arguments.own else "transformers", "steps": events[-1]["step"],
                                "evaluations": evaluations, "seconds": round(seconds, 1), "cpu_seconds": round(cpu, 1)})
        print(results["runs"][-1], flush=True)
        arguments.output.write_text(json.dumps(results, indent=1) + "\n")
