#!/usr/bin/env python3
"""The same work as bench/steps/main.cc, in PyTorch: whole training steps and greedy generation.

Speaks the protocol of bench/compare.py: prints one JSON line when ready; then, for each number n read from standard
input, does n steps and prints {"seconds": [...], "tokens": t, "loss": l, "peak_mb": m}. Needs torch and transformers.
A training step is zero_grad, forward, loss, backward, AdamW (fused). Random tokens, no dropout, every token scored.
"""
import argparse
import json
import os
import sys
import time

parser = argparse.ArgumentParser()
parser.add_argument("--model", choices=["gpt2", "decoder"], required=True)
parser.add_argument("--work", choices=["train", "generate"], default="train")
parser.add_argument("--batch", type=int, default=4)
parser.add_argument("--length", type=int, default=256, help="tokens a sequence")
parser.add_argument("--prompt", type=int, default=32)
parser.add_argument("--new", type=int, default=64)
parser.add_argument("--mode", default="f32", choices=["f32", "bf16", "bf16-weights", "f32-compiled", "bf16-compiled",
                                                      "bf16-weights-compiled"])
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
arguments = parser.parse_args()
os.environ["OMP_NUM_THREADS"] = str(arguments.threads)

import torch  # noqa: E402
import torch.nn as nn  # noqa: E402
import torch.nn.functional as F  # noqa: E402

torch.set_num_threads(arguments.threads)
torch.manual_seed(1)
torch.set_default_device(arguments.device)
bf16 = arguments.mode.startswith("bf16")
bf16_weights = arguments.mode.startswith("bf16-weights")
compiled = arguments.mode.endswith("compiled")


class Block(nn.Module):
    def __init__(self, width, heads, inner):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.output = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, x, cache=None, position=0):
        B, T, C = x.shape
        q, k, v = (y.view(B, T, self.heads, -1).transpose(1, 2) for y in self.qkv(self.norm1(x)).split(C, 2))
        if cache is not None:
            cache[0][:, :, position:position + T], cache[1][:, :, position:position + T] = k, v
            k, v = cache[0][:, :, :position + T], cache[1][:, :, :position + T]
        y = F.scaled_dot_product_attention(q, k, v, is_causal=T > 1)
        x = x + self.output(y.transpose(1, 2).reshape(B, T, C))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class Decoder(nn.Module):
    """The small decoder: 256 wide, 4 layers, 8 heads, vocabulary 64."""

    def __init__(self, vocabulary=64, positions=512, width=256, layers=4, heads=8, inner=1024):
        super().__init__()
        self.vocabulary = vocabulary
        self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(positions, width)
        self.blocks = nn.ModuleList(Block(width, heads, inner) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        for parameter in self.parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, 0, 0.02)

    def forward(self, ids, caches=None, position=0):
        T = ids.shape[1]
        x = self.tokens(ids) + self.positions.weight[position:position + T]
        for i, block in enumerate(self.blocks):
            x = block(x, caches[i] if caches else None, position)
        if caches:
            x = x[:, -1:]
        return F.linear(self.norm(x), self.tokens.weight)


def build():
    if arguments.model == "decoder":
        return Decoder(), 64
    from transformers import GPT2Config, GPT2LMHeadModel
    model = GPT2LMHeadModel(GPT2Config(resid_pdrop=0, embd_pdrop=0, attn_pdrop=0))
    return model, model.config.vocab_size


model, vocabulary = build()
autocast = torch.autocast(arguments.device, dtype=torch.bfloat16, enabled=bf16 and not bf16_weights)
B, T = arguments.batch, arguments.length

if arguments.work == "train":
    tokens = torch.randint(0, vocabulary, (B, T + 1))
    inputs, labels = tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    run = torch.compile(model) if compiled else model

    def step():
        optimizer.zero_grad(set_to_none=True)
        with autocast:
            if arguments.model == "gpt2":
                logits = run(input_ids=inputs, use_cache=False).logits
            else:
                logits = run(inputs)
            loss = F.cross_entropy(logits.float().view(-1, vocabulary), labels.view(-1))
        loss.backward()
        optimizer.step()
        return float(loss.detach())
    tokens_per_step = B * T
else:
    model.eval()
    if bf16_weights:
        model = model.to(torch.bfloat16)
    kind = torch.bfloat16 if bf16 else torch.float32
    prompt = torch.randint(0, vocabulary, (B, arguments.prompt))
    run = torch.compile(model, dynamic=True) if compiled else model

    @torch.inference_mode()
    def step():
        with autocast:
            current, length = prompt, arguments.prompt + arguments.new
            if arguments.model == "gpt2":
                past = None
                for _ in range(arguments.new):
                    result = run(input_ids=current, past_key_values=past, use_cache=True, logits_to_keep=1)
                    past, current = result.past_key_values, result.logits[:, -1].argmax(-1, keepdim=True)
            else:
                caches = [[torch.zeros(B, 8, length, 32, dtype=kind) for _ in "kv"] for _ in model.blocks]
                position = 0
                for _ in range(arguments.new):
                    logits = run(current, caches, position)
                    position += current.shape[1]
                    current = logits[:, -1].argmax(-1, keepdim=True)
        return 0.0
    tokens_per_step = B * arguments.new

for _ in range(2):
    loss = step()
print(json.dumps({"ready": True, "torch": torch.__version__}), flush=True)
for line in sys.stdin:
    seconds = []
    for _ in range(int(line)):
        begin = time.perf_counter()
        loss = step()
        seconds.append(time.perf_counter() - begin)
    status = open("/proc/self/status").read()  # getrusage counts the memory of the program that started this one, too
    peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
    print(json.dumps({"seconds": seconds, "tokens": tokens_per_step, "loss": loss, "peak_mb": round(peak)}), flush=True)
