#!/usr/bin/env python3
"""How well a training is expected to scale over GPUs, by a model: python bench/scaling.py [--check]

Simulates a step of each rank of a data-parallel training (weak scaling: the batch of a rank stays the same) and writes the
tables of docs/scaling.md, each between <!-- NAME --> and <!-- /NAME -->. Nothing is measured. Needs `make
build/bench/whole_steps`. The parts of the model are:

- step_schedule.py: the engine's own list of a step's operations and exchanges, streams, buckets, the host;
- step_costs.py: the time of an operation, from its FLOPs and bytes and the rates of the GPU;
- collectives.py: the time of an exchange, by the formulas and constants of NCCL's own choice between its algorithms. A ring
  sends 2 (n - 1) / n times the bytes over each link in 2 (n - 1) steps;
- gpus.py: rates of GPUs and links, with their sources.

With --check it checks the model instead: that one GPU has an efficiency of 1 and so have many with links that cost nothing,
that a step without overlap takes the sum of its parts, that bytes of a ring are those of the formula, and that faster links
make nothing slower.
"""
import argparse
import pathlib
import sys

from collectives import Cluster
from step_schedule import Case, Costs, Exchange, Simulation, Steps, calls_of
from tables import table, write_tables

root = pathlib.Path(__file__).parent.parent

cases = (Case("GPT-2 124M, 8 x 1024 tokens", "gpt2", 8, 1024), Case("GPT-2 124M, 64 x 1024 tokens", "gpt2", 64, 1024),
         Case("BERT base, masked tokens, 32 x 512", "bert", 32, 512),
         Case("RemBERT, masked tokens, 16 x 512", "rembert", 16, 512),
         Case("RemBERT, finetuned, 16 x 512", "rembert-classes", 16, 512))
all_ranks = tuple(2 ** i for i in range(11))
some_ranks = (8, 64, 1024)
bucket_sizes = (0, 1, 4, 8, 16, 32, 64, 128, 256, 4096)
default_bucket = 32
free = Costs(*[0.0] * 5)


class Model:
    """Simulates all cases on one kind of cluster, and keeps what it has simulated."""

    def __init__(self, build, gpu, network, by):
        self.gpu, self.network, self.by = gpu, network, by
        self.steps = {case: Steps(build, case) for case in cases}
        self.done = {}

    def simulation(self, case, ranks, bucket=default_bucket, **options):
        key = case, ranks, bucket, *sorted(options.items())
        if key not in self.done:
            cluster = Cluster(ranks, self.gpu, options.pop("network", self.network))
            self.done[key] = Simulation(self.steps[case], cluster, bucket, **({"by": self.by} | options)).run()
        return self.done[key]

    def efficiency(self, case, ranks, bucket=default_bucket, **options):
        return self.simulation(case, 1).seconds / self.simulation(case, ranks, bucket, **options).seconds


def percent(share):
    return f"{100 * share:.1f}"


def efficiency_table(model, **options):
    rows = [[case.name, *(percent(model.efficiency(case, ranks, **options)) for ranks in all_ranks)] for case in cases]
    return table(["model and batch of a GPU", *all_ranks], rows)


def limit_of(simulation):
    """What costs most of what a step loses, in words."""
    loss, longest = max(simulation.lost, key=simulation.lost.get), simulation.longest
    if loss != "gradients":
        return {"values": "new values, which travel behind the update", "multiprocessors": "multiprocessors lent to NCCL",
                "gaps": "gaps between graphs", "host": "hosts"}[loss]
    part = "latency" if longest.latency > 0.5 * (longest.end - longest.begin) else "bandwidth"
    late = longest.begin - longest.ready > 0.5 * simulation.lost["gradients"]
    return f"{part}, " + ("buckets queue" if late else f"the bucket of {longest.bytes / 1e6:.0f} MB")


def limits_table(model):
    rows = []
    for case in cases:
        for name, options, numbers in (("no", {}, some_ranks), ("joined", {"shards": True, "joined": True}, some_ranks),
                                       ("today", {"shards": True}, some_ranks[:1])):
            for ranks in numbers:
                one = model.simulation(case, ranks, **options)
                rows.append([case.name, name, ranks, f"{1e3 * one.seconds:.1f}", f"{1e3 * one.computing:.1f}",
                             *(f"{1e3 * one.lost[loss]:.2f}" for loss in one.losses), limit_of(one)])
    return table(["model and batch of a GPU", "shards", "GPUs", "step ms", "operations ms", *Simulation.losses,
                  "what costs most"], rows)


