#!/usr/bin/env python3
"""Finetuning on SQuAD with transformers, as its example run_qa does it: the other side of bench/squad.py.

    python bench/squad_torch.py MODEL --train train-v1.1.json --dev dev-v1.1.json --first 8760 --warmup_steps 30 \
        --seeds 1 2 3 --output bench/results/squad_torch.json
    python bench/squad_torch.py MODEL ... --steps 20 --windows 500 --output speed.json

Windows of 384 tokens with an overlap of 128, batches of like length padded to their longest window, AdamW (decay of
matrices alone), a rate that rises over --warmup_steps and falls linearly, clipping at 1, the model's dropout. An answer is
the best pair of the 20 likeliest beginnings and ends of any window, 30 tokens long at most. --steps ends each training
early and --windows each evaluation, to measure their speed: seconds are of training alone, predict_seconds of the
predictions with their postprocessing. Writes after each seed, beside the seeds that the output has already. Needs
torch, numpy and transformers.
"""
import argparse
import collections
import json
import pathlib
import random
import re
import resource
import string
import time

from length_batches import batches

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("model", type=pathlib.Path)
parser.add_argument("--train", type=pathlib.Path, required=True)
parser.add_argument("--dev", type=pathlib.Path, required=True)
parser.add_argument("--first", type=int, default=0, help="so many questions of the training's file; 0: all")
parser.add_argument("--epochs", type=int, default=2)
parser.add_argument("--steps", type=int, default=0, help="of a training at most; 0: all")
parser.add_argument("--windows", type=int, default=0, help="of an evaluation at most; 0: all")
parser.add_argument("--batch", type=int, default=32)
parser.add_argument("--learning_rate", type=float, default=1e-4)
parser.add_argument("--warmup_steps", type=int, default=300)
parser.add_argument("--seeds", nargs="*", type=int, default=[1, 2, 3])
parser.add_argument("--mode", choices=["f32", "bf16", "f32-compiled", "bf16-compiled", "f32-as-bf16"], default="f32")
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--output", type=pathlib.Path, required=True)
arguments = parser.parse_args()

import numpy  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402

torch.set_num_threads(arguments.threads)
if arguments.mode == "f32-as-bf16":
    torch.backends.mkldnn.matmul.fp32_precision = "bf16"


def questions_of(file, count=0):
    rows = []
    for article in json.loads(file.read_text())["data"]:
        for paragraph in article["paragraphs"]:
            for qa in paragraph["qas"]:
                rows.append((qa["id"], qa["question"].lstrip(), paragraph["context"], qa["answers"]))
                if count and len(rows) == count:
                    return rows
    return rows


def windows_of(tokenizer, rows):
    return tokenizer([row[1] for row in rows], [row[2] for row in rows], truncation="only_second", max_length=384,
                     stride=128, return_overflowing_tokens=True, return_offsets_mapping=True)


def labelled(tokenizer, rows):
    """(ids, types, start, end) of every window."""
    encoded, result = windows_of(tokenizer, rows), []
    for i, ids in enumerate(encoded["input_ids"]):
        answer = rows[encoded["overflow_to_sample_mapping"][i]][3][0]
        begin, end = answer["answer_start"], answer["answer_start"] + len(answer["text"])
        places = [t for t, s in enumerate(encoded.sequence_ids(i)) if s == 1]
        offsets = encoded["offset_mapping"][i]
        start = stop = 0
        if offsets[places[0]][0] <= begin and offsets[places[-1]][1] >= end:
            start = max(t for t in places if offsets[t][0] <= begin)
            stop = min(t for t in places if offsets[t][1] >= end)
        result.append((ids, encoded["token_type_ids"][i], start, stop))
    return result


def padded(windows):
    longest = max(len(ids) for ids, *_ in windows)
    pad = [longest - len(ids) for ids, *_ in windows]
    return {"input_ids": torch.tensor([ids + [0] * p for (ids, *_), p in zip(windows, pad)]),
            "token_type_ids": torch.tensor([types + [0] * p for (_, types, *_), p in zip(windows, pad)]),
            "attention_mask": torch.tensor([[1] * (longest - p) + [0] * p for p in pad])}


