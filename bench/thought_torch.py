#!/usr/bin/env python3
"""The same work with thought tokens as bench/steps/main.cc, in PyTorch, as one would write it by hand for speed.

    --work score    rows are scored without gradients
    --work search   16 passes over the rows: the rank of a thought at every position, a trial in each row, and the better
                    half of the trials is kept. --way whole runs whole rows again (the original does it twice a pass; here
                    what is known of a row is kept, so each pass runs its trials alone); --way cached runs only what
                    comes behind the trials, padded to the longest, on caches of keys and values.
    --work train    a step with gradients through `unroll` passes over rows with thoughts, as the original does it

Speaks the protocol of bench/compare.py.
"""
import argparse
import json
import os
import sys
import time

parser = argparse.ArgumentParser()
parser.add_argument("--model", choices=["decoder", "gpt2"], default="decoder")
parser.add_argument("--work", choices=["train", "score", "search"], required=True)
parser.add_argument("--way", choices=["whole", "cached"], default="whole")
parser.add_argument("--batch", type=int, default=24)
parser.add_argument("--length", type=int, default=512)
parser.add_argument("--thoughts", type=int, default=0)
parser.add_argument("--vocabulary", type=int, default=0, help="tokens, instead of the model's own number")
parser.add_argument("--unroll", type=int, default=1)
parser.add_argument("--passes", type=int, default=16)
parser.add_argument("--mode", default="f32", choices=["f32", "bf16", "f32-compiled", "bf16-compiled"])
parser.add_argument("--threads", type=int, default=2)
arguments = parser.parse_args()
os.environ["OMP_NUM_THREADS"] = str(arguments.threads)

import torch  # noqa: E402
import torch.nn as nn  # noqa: E402
import torch.nn.functional as F  # noqa: E402

from torch_models import Decoder  # noqa: E402

torch.set_num_threads(arguments.threads)
torch.manual_seed(1)
compiled = arguments.mode.endswith("compiled")
autocast = torch.autocast("cpu", dtype=torch.bfloat16, enabled=arguments.mode.startswith("bf16"))
B, T = arguments.batch, arguments.length


