#!/usr/bin/env python3
"""Training steps of the small decoder or of MiniLM by PyTorch's DistributedDataParallel (gloo), for bench/ranks.py.

Prints, as one JSON line, the tokens of all ranks a second over the steps behind the first five, without padding.
MiniLM needs transformers.
"""
import argparse
import json
import os
import pathlib
import time

parser = argparse.ArgumentParser()
parser.add_argument("--ranks", type=int, default=2)
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--model", choices=["decoder", "minilm"], default="decoder")
parser.add_argument("--steps", type=int, default=25)
parser.add_argument("--port", type=int, default=29533)
arguments = parser.parse_args()
os.environ["OMP_NUM_THREADS"] = str(arguments.threads)

import torch  # noqa: E402
import torch.distributed as dist  # noqa: E402
import torch.multiprocessing as mp  # noqa: E402
import torch.nn.functional as F  # noqa: E402

from torch_models import Decoder  # noqa: E402


def decoder(rank):
    """The model, and a function of a step's number to its loss and its tokens."""
    model = Decoder()
    tokens = torch.randint(0, 64, (64 // arguments.ranks, 128 + 1))

    def loss_of(wrapped, step):
        loss = F.cross_entropy(wrapped(tokens[:, :-1]).view(-1, 64), tokens[:, 1:].reshape(-1))
        return loss, 64 * 128
    return model, loss_of


def minilm(rank):
    import transformers
    model = transformers.BertForSequenceClassification(transformers.BertConfig(
        hidden_dropout_prob=0, attention_probs_dropout_prob=0, hidden_size=384, num_hidden_layers=6,
        num_attention_heads=12, intermediate_size=1536))
    lines = (pathlib.Path(__file__).parent / "sst2_lengths.txt").read_text().splitlines()

    def loss_of(wrapped, step):
        lengths = [int(n) for n in lines[step % len(lines)].split()]
        own = torch.tensor(lengths[rank::arguments.ranks])
        mask = (torch.arange(int(own.max()))[None] < own[:, None]).long()
        tokens = torch.randint(0, 30522, mask.shape)
        return wrapped(input_ids=tokens, attention_mask=mask, labels=torch.randint(0, 2, own.shape)).loss, sum(lengths)
    return model, loss_of


def work(rank):
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(1)
    model, loss_of = {"decoder": decoder, "minilm": minilm}[arguments.model](rank)
    if arguments.ranks > 1:
        dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{arguments.port}", rank=rank,
                                world_size=arguments.ranks)
        model = torch.nn.parallel.DistributedDataParallel(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    counted = 0
    for step in range(arguments.steps):
        if step == 5:
            counted, begin = 0, time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        loss, tokens = loss_of(model, step)
        loss.backward()
        optimizer.step()
        float(loss.detach())
        counted += tokens
    if rank == 0:
        print(json.dumps({"tokens_per_second": counted / (time.perf_counter() - begin)}), flush=True)
    if arguments.ranks > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    if arguments.ranks == 1:
        work(0)
    else:
        mp.spawn(work, nprocs=arguments.ranks)
