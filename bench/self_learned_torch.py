#!/usr/bin/env python3
"""Self-learned training steps, as the engine makes them, on transformers' BART and its generate():

    python bench/self_learned_torch.py MODEL EXPRESSIONS --batch 64 --levels 1 2 2 2 --steps 10

MODEL is a folder of a run of task scratchpad with model.architecture = "bart" (its best/ or last/), EXPRESSIONS a file of
`engine expressions`. Prints a line of JSON: the mean seconds of a step, and of its generating, in each mode.
"""
import argparse
import json
import random
import time

import torch
from transformers import BartForConditionalGeneration

CHARACTERS = "0123456789+-*()="
IDS = {c: i + 4 for i, c in enumerate(CHARACTERS)}
PAD, EOS, START = 0, 1, 3


def tree_of(text):
    def parse(at):
        if text[at] != "(":
            return (text[at], None, None, None), at + 1
        left, at = parse(at + 1)
        op = text[at]
        right, at = parse(at + 1)
        begin = f"({left[0]}{op}{right[0]})"
        return (begin, op, left, right), at + 1

    return parse(0)[0]


def padded(rows, left):
    longest = max(len(row) for row in rows)
    ids = torch.full((len(rows), longest), PAD)
    mask = torch.zeros((len(rows), longest), dtype=torch.long)
    for i, row in enumerate(rows):
        where = slice(longest - len(row), longest) if left else slice(0, len(row))
        ids[i, where] = torch.tensor(row)
        mask[i, where] = 1
    return ids, mask


def ids_of(text):
    return [IDS[c] for c in text]


class Node:
    def __init__(self, tree, root):
        self.text, self.op, left, right = tree
        self.children = [Node(child, False) for child in (left, right) if child and child[1]]
        self.left = next(iter(self.children), None) if left and left[1] else left[0]
        self.right = self.children[-1] if right and right[1] else right[0]
        self.root, self.result = root, None

    def before_value(self):
        part = lambda side: side if isinstance(side, str) else side.before_value() + side.result + ")"
        return f"({part(self.left)}{self.op}{part(self.right)}="

    def nodes(self):
        return [n for child in self.children for n in child.nodes()] + [self]


def generate_rounds(model, roots, most_new):
    """All inner results, in rounds of every node whose children are done."""
    waiting = [n for root in roots for n in root.nodes() if not n.root]
    while waiting:
        ready = [n for n in waiting if all(c.result is not None for c in n.children)]
        waiting = [n for n in waiting if n.result is None and n not in set(ready)]
        sources, mask = padded([ids_of(n.text) + [EOS] for n in ready], left=True)
        prefixes, prefix_mask = padded([[START] + ids_of(n.before_value()) for n in ready], left=True)
        written = model.generate(input_ids=sources, attention_mask=mask, decoder_input_ids=prefixes,
                                 decoder_attention_mask=prefix_mask, max_new_tokens=most_new, do_sample=False,
                                 num_beams=1)
        for node, row in zip(ready, written[:, prefixes.shape[1]:].tolist()):
            text = "".join(CHARACTERS[t - 4] for t in (row[:row.index(EOS)] if EOS in row else row) if t >= 4)
            node.result = text.split(")")[0][:most_new]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("expressions")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--levels", nargs="*", default=["1", "2", "2", "2"], help="drawn from, evenly")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--digits", type=int, default=3)
    args = parser.parse_args()
    data = json.load(open(args.expressions))["data"]["train"]
    result = {"threads": torch.get_num_threads()}
    for mode in ("f32", "bf16"):
        model = BartForConditionalGeneration.from_pretrained(args.model)
        for config in (model.generation_config, model.config):
            config.forced_eos_token_id = config.forced_bos_token_id = None
        model.generation_config.eos_token_id, model.generation_config.pad_token_id = EOS, PAD
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0)
        draws = random.Random(1)
        seconds = generating = 0.0
        with torch.autocast("cpu", torch.bfloat16, enabled=mode == "bf16"):
            for step in range(args.steps + 2):
                begin = time.perf_counter()
                texts = [draws.choice(data[draws.choice(args.levels)]) for _ in range(args.batch)]
                roots = [Node(tree_of(text), True) for text in texts]
                model.eval()
                with torch.no_grad():
                    generate_rounds(model, roots, args.digits + 1)
                between = time.perf_counter()
                model.train()
                sources, mask = padded([ids_of(t) + [EOS] for t in texts], left=False)
                befores = [root.before_value() for root in roots]
                values = [str(eval(t)) + ")" for t in texts]
                answers = [ids_of(b + v) for b, v in zip(befores, values)]
                tokens, token_mask = padded([[START] + a for a in answers], left=False)
                labels, _ = padded([a + [EOS] for a in answers], left=False)
                for i, (b, a) in enumerate(zip(befores, answers)):
                    labels[i, :len(b)] = -100
                    labels[i, len(a) + 1:] = -100
                loss = model(input_ids=sources, attention_mask=mask, decoder_input_ids=tokens,
                             decoder_attention_mask=token_mask, labels=labels).loss
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()
                if step >= 2:
                    seconds += time.perf_counter() - begin
                    generating += between - begin
        result[mode] = {"step": seconds / args.steps, "generating": generating / args.steps}
    print(json.dumps(result))


main()