def one_gpu_table(model):
    rows = []
    for case in cases:
        one, steps = model.simulation(case, 1), model.steps[case]
        sums = [line["bytes"] for line in steps.pieces(8, False) if line.get("exchange") in ("sum", "or")]
        buckets = [bucket.bytes / 1e6 for bucket in model.simulation(case, 8).buckets]
        rows.append([case.name, f"{sum(steps.parameters) / 1e6:.1f}", f"{1e3 * one.seconds:.1f}",
                     f"{case.tokens / one.seconds:,.0f}", f"{sum(sums) / 1e6:.0f}", len(buckets),
                     ", ".join(f"{size:.0f}" for size in (buckets[0], *buckets[-2:])), f"{max(buckets):.0f}"])
    return table(["model and batch of a GPU", "million parameters", "step ms", "tokens/s", "MB of gradients, of 8 GPUs", "buckets",
                  "MB of the first and the last two", "of the largest"], rows)


def memory_table(model):
    rows = []
    for case in cases:
        steps = model.steps[case]
        uses = steps.memory(8, False)
        gib = lambda size: f"{size / 2**30:.2f}"
        moments = [steps.memory(ranks, True)["moments"] for ranks in (2, 8, 64, 1024)]
        rows.append([case.name, gib(uses["weights"]), gib(uses["rounded and packed copies"]), gib(uses["gradients"] + uses["gradients of lookups"]),
                     gib(uses["moments"]), *map(gib, moments), gib(uses["activations"])])
    return table(["model and batch of a GPU", "weights", "bf16 copies", "gradients", "moments", "moments, 2 shards", "8",
                  "64", "1024", "activations"], rows)


def bucket_name(size):
    return {0: "each tensor", 4096: "all in one"}.get(size, f"{size}")


def bucket_table(model, **options):
    rows = []
    for case in cases:
        for ranks in some_ranks:
            found = {size: model.efficiency(case, ranks, size, **options) for size in bucket_sizes}
            best = max(found, key=found.get)
            rows.append([case.name, ranks, *(percent(share) for share in found.values()), bucket_name(best),
                         f"{100 * (found[best] - found[default_bucket]):.2f}"])
    return table(["model and batch of a GPU", "GPUs", *map(bucket_name, bucket_sizes), "best", "32 loses, points"], rows)


def hosts_table(model):
    rows = []
    for ranks in (8, 64, 256, 1024):
        costs = Costs()
        rows.append([ranks, *(f"{1e3 * costs.agreement(ranks, by):.2f}" for by in ("MPI", "TCP")),
                     *(percent(model.efficiency(case, ranks, by="TCP")) for case in cases)])
    return table(["GPUs", "MPI ms", "TCP ms", *(f"{case.name}, TCP" for case in cases)], rows)


def ethernet_table(model):
    rows = [[case.name, *(percent(model.efficiency(case, ranks, network="Ethernet 100 Gb/s")) for ranks in all_ranks[3:])]
            for case in cases]
    return table(["model and batch of a GPU", *all_ranks[3:]], rows)


def check(model):
    """What is wrong with the model, a line each."""
    def expect(is_right, text):
        if not is_right:
            yield text

    def near(a, b, tolerance=1e-9):
        return abs(a - b) <= tolerance * max(abs(a), abs(b))

    def ring(ranks, kind):
        return next(rate for algorithm, protocol, rate, _ in Cluster(ranks).ways(kind) if (algorithm, protocol) == ("ring", "Simple"))

    bus = Cluster(8).bus
    for ranks in (2, 8, 64):
        yield from expect(near(ring(ranks, "all_reduce"), bus / (2 * (ranks - 1) / ranks)), "bytes of a ring's all-reduce")
        yield from expect(near(ring(ranks, "reduce_scatter"), bus / ((ranks - 1) / ranks)), "bytes of a ring's halves")
    for ranks in all_ranks[1:]:
        slow, fast = (Cluster(ranks, bandwidth_scale=scale) for scale in (1, 2))
        for size in (1 << 10, 1 << 20, 1 << 28):
            yield from expect(sum(fast.seconds("all_reduce", size)) <= sum(slow.seconds("all_reduce", size)),
                              f"an all-reduce of {size} bytes among {ranks} is slower on faster links")
            yield from expect(sum(slow.seconds("all_reduce", size)) <= sum(slow.seconds("all_reduce", 2 * size)),
                              f"an all-reduce of {size} bytes among {ranks} is slower than of twice as many")
            most = max(1e-6 * 1.4 * latency + size / (1e9 * rate) for algorithm, _, rate, latency in slow.ways("all_reduce")
                       if algorithm == "ring")
            yield from expect(sum(slow.seconds("all_reduce", size)) < most,
                              f"an all-reduce of {size} bytes among {ranks} does not go the fastest way")
    yield from check_lending(model, expect, near)
    for elements, ranks, parts in ((768, 2, 2), (768, 8, 6), (769, 8, 7), (50257 * 768, 1024, 1024)):  # of 128 elements or more
        calls = calls_of({"exchange": "reduce_scatter", "bytes": 4 * elements}, Cluster(ranks, box=ranks), joined=False)
        yield from expect(len(calls) == parts and near(sum(size for _, size in calls), 4 * elements),
                          f"{elements} elements among {ranks} ranks are {len(calls)} parts, not {parts}")
    for case in cases:
        yield from check_case(model, case, expect, near)


