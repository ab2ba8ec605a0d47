#!/usr/bin/env python3
"""The engine's side of bench/mlm_torch.py: configs/mlm_wiki.cfg with as many steps as fit into the time.

    python bench/mlm.py --tokenizer FOLDER --train train.txt --eval valid.txt --minutes 20 \
        --output bench/results/mlm_engine.json

A first run of 200 steps tells the speed, from which the number of steps follows (the rate falls to zero with them).
seconds are those of the whole second command, reading and four evaluations included.
"""
import argparse
import json
import pathlib
import subprocess
import tempfile
import time

root = pathlib.Path(__file__).parent.parent
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
for name in ("tokenizer", "train", "eval"):
    parser.add_argument(f"--{name}", required=True)
parser.add_argument("--minutes", type=float, default=20)
parser.add_argument("--precision", default="auto")
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--engine", default=str(root / "engine"))
parser.add_argument("--output", type=pathlib.Path, required=True)
arguments = parser.parse_args()


def run(steps, evaluations):
    with tempfile.TemporaryDirectory() as folder:
        command = [arguments.engine, "train", "configs/mlm_wiki.cfg", "--data.train", arguments.train, "--data.eval",
                   arguments.eval, "--data.tokenizer", arguments.tokenizer, "--training.max_steps", str(steps),
                   "--training.warmup_steps", str(steps // 20), "--training.save_every", "0", "--training.eval_every",
                   str(-(-steps // evaluations)), "--precision", arguments.precision, "--threads",
                   str(arguments.threads), "--output_dir", folder]
        begin = time.perf_counter()
        subprocess.run(command, cwd=root, check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - begin
        lines = (pathlib.Path(folder) / "mlm_wiki" / "metrics.jsonl").read_text().splitlines()
    return seconds, [json.loads(line) for line in lines]


_, trial = run(200, 1)
rate = next(event["tokens_per_second"] for event in trial[::-1] if event["split"] == "train")
tokens = 32 * 128
steps = int(0.98 * 60 * arguments.minutes * rate / tokens)
seconds, events = run(steps, 4)
log = [{"steps": event["step"], "tokens": event["step"] * tokens, "loss": event["loss"], "accuracy": event["accuracy"]}
       for event in events if event["split"] == "eval"]
result = {"precision": arguments.precision, "threads": arguments.threads, "seconds": round(seconds, 1), "log": log}
print(json.dumps(result))
arguments.output.write_text(json.dumps(result, indent=1) + "\n")