class ThoughtDecoder(Decoder):
    """A decoder whose thoughts inject, at the beginning of every block, what was captured of the token before them."""

    def __init__(self, **sizes):
        super().__init__(**sizes)
        width, layers = self.tokens.weight.shape[1], len(self.blocks)
        self.capture = nn.Parameter(torch.arange(layers).float() // max(1, layers // 6))
        self.inject = nn.Parameter(1 - torch.arange(layers).float() / layers)
        self.state_norm = nn.LayerNorm(width)

    def one_pass(self, ids, states):
        x = self.tokens(ids) + self.positions.weight[:ids.shape[1]]
        shares, captured = torch.softmax(self.capture, 0), 0
        for layer, block in enumerate(self.blocks):
            if states is not None:
                x = x + torch.relu(self.inject[layer]) * states
            x = block(x)
            captured = captured + shares[layer] * x
        captured = F.pad(self.state_norm(captured)[:, :-1], (0, 0, 1, 0))
        return x, torch.where((ids == self.vocabulary - 1)[..., None], captured, 0)

    def forward(self, ids, labels, unroll):
        """Returns the negative log likelihoods [B, T], and the rank of a thought at each place where asked for."""
        states = None
        for _ in range(unroll):
            x, states = self.one_pass(ids, states)
        logits = F.linear(self.norm(x), self.tokens.weight)
        return F.cross_entropy(logits.float().flatten(0, 1), labels.flatten(), reduction="none").view(labels.shape), logits

    def cached_block(self, block, x, keys, values, places, mask):
        """Runs a block over new positions [B, n] at `places`, whose keys and values are written to the caches."""
        count, width = x.shape[1:]
        q, k, v = (y.view(B, count, block.heads, -1).transpose(1, 2)
                   for y in block.qkv(block.norm1(x)).split(width, 2))
        index = places[:, None, :, None].expand_as(k)
        keys, values = keys.scatter(2, index, k.to(keys.dtype)), values.scatter(2, index, v.to(values.dtype))
        y = F.scaled_dot_product_attention(q, keys.to(q.dtype), values.to(q.dtype), attn_mask=mask)
        x = x + block.output(y.transpose(1, 2).reshape(B, count, width))
        return x + block.down(F.gelu(block.up(block.norm2(x)), approximate="tanh")), keys, values

    def run_cached(self, ids, places, caches):
        """Runs tokens [B, n] at their places over the caches. Returns logits and the new caches."""
        x = self.tokens(ids) + self.positions(places)
        mask = torch.arange(caches[0][0].shape[2])[None, None, None] <= places[:, None, :, None]
        new = []
        for block, (keys, values) in zip(self.blocks, caches):
            x, keys, values = self.cached_block(block, x, keys, values, places, mask)
            new.append((keys, values))
        return F.linear(self.norm(x), self.tokens.weight), new


sizes = dict(positions=max(512, T + arguments.passes))
if arguments.model == "gpt2":
    sizes.update(vocabulary=50257, positions=1024, width=768, layers=12, heads=12, inner=3072)
if arguments.vocabulary:
    sizes.update(vocabulary=arguments.vocabulary)
model = ThoughtDecoder(**sizes)
thought = model.vocabulary - 1
rows = torch.randint(0, thought, (B, T))
for row in rows if arguments.thoughts else []:
    row[1 + torch.randperm(T - 1)[:arguments.thoughts]] = thought
run = torch.compile(model) if compiled else model


def losses_and_ranks(logits, labels):
    losses = F.cross_entropy(logits.float().flatten(0, 1), labels.flatten(), reduction="none").view(labels.shape)
    ranks = (logits > logits[..., thought:]).sum(-1) + 1
    return losses, ranks


def train_step():
    optimizer.zero_grad(set_to_none=True)
    with autocast:
        loss = run(rows, torch.roll(rows, -1, 1), arguments.unroll)[0].mean()
    loss.backward()
    optimizer.step()
    return float(loss.detach())


@torch.inference_mode()
def score_step():
    with autocast:
        return float(run(rows[:, :-1], rows[:, 1:], arguments.unroll)[0].mean())


@torch.inference_mode()
def search_step():
    """Returns the mean gain of all trials. A row keeps its length T + passes; what lies behind its end is not read."""
    total = T + arguments.passes
    tokens = F.pad(rows, (0, arguments.passes))
    lengths = torch.full((B,), T)
    each, heads = torch.arange(B), model.blocks[0].heads
    width = model.tokens.weight.shape[1] // heads
    kind = torch.bfloat16 if arguments.mode.startswith("bf16") else torch.float32
    gains = []
    with autocast:
        labels = torch.roll(tokens, -1, 1)
        if arguments.way == "whole":
            losses, ranks = losses_and_ranks(whole(tokens, labels), labels)
        else:
            caches = [tuple(torch.zeros(B, heads, total, width, dtype=kind) for _ in "kv") for _ in model.blocks]
            logits, caches = cached(tokens, torch.arange(total).expand(B, -1), caches)
            losses, ranks = losses_and_ranks(logits, labels)
        refused = torch.zeros(B, total, dtype=torch.bool)
        places_of = torch.arange(total).expand(B, -1)
        for _ in range(arguments.passes):
            # The first place where a thought is the top is that of the least rank, too.
            free = (places_of < lengths[:, None] - 1) & ~refused & (labels != thought)
            place = torch.where(free, ranks, 1 << 30).argmin(1)
            behind = places_of > place[:, None]
            trial = torch.where(behind, torch.roll(tokens, 1, 1), tokens)
            trial[each, place + 1] = thought
            trial_labels = torch.roll(trial, -1, 1)
            if arguments.way == "whole":
                new_losses, new_ranks = losses_and_ranks(whole(trial, trial_labels), trial_labels)
            else:
                count = int((lengths + 1 - place).max())
                places = torch.clamp(place[:, None] + torch.arange(count), max=total - 1)
                logits, new_caches = cached(torch.gather(trial, 1, places), places, caches)
                some_losses, some_ranks = losses_and_ranks(logits, torch.gather(trial_labels, 1, places))
                new_losses = losses.scatter(1, places, some_losses)
                new_ranks = ranks.scatter(1, places, some_ranks)
            is_target = (places_of < lengths[:, None] - 1) & (labels != thought) & (places_of >= place[:, None])
            is_new_target = (places_of < lengths[:, None]) & (trial_labels != thought) & behind
            before = (losses * is_target).sum(1) / is_target.sum(1)
            after = (new_losses * is_new_target).sum(1) / is_new_target.sum(1)
            gain = before - after
            gains.append(float(gain.mean()))
            kept = torch.zeros(B, dtype=torch.bool)
            kept[gain.topk((B + 1) // 2).indices] = True
            choose = kept[:, None]
            refused = torch.where(choose, torch.where(behind, torch.roll(refused, 1, 1), refused), refused)
            refused[each, place] |= ~kept
            tokens, labels = torch.where(choose, trial, tokens), torch.where(choose, trial_labels, labels)
            losses, ranks = torch.where(choose, new_losses, losses), torch.where(choose, new_ranks, ranks)
            lengths = lengths + kept
            if arguments.way == "cached":
                wide = kept[:, None, None, None]
                caches = [tuple(torch.where(wide, new, old) for new, old in zip(pair, before_pair))
                          for pair, before_pair in zip(new_caches, caches)]
    return sum(gains) / len(gains)


def whole(ids, labels):
    return run(ids, labels, arguments.unroll)[1]


if arguments.work == "train":
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
else:
    model.eval()
if arguments.way == "cached" and arguments.unroll > 1:
    sys.exit("thought_torch.py: the cached search has no thought states")
cached = torch.compile(model.run_cached, dynamic=True) if compiled else model.run_cached
step = {"train": train_step, "score": score_step, "search": search_step}[arguments.work]
for _ in range(2):
    result = step()
print(json.dumps({"ready": True, "torch": torch.__version__}), flush=True)
for line in sys.stdin:
    seconds = []
    for _ in range(int(line)):
        begin = time.perf_counter()
        result = step()
        seconds.append(time.perf_counter() - begin)
    status = open("/proc/self/status").read()
    peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
    print(json.dumps({"seconds": seconds, "tokens": B * T, "sequences": B, "loss": result, "peak_mb": round(peak)}),
          flush=True)
