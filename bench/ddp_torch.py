#!/usr/bin/env python3
"""Training steps of the small decoder by PyTorch's DistributedDataParallel (gloo), for bench/ranks.py.

Prints, as one JSON line, the tokens of all ranks a second, the median over the steps behind the first five.
"""
import argparse
import json
import os
import statistics
import time

parser = argparse.ArgumentParser()
parser.add_argument("--ranks", type=int, default=2)
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--batch", type=int, default=64, help="sequences of all ranks together")
parser.add_argument("--length", type=int, default=128)
parser.add_argument("--steps", type=int, default=25)
parser.add_argument("--port", type=int, default=29533)
arguments = parser.parse_args()
os.environ["OMP_NUM_THREADS"] = str(arguments.threads)

import torch  # noqa: E402
import torch.distributed as dist  # noqa: E402
import torch.multiprocessing as mp  # noqa: E402
import torch.nn.functional as F  # noqa: E402

from torch_models import Decoder  # noqa: E402


def work(rank):
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(1)
    model = Decoder()
    if arguments.ranks > 1:
        dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{arguments.port}", rank=rank,
                                world_size=arguments.ranks)
        model = torch.nn.parallel.DistributedDataParallel(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    tokens = torch.randint(0, 64, (arguments.batch // arguments.ranks, arguments.length + 1))
    rates = []
    for _ in range(arguments.steps):
        begin = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(model(tokens[:, :-1]).view(-1, 64), tokens[:, 1:].reshape(-1))
        loss.backward()
        optimizer.step()
        float(loss.detach())
        rates.append(arguments.batch * arguments.length / (time.perf_counter() - begin))
    if rank == 0:
        print(json.dumps({"tokens_per_second": statistics.median(rates[5:])}), flush=True)
    if arguments.ranks > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    if arguments.ranks == 1:
        work(0)
    else:
        mp.spawn(work, nprocs=arguments.ranks)
