#!/usr/bin/env python3
"""Writes run folders for a report to be timed and looked at: python3 bench/report_runs.py FOLDER RUNS LINES

Each run has LINES lines of its log with eight metrics, a tenth as many evaluations, samples, and predictions of a task
with three classes. Three runs in a row differ in their seeds alone.
"""
import json
import math
import pathlib
import random
import sys

folder, runs, lines = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
rng = random.Random(1)
for run in range(runs):
    rate, width = 10 ** rng.uniform(-4, -2) if run % 3 == 0 else rate, 64 << (run // 3 % 4)
    path = folder / f"run_{run:04d}"
    (path / "samples").mkdir(parents=True, exist_ok=True)
    (path / "task.cfg").write_text(
        f'task = "gpt"\nname = "run_{run:04d}"\nseed = {run}\nprecision = "bf16"\n[model]\nhidden_size = {width}\n'
        f"num_layers = 4\ndropout = 0.1\n[training]\nlearning_rate = {rate:.4g}\nbatch_size = 32\nmax_steps = {lines * 10}\n")
    best, out = 9.0, []
    for i in range(1, lines + 1):
        share = i / lines
        loss = 1.2 + abs(math.log10(rate) + 3) * 0.5 + 4 * math.exp(-6 * share) + rng.gauss(0, 0.12)
        out.append(json.dumps({"step": i * 10, "split": "train", "loss": loss, "accuracy": 1 - loss / 7,
                               "learning_rate": rate * min(1, 20 * share) * (1 - share),
                               "grad_norm": 1 + rng.expovariate(3), "tokens_per_second": rng.gauss(90000, 4000),
                               "tokens": i * 20480, "seconds": i * 0.227, "memory_mib": 900 + min(i, 200)}))
        if i % max(1, lines // 10) == 0:
            best = min(best, loss + 0.15)
            out.append(json.dumps({"step": i * 10, "split": "eval", "loss": loss + 0.15,
                                   "perplexity": math.exp(loss + 0.15), "accuracy": 0.95 - loss / 7}))
            (path / "samples" / f"step_{i * 10}.txt").write_text(f"--- sample 1 ---\nOnce upon a time, at {i * 10},\n" * 4)
    (path / "metrics.jsonl").write_text("\n".join(out) + "\n")
    (path / "result.json").write_text(json.dumps(
        {"version": "1.0", "reason": "finished", "step": lines * 10, "best_metric": "loss", "more_is_better": False,
         "best": best, "best_step": lines * 10, "memory_mib": 1100}))
    with open(path / "predictions.jsonl", "w") as file:
        for i in range(90):
            label = rng.choice(["negative", "neutral", "positive"])
            prediction = label if rng.random() < 0.8 else rng.choice(["negative", "neutral", "positive"])
            file.write(json.dumps({"level": i % 4, "input": f"sentence {i} of a film that nobody has seen",
                                   "label": label, "prediction": prediction, "loss": rng.random()}) + "\n")
