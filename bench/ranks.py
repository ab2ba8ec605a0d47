#!/usr/bin/env python3
"""Two ranks of one processor beside one rank of two, and beside PyTorch's DistributedDataParallel, in turn.

    python bench/ranks.py [--rounds 5] --output bench/results/ranks.json

The small decoder (256 wide, 4 layers) on 64 sequences of 128 tokens a step, f32. Ours are whole trainings, with their data;
PyTorch's are steps on random tokens. Ratios are medians over rounds. Nothing else should run on the machine.
"""
import argparse
import json
import pathlib
import platform
import random
import statistics
import string
import subprocess
import sys
import tempfile

here = pathlib.Path(__file__).parent
config = """task = "gpt"
name = "run"
precision = "f32"
device = "cpu"
[data]
train = ["TEXT"]
block_size = 128
tokenizer = "characters"
[model]
architecture = "gpt2"
hidden_size = 256
num_layers = 4
num_heads = 8
max_positions = 512
dropout = 0
[training]
batch_size = 64
max_steps = 25
log_every = 1
eval_every = 0
save_every = 0
adam_beta2 = 0.95
weight_decay = 0.1
"""


def events_of(ranks, threads, options=()):
    """The log of our training with these options."""
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "task.cfg"
        text = pathlib.Path(folder) / "text.txt"
        text.write_text("".join(random.Random(1).choices(string.ascii_letters + string.digits, k=400_000)))
        file.write_text(config.replace("TEXT", str(text)))
        subprocess.run(["./engine", "train", str(file), "--output_dir", folder, "--ranks", str(ranks), "--threads",
                        str(threads), *options], cwd=here.parent, check=True, stdout=subprocess.DEVNULL)
        return [json.loads(line) for line in (pathlib.Path(folder) / "run/metrics.jsonl").read_text().splitlines()]


def ours(ranks, threads):
    events = events_of(ranks, threads)
    return statistics.median(event["tokens_per_second"] for event in events[5:] if event["split"] == "train")


def torch_ddp(ranks, threads):
    command = [sys.executable, str(here / "ddp_torch.py"), "--ranks", str(ranks), "--threads", str(threads)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["tokens_per_second"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=pathlib.Path, default=here / "results/ranks.json")
    arguments = parser.parse_args()
    import torch
    kinds = {"one rank, two threads": lambda: ours(1, 2), "two ranks, one thread": lambda: ours(2, 1),
             "PyTorch, one process, two threads": lambda: torch_ddp(1, 2),
             "PyTorch, two processes": lambda: torch_ddp(2, 1)}
    rounds = [{name: run() for name, run in kinds.items()} for _ in range(arguments.rounds)]
    two = [a["two ranks, one thread"] for a in rounds]
    ratio = lambda name: round(statistics.median(x / a[name] for x, a in zip(two, rounds)), 2)
    result = {"command": "python bench/ranks.py " + " ".join(sys.argv[1:]), "torch": torch.__version__,
              "machine": platform.processor() or platform.machine(),
              "tokens_per_second": {name: round(statistics.median(a[name] for a in rounds)) for name in kinds},
              "two_ranks_against": {name: ratio(name) for name in kinds if name != "two ranks, one thread"}}
    print(json.dumps(result, indent=1))
    arguments.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
