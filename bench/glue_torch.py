#!/usr/bin/env python3
"""Finetuning on CoLA or SST-2 with transformers: the recipe of configs/cola.cfg and configs/sst2.cfg, for comparison.

    python bench/glue_torch.py MODEL --task sst2 --train train.tsv --dev dev.tsv --epochs 1 --seeds 1 2 3 \
        --output bench/results/sst2_torch.json

seconds are of training alone by the clock, cpu_seconds the same added over the threads: with one thread a figure that
other programs disturb less. AdamW (decay of matrices alone), a rate that falls linearly from its peak, clipping at 1, the model's dropout, batches of
like length padded to their longest sentence. Writes after each seed. Needs torch and transformers.
"""
import argparse
import json
import pathlib
import random
import time

from length_batches import batches

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("model", type=pathlib.Path)
parser.add_argument("--task", choices=["cola", "sst2"], required=True)
parser.add_argument("--train", type=pathlib.Path, required=True)
parser.add_argument("--dev", type=pathlib.Path, required=True)
parser.add_argument("--epochs", type=int, default=1)
parser.add_argument("--seeds", nargs="*", type=int, default=[1, 2, 3])
parser.add_argument("--batch", type=int, default=32)
parser.add_argument("--learning_rate", type=float, default=5e-5)
parser.add_argument("--weight_decay", type=float, default=0.01)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--output", type=pathlib.Path, required=True)
arguments = parser.parse_args()

import torch  # noqa: E402
import transformers  # noqa: E402

torch.set_num_threads(arguments.threads)


def read(file):
    rows = [line.split("\t") for line in file.read_text().splitlines()]
    if arguments.task == "cola":
        return [(row[3], int(row[1])) for row in rows]
    return [(row[0].strip(), int(row[1])) for row in rows[1:]]


def matthews(guesses, truths):
    count = {(g, t): 0 for g in (0, 1) for t in (0, 1)}
    for pair in zip(guesses, truths):
        count[pair] += 1
    tp, tn, fp, fn = count[1, 1], count[0, 0], count[1, 0], count[0, 1]
    under = ((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)) ** 0.5
    return (tp * tn - fp * fn) / under if under else 0.0


def main():
    tokenizer = transformers.AutoTokenizer.from_pretrained(arguments.model)

    def encoded(file):
        rows = read(file)
        ids = tokenizer([text for text, _ in rows], truncation=True, max_length=128)["input_ids"]
        return [(i, label) for i, (_, label) in zip(ids, rows)]

    train, dev = encoded(arguments.train), encoded(arguments.dev)
    lengths = [len(ids) for ids, _ in train]
    results = {"model": arguments.model.name, "task": arguments.task, "epochs": arguments.epochs,
               "batch": arguments.batch, "threads": arguments.threads, "learning_rate": arguments.learning_rate, "torch": torch.__version__,
               "transformers": transformers.__version__, "runs": []}

    def padded(rows):
        return tokenizer.pad({"input_ids": [ids for ids, _ in rows]}, return_tensors="pt")

    @torch.inference_mode()
    def evaluate(model):
        model.eval()
        guesses = []
        order = sorted(range(len(dev)), key=lambda i: -len(dev[i][0]))
        for at in range(0, len(order), 64):
            chosen = order[at:at + 64]
            guesses += zip(chosen, model(**padded([dev[i] for i in chosen])).logits.argmax(-1).tolist())
        pairs = [(guess, dev[i][1]) for i, guess in guesses]
        model.train()
        return {"accuracy": sum(g == t for g, t in pairs) / len(pairs),
                "matthews": matthews([g for g, _ in pairs], [t for _, t in pairs])}

    for seed in arguments.seeds:
        torch.manual_seed(seed)
        generator = random.Random(seed)
        model = transformers.AutoModelForSequenceClassification.from_pretrained(arguments.model, num_labels=2)
        model.train()
        decays = [p for p in model.parameters() if p.dim() >= 2]
        rest = [p for p in model.parameters() if p.dim() < 2]
        optimizer = torch.optim.AdamW([{"params": decays, "weight_decay": arguments.weight_decay},
                                       {"params": rest, "weight_decay": 0.0}], lr=arguments.learning_rate, fused=True)
        steps = arguments.epochs * len(batches(lengths, arguments.batch, random.Random(0)))
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
        run = {"seed": seed, "steps": steps, "evaluations": []}
        seconds = cpu_seconds = 0.0
        for _ in range(arguments.epochs):
            begin, cpu_begin = time.perf_counter(), time.process_time()
            for batch in batches(lengths, arguments.batch, generator):
                rows = [train[i] for i in batch]
                loss = model(**padded(rows), labels=torch.tensor([label for _, label in rows])).loss
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                schedule.step()
            seconds += time.perf_counter() - begin
            cpu_seconds += time.process_time() - cpu_begin
            run["evaluations"].append(evaluate(model))
            print(seed, round(seconds), run["evaluations"][-1], flush=True)
        run.update(seconds=round(seconds, 1), cpu_seconds=round(cpu_seconds, 1))
        results["runs"].append(run)
        arguments.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