def normalized(text):
    text = "".join(c for c in text.lower() if c not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def f1(answer, truth):
    a, b = normalized(answer).split(), normalized(truth).split()
    common = sum((collections.Counter(a) & collections.Counter(b)).values())
    return 2 * common / (len(a) + len(b)) if common else 0.0


class Evaluation:
    def __init__(self, tokenizer, rows):
        begin = time.perf_counter()
        encoded = windows_of(tokenizer, rows)
        count = arguments.windows or len(encoded["input_ids"])
        self.rows = rows
        self.windows = list(zip(encoded["input_ids"], encoded["token_type_ids"]))[:count]
        self.owner = encoded["overflow_to_sample_mapping"][:count]
        self.offsets = [[o if s == 1 else None for o, s in zip(encoded["offset_mapping"][i], encoded.sequence_ids(i))]
                        for i in range(count)]
        self.seconds = time.perf_counter() - begin

    @torch.inference_mode()
    def run(self, model):
        begin = time.perf_counter()
        logits = [None] * len(self.windows)
        order = sorted(range(len(self.windows)), key=lambda i: -len(self.windows[i][0]))
        for at in range(0, len(order), 32):
            chosen = order[at:at + 32]
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=arguments.mode.startswith("bf16")):
                output = model(**padded([self.windows[i] for i in chosen]))
            starts, ends = output.start_logits.float().numpy(), output.end_logits.float().numpy()
            for row, i in enumerate(chosen):
                logits[i] = starts[row][:len(self.windows[i][0])], ends[row][:len(self.windows[i][0])]
        best = {}
        for i, (starts, ends) in enumerate(logits):
            owner, offsets = self.owner[i], self.offsets[i]
            for s in numpy.argsort(starts)[-1:-21:-1].tolist():
                for e in numpy.argsort(ends)[-1:-21:-1].tolist():
                    if offsets[s] is None or offsets[e] is None or e < s or e - s + 1 > 30:
                        continue
                    score = starts[s] + ends[e]
                    if owner not in best or score > best[owner][0]:
                        best[owner] = score, offsets[s][0], offsets[e][1]
        answers = {owner: self.rows[owner][2][b:e] for owner, (_, b, e) in best.items()}
        seconds = time.perf_counter() - begin + self.seconds
        owners = sorted(set(self.owner))
        exact = sum(max(normalized(answers.get(o, "")) == normalized(t["text"]) for t in self.rows[o][3]) for o in owners)
        fs = sum(max(f1(answers.get(o, ""), t["text"]) for t in self.rows[o][3]) for o in owners)
        return {"exact_match": 100 * exact / len(owners), "f1": 100 * fs / len(owners), "windows": len(self.windows),
                "predict_seconds": round(seconds, 1)}


def main():
    tokenizer = transformers.AutoTokenizer.from_pretrained(arguments.model)
    tokenizer.model_max_length = 512
    train = labelled(tokenizer, questions_of(arguments.train, arguments.first))
    lengths = [len(ids) for ids, *_ in train]
    evaluation = Evaluation(tokenizer, questions_of(arguments.dev))
    results = {"model": arguments.model.name, "mode": arguments.mode, "threads": arguments.threads,
               "torch": torch.__version__, "transformers": transformers.__version__, "runs": []}
    if arguments.output.exists():  # seeds that were done before
        before = json.loads(arguments.output.read_text())
        same = all(before[key] == results[key] for key in results if key != "runs")
        assert same, f"{arguments.output} has other settings"
        results["runs"] = [run for run in before["runs"] if run["seed"] not in arguments.seeds]
    for seed in arguments.seeds:
        torch.manual_seed(seed)
        generator = random.Random(seed)
        model = transformers.AutoModelForQuestionAnswering.from_pretrained(arguments.model)
        plain = model.train()
        if arguments.mode.endswith("compiled"):
            model = torch.compile(model, dynamic=True)
        optimizer = torch.optim.AdamW(
            [{"params": [p for p in plain.parameters() if p.dim() >= 2], "weight_decay": 0.01},
             {"params": [p for p in plain.parameters() if p.dim() < 2], "weight_decay": 0.0}],
            lr=arguments.learning_rate, fused=True)
        steps = arguments.epochs * len(batches(lengths, arguments.batch, random.Random(0)))
        warmup = arguments.warmup_steps
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda s: (s + 1) / warmup if s < warmup else max(0.0, (steps - s) / (steps - warmup)))
        run = {"seed": seed, "first": arguments.first, "epochs": arguments.epochs}
        done, tokens, seconds = 0, 0, 0.0
        while done < (arguments.steps or steps):
            for batch in batches(lengths, arguments.batch, generator):
                begin = time.perf_counter()
                rows = [train[i] for i in batch]
                with torch.autocast("cpu", dtype=torch.bfloat16, enabled=arguments.mode.startswith("bf16")):
                    loss = model(**padded(rows), start_positions=torch.tensor([r[2] for r in rows]),
                                 end_positions=torch.tensor([r[3] for r in rows])).loss
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                done += 1
                if not arguments.steps or done > arguments.steps // 4:  # the first steps of a short run warm up
                    seconds += time.perf_counter() - begin
                    tokens += sum(len(ids) for ids, *_ in rows)
                if done == (arguments.steps or steps):
                    break
                if done % 50 == 0:
                    print(seed, done, steps, round(loss.item(), 3), round(seconds), flush=True)
        run.update(steps=done, tokens=tokens, seconds=round(seconds, 1), **evaluation.run(plain.eval()))
        run["megabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        results["runs"].append(run)
        print(run, flush=True)
        arguments.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
