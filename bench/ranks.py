#!/usr/bin/env python3
"""Two ranks of one processor beside one rank of two, and beside PyTorch's DistributedDataParallel, in turn.

    python bench/ranks.py [--rounds 5] [--models decoder minilm] --output bench/results/ranks.json

"decoder" (256 wide, 4 layers) reads 64 sequences of 128 tokens a step. "minilm" (a class a sequence) reads 32 sequences of
the lengths of SST-2's sentences (sst2_lengths.txt): the other side's batches have like lengths and are padded to the
longest. f32; tokens that are no padding count. Ours are whole trainings, with their data; PyTorch's are steps on random
tokens. Ratios are medians over rounds. Nothing else should run on the machine.
"""
import argparse
import json
import pathlib
import random
import statistics
import string
import subprocess
import sys
import tempfile

from compare_builds import processor

here = pathlib.Path(__file__).parent
training = """
[training]
max_steps = 25
log_every = 1
eval_every = 0
save_every = 0
weight_decay = 0.1
"""
common = """name = "run"
precision = "f32"
device = "cpu"
"""
configs = {"decoder": """task = "gpt"
""" + common + training + """adam_beta2 = 0.95
batch_size = 64
[data]
train = ["train.tsv"]
block_size = 128
tokenizer = "characters"
[model]
architecture = "gpt2"
hidden_size = 256
num_layers = 4
num_heads = 8
max_positions = 512
dropout = 0
""", "minilm": """task = "sst2"
""" + common + training + """batch_size = 32
[data]
train = "train.tsv"
tokenizer = "."
block_size = 128
[model]
architecture = "bert"
hidden_size = 384
num_layers = 6
num_heads = 12
ffn_size = 1536
max_positions = 512
dropout = 0
"""}


def write_data(model, folder):
    draw = random.Random(1)
    if model == "decoder":
        (folder / "train.tsv").write_text("".join(draw.choices(string.ascii_letters + string.digits, k=400_000)))
        return
    words = [f"w{i}" for i in range(30522 - 5)]
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]) + "\n")
    lengths = [int(n) for n in (here / "sst2_lengths.txt").read_text().split()]
    rows = [" ".join(draw.choices(words, k=n - 2)) + f"\t{draw.randrange(2)}" for n in lengths]
    (folder / "train.tsv").write_text("\n".join(["sentence\tlabel", *rows]) + "\n")


def events_of(ranks, threads, options=(), model="decoder"):
    """The log of our training with these options."""
    with tempfile.TemporaryDirectory() as place:
        folder = pathlib.Path(place)
        write_data(model, folder)
        (folder / "task.cfg").write_text(configs[model])
        subprocess.run([here.parent.resolve() / "engine", "train", "task.cfg", "--output_dir", ".", "--ranks", str(ranks),
                        "--threads", str(threads), *options], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        return [json.loads(line) for line in (folder / "run/metrics.jsonl").read_text().splitlines()]


def ours(ranks, threads, model):
    events = [event for event in events_of(ranks, threads, model=model) if event["split"] == "train"][5:]
    return (events[-1]["tokens"] - events[0]["tokens"]) / (events[-1]["seconds"] - events[0]["seconds"])


def torch_ddp(ranks, threads, model):
    command = [sys.executable, str(here / "ddp_torch.py"), "--model", model, "--ranks", str(ranks), "--threads",
               str(threads)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["tokens_per_second"]


kinds = {"one rank, two threads": (ours, 1, 2), "two ranks, one thread": (ours, 2, 1),
         "PyTorch, one process, two threads": (torch_ddp, 1, 2), "PyTorch, two processes": (torch_ddp, 2, 1)}


def measured(model, count):
    rounds = [{name: run(ranks, threads, model) for name, (run, ranks, threads) in kinds.items()} for _ in range(count)]
    two = [a["two ranks, one thread"] for a in rounds]
    ratio = lambda name: round(statistics.median(x / a[name] for x, a in zip(two, rounds)), 2)
    return {"model": model,
            "tokens_per_second": {name: round(statistics.median(a[name] for a in rounds)) for name in kinds},
            "two_ranks_against": {name: ratio(name) for name in kinds if name != "two ranks, one thread"}}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--models", nargs="*", default=list(configs), choices=list(configs))
    parser.add_argument("--output", type=pathlib.Path, default=here / "results/ranks.json")
    arguments = parser.parse_args()
    import torch
    result = {"rounds": arguments.rounds, "torch": torch.__version__, "processor": processor(), "models": []}
    for model in arguments.models:
        result["models"].append(measured(model, arguments.rounds))
        print(json.dumps(result["models"][-1], indent=1), flush=True)
        arguments.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
