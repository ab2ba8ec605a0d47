#!/usr/bin/env python3
"""Writes the tables of README.md and docs/results.md from bench/results/: python bench/report.py

A table stands between <!-- NAME --> and <!-- /NAME -->.
"""
import json
import pathlib
import statistics

from tables import table, write_tables

root = pathlib.Path(__file__).parent.parent
results = root / "bench/results"


def percent(value):
    return f"{100 * value:.1f} %" if value <= 1 else f"{value:.1f} %"


def arithmetic():
    rows = []
    for row in json.loads((results / "arithmetic.json").read_text()):
        metrics = row["metrics"]
        rows.append([f"`{row['command']}`", *(percent(metrics[name]) for name in
                     ("exact_match", "exact_match_level_1", "exact_match_level_2", "exact_match_level_3")),
                     f"{row['seconds'] // 60} min {row['seconds'] % 60} s"])
    return table(["command", "exact match", "level 1", "level 2, unseen", "level 3, deeper than trained on", "time"], rows)


names = {"gpt2-train": "training step, GPT-2 124M, 4 x 256 tokens",
         "gpt2-train-f32": "the same, f32 against f32",
         "neox-train": "training step, GPT-NeoX 162M (Pythia's size), 4 x 256 tokens",
         "neox-train-f32": "the same, f32 against f32",
         "decoder-train": "training step, decoder of 3.2M parameters, 64 x 128 tokens",
         "decoder-train-f32": "the same, f32 against f32",
         "gpt2-generate": "greedy generation, GPT-2 124M, one sequence",
         "decoder-generate": "greedy generation, small decoder, 64 sequences",
         "lstm256-train-f32": "training step, LSTM of 2 layers of 256, 64 rows of 8 to 64 tokens, f32 against f32",
         "lstm512-train-f32": "the same, layers of 512",
         "lstm256-generate-f32": "greedy generation, LSTM of 2 layers of 256, 64 sequences, f32 against f32",
         "lstm512-generate-f32": "the same, layers of 512",
         "minilm-ragged": "finetuning step, MiniLM, 32 sentences as long as SST-2's",
         "minilm-ragged-f32": "the same, f32 against f32",
         "minilm": "finetuning step, MiniLM, 32 x 128 tokens",
         "minilm-f32": "the same, f32 against f32",
         "bert-mlm": "masked language model's step, BERT base, 8 x 128 tokens",
         "bert-mlm-f32": "the same, f32 against f32",
         "encdec-train": "training step, encoder-decoder 3+3 layers, 64 x (128 + 128) tokens",
         "encdec-generate": "greedy generation with it, 64 sequences",
         "bart-generate": "greedy generation, BART of that size in transformers, 64 sequences"}


def speed():
    steps = json.loads((results / "steps.json").read_text())
    rows = []
    for work in sorted(steps["works"], key=lambda work: list(names).index(work["work"])):
        best = min(work["modes"], key=lambda mode: mode["ratio"])
        rows.append([names[work["work"]], f"{best['our_tokens_per_second']:.0f}",
                     f"{best['peer_tokens_per_second']:.0f} ({best['mode']})", f"**{work['ratio']}x**"])
    return table(["work", "tokens/s", f"best of PyTorch {steps['torch'].split('+')[0]}", "ratio"], rows)


def all_modes(file="steps.json"):
    rows = []
    for work in json.loads((results / file).read_text())["works"]:
        for mode in work["modes"]:
            rows.append([work["work"], work["precision"], mode["mode"], f"{mode['our_tokens_per_second']:.0f}",
                         f"{mode['peer_tokens_per_second']:.0f}", mode["ratio"],
                         f"{min(mode['ratios'])} - {max(mode['ratios'])}", mode["our_peak_mb"], mode["peer_peak_mb"],
                         f"{100 * mode['our_peak_mb'] / mode['peer_peak_mb']:.0f} %"])
    return table(["work", "ours", "PyTorch's mode", "our tokens/s", "its tokens/s", "ratio", "range of rounds",
                  "our peak MiB", "its peak MiB", "memory"], rows)


def glue(task):
    rows = []
    for who, name in (("engine", "engine"), ("transformers", "torch")):
        runs = json.loads((results / f"{task}_{name}.json").read_text())["runs"]
        last = [run["evaluations"][-1] for run in runs]
        seconds = [run["cpu_seconds"] for run in runs if "cpu_seconds" in run]
        for metric in ("matthews", "accuracy"):
            values = [evaluation[metric] for evaluation in last]
            rows.append([who, metric, " ".join(f"{value:.3f}" for value in values), f"{statistics.mean(values):.3f}",
                         f"{statistics.stdev(values):.3f}",
                         f"{statistics.mean(seconds):.0f} s" if seconds else "not measured"])
    return table(["", "metric", "seeds 1 2 3", "mean", "standard deviation", "processor time of a run"], rows)


def sst2_epochs():
    runs = json.loads((results / "sst2_engine_3epochs.json").read_text())["runs"]
    rows = [[run.get("recipe", "transformers"), run["learning_rate"], run["seed"],
             *(percent(one["accuracy"]) for one in run["evaluations"]), f"{run['cpu_seconds']:.0f} s"] for run in runs]
    return table(["recipe", "learning rate", "seed", "epoch 1", "epoch 2", "epoch 3", "processor time"], rows)


def mlm(suffix=""):
    rows = []
    for who, name in (("engine", "engine"), ("transformers", "torch")):
        run = json.loads((results / f"mlm_{name}{suffix}.json").read_text())
        for share, line in zip(("a quarter", "half", "three quarters", "all"), run["log"]):
            rows.append([who, run["precision" if name == "engine" else "mode"], share, line["steps"],
                         f"{line['tokens'] / 1e6:.1f} M", f"{line['loss']:.3f}", f"{100 * line['accuracy']:.1f} %"])
    return table(["", "precision", "of the time", "steps", "tokens", "loss", "accuracy of masked tokens"], rows)


def embed():
    result = json.loads((results / "embed.json").read_text())
    rows = [[row["mode"], row["peer_batch"], row["our_precision"], f"{row['our_seconds']:.1f}",
             f"{row['peer_seconds']:.1f}", f"{row['ratio']}x"] for row in result["rows"]]
    return table(["transformers' mode", "its best batch", "ours", "our seconds", "its seconds", "ratio"], rows)


def self_learned():
    rows = []
    for number, row in enumerate(json.loads((results / "self_learned.json").read_text())["rounds"], 1):
        modes = " / ".join(f"{1000 * row['peer'][mode]['step']:.0f}" for mode in ("f32", "bf16"))
        rows.append([number, f"{1000 * row['ours']['step']:.0f}",
                     f"{100 * row['ours']['generating'] / row['ours']['step']:.0f} %", modes, f"{row['ratio']:.1f}x"])
    return table(["round", "our ms a step", "of it generating", "transformers' ms, f32 / bf16", "ratio to its best"], rows)


tables = {"cola": lambda: glue("cola"), "sst2": lambda: glue("sst2"), "sst2 epochs": sst2_epochs,
          "mlm": mlm, "mlm f32": lambda: mlm("_f32"), "embed": embed,
          "self learned": self_learned, "arithmetic": arithmetic, "speed": speed, "all modes": all_modes,
          "without matrix units": lambda: all_modes("steps_avx512.json"),
          "dot products": lambda: all_modes("steps_avx512_bf16.json")}
for page in (root / "README.md", root / "docs/results.md"):
    write_tables(page, tables)