def check_lending(model, expect, near):
    """An exchange takes multiprocessors from what is computed meanwhile."""
    cluster = Cluster(8)
    simulation = Simulation(model.steps[cases[0]], cluster).run(1)
    simulation.compute, simulation.host, simulation.buckets = 0.0, 0.0, [Exchange(0.0, 1.0, 3.0, 0.0, 1)]
    simulation.work(2.0)  # one second alone, the other beside the exchange
    yield from expect(near(simulation.compute, 1 + 1 / (1 - cluster.lent)), "work beside an exchange is not slower by its share")
    simulation.work(2 * (1 - cluster.lent))
    late = 1 + 1 / (1 - cluster.lent)
    yield from expect(near(simulation.compute, 3 + (2 - (3 - late)) * (1 - cluster.lent)), "work that outlasts an exchange")


def check_case(model, case, expect, near):
    steps = model.steps[case]
    alone = model.simulation(case, 1)
    yield from expect(near(alone.seconds, alone.computing), f"{case.name}: one GPU waits for something")
    for ranks in (8, 1024):
        for shards in (False, True):
            name = f"{case.name}, {ranks} GPUs{', shards' if shards else ''}"
            perfect = Cluster(ranks, bandwidth_scale=1e15, latency_scale=0)
            ideal = Simulation(steps, perfect, shards=shards, costs=free).run()
            yield from expect(near(ideal.seconds, ideal.computing), f"{name}: links that cost nothing cost something")
            if not shards:
                # Rows of tables of tokens are gathered, and added to what has arrived.
                yield from expect(0 <= ideal.seconds / alone.seconds - 1 < 0.02, f"{name}: the efficiency on such links is not 1")
            bare = Simulation(steps, Cluster(ranks), shards=shards, joined=True, costs=free, overlaps=False).run()
            parts = bare.computing + sum(bucket.end - bucket.begin for bucket in bare.buckets)
            yield from expect(near(bare.seconds, parts), f"{name}: without overlap a step is not the sum of its parts")
            real = Simulation(steps, Cluster(ranks), shards=shards, joined=True, costs=free).run()
            yield from expect(real.seconds < 0.999 * bare.seconds, f"{name}: nothing overlaps")
            fast = Simulation(steps, Cluster(ranks, bandwidth_scale=2), shards=shards, joined=True, costs=free).run()
            yield from expect(fast.seconds <= real.seconds * (1 + 1e-9), f"{name}: faster links make it slower")
            for joined in {False, shards}:
                one = model.simulation(case, ranks, shards=shards, joined=joined)
                yield from expect(one.seconds >= alone.seconds, f"{name}: the efficiency is above 1")
                yield from expect(near(one.seconds, one.computing + sum(one.lost.values())) and min(one.lost.values()) > -1e-9,
                                  f"{name}: operations and losses are not the step: {one.lost}")
    for ranks in all_ranks[1:]:
        today, best = (model.efficiency(case, ranks, shards=True, pipelined=pipelined) for pipelined in (False, True))
        yield from expect(today <= best + 1e-9, f"{case.name}, {ranks} shards: better where nothing is pipelined")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=root / "build")
    parser.add_argument("--check", action="store_true", help="check the model instead")
    parser.add_argument("--print", nargs="+", metavar="TABLE", help="print these tables instead of writing the page")
    parser.add_argument("--gpu", default="H100", choices=("A100", "H100"))
    parser.add_argument("--network", default="NDR", choices=("HDR", "NDR", "Ethernet 100 Gb/s"), help="between boxes of 8 GPUs")
    parser.add_argument("--hosts", default="MPI", choices=("MPI", "TCP"), help="what carries what hosts tell one another")
    arguments = parser.parse_args()
    model = Model(arguments.build, arguments.gpu, arguments.network, arguments.hosts)
    if arguments.check:
        problems = list(check(model))
        print(*problems, sep="\n")
        sys.exit(1 if problems else 0)
    tables = {"one_gpu": lambda: one_gpu_table(model), "efficiency": lambda: efficiency_table(model),
              "joined": lambda: efficiency_table(model, shards=True, joined=True),
              "sharded": lambda: efficiency_table(model, shards=True),
              "pipelined": lambda: efficiency_table(model, shards=True, pipelined=True), "limits": lambda: limits_table(model),
              "memory": lambda: memory_table(model), "buckets": lambda: bucket_table(model),
              "buckets_joined": lambda: bucket_table(model, shards=True, joined=True),
              "hosts": lambda: hosts_table(model), "ethernet": lambda: ethernet_table(model)}
    if arguments.print:
        for name in arguments.print:
            print(f"{name}\n{tables[name]()}\n")
    else:
        write_tables(root / "docs/scaling.md", tables)


if __name__ == "__main__":
    main()
