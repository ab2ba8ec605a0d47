"""How long NCCL's exchanges are expected to take, by the model with which NCCL chooses between its own algorithms.

Formulas and constants are those of ncclTopoTuneModel and ncclTopoGetAlgoTime in src/graph/tuning.cc of
github.com/NVIDIA/nccl, version 2.30.7. An exchange of B bytes among n ranks, r of them in each of m boxes, takes

    time = latency + B / (bus bandwidth * ratio)

and NCCL takes the algorithm and the protocol for which that is least:

| algorithm | ratio | latency behind the base |
|---|---|---|
| ring, all-reduce | n / (2 (n - 1)), so that 2 (n - 1) / n B bytes pass each link | 2 (n - m) steps in boxes, 2 (m - 1) between |
| ring, reduce-scatter or all-gather | n / (n - 1) | n - m steps in boxes, m - 1 between |
| ring, reduce to one rank or broadcast | 1 | one step in a box, n steps where there are several boxes |
| tree, all-reduce: a chain in each box, a double tree over the boxes | 1 / 2 | 2 (r - 1) steps in a box, 2 log2(m) between |

A bus is NVLink in a box. Between boxes it is the slower one of NVLink and all adapters of a box, each of which carries
the rings that leave the box there. Bandwidths are those that NCCL counts on (gpus.py). Exchanges of a group that differ
less than fourfold in size go together. On a ring as many latencies pass as exchanges fall to each channel.

Left out are reductions in switches (NVLink SHARP, InfiniBand SHARP), which NCCL uses where it finds them, and the time
of adapters beyond NCCL's latencies.
"""
import dataclasses
import math

from gpus import multiprocessors, networks, nvlinks

protocols = ("LL", "LL128", "Simple")
# Microseconds, by protocol.
base_latency = {"tree": (6.8, 14.0, 8.4), "ring": (6.6, 14.0, 8.4)}
step_latency = {("NVLink", "tree"): (0.6, 1.25, 4.0), ("NVLink", "ring"): (0.6, 1.9, 3.4),
                ("network", "tree"): (5.0, 8.5, 14.0), ("network", "ring"): (2.7, 4.0, 14.0)}
# GB/s of the LL protocol at most, in 1, 2 and more boxes. Boxes of A100s have AMD's processors, of H100s Intel's.
most_by_ll = {"A100": (87.7, 22.5, 19.0), "H100": (141.0, 39.0, 20.4)}
# Part of its bandwidth that a tree has, for 64 B, 128 B, 256 B, ...
tree_share = {"LL": (1, 1, 1, 1, .9, .8, .7, .7, .7, .7, .6, .5, .4, .4, .5, .6, .7, .8, .9, 1, 1, 1, 1, 1),
              "LL128": (1, 1, 1, 1, 1, .9, .8, .8, .8, .7, .6, .6, .6, .6, .6, .6, .8, .9, .9, .9, .9, 1, 1, 1),
              "Simple": (.9, .9, .9, .9, .9, .9, .9, .8, .7, .6, .6, .5, .5, .5, .5, .6, .7, .8, .7, .7, .8, .9, .9, .9)}
plateau = 1.4  # of a ring's latency by Simple between boxes
collectives_of_batch = 9  # NCCL_MAX_DEV_WORK_BATCH_BYTES / sizeof(ncclDevWorkColl)
post_overhead = 1.0  # microseconds in which a processor hands a message to an adapter


@dataclasses.dataclass(frozen=True)
class Cluster:
    """GPUs in boxes of `box`, and the time of exchanges among all of them."""
    ranks: int
    gpu: str = "H100"
    network: str = "NDR"
    box: int = 8
    bandwidth_scale: float = 1  # of every link
    latency_scale: float = 1

    @property
    def boxes(self):
        return math.ceil(self.ranks / self.box)

    @property
    def channels(self):
        """Of NCCL's exchanges. Each takes a multiprocessor (logged by NCCL_DEBUG=INFO on boxes of 8 H100s)."""
        return 24 if self.boxes == 1 else 16

    @property
    def lent(self):
        """The share of a GPU's multiprocessors that an exchange takes."""
        return self.channels / multiprocessors[self.gpu]

    @property
    def bus(self):
        """GB/s"""
        links, _, rate = nvlinks[self.gpu]
        adapters, _, adapter_rate = networks[self.network]
        whole = links * rate if self.boxes == 1 else min(links * rate, adapters * adapter_rate)
        return whole * self.bandwidth_scale

    def ways(self, kind):
        """(algorithm, protocol, GB/s, latency in microseconds) of each way to do an exchange. kind: all_reduce,
        reduce_scatter, all_gather, reduce, broadcast."""
        n, m = self.ranks, self.boxes
        steps = {"all_reduce": 2 * (n - 1), "reduce_scatter": n - 1, "all_gather": n - 1}.get(kind, n)
        limit = most_by_ll[self.gpu][min(m, 3) - 1] * self.bandwidth_scale
        for at, protocol in enumerate(protocols):
            ring = {"LL": min(limit, self.bus / 2), "LL128": 0.92 * self.bus, "Simple": self.bus}[protocol]
            yield "ring", protocol, ring * n / steps, self.latency_scale * self.ring_latency(kind, steps, at)
            if kind == "all_reduce":
                tree = 0.92 * self.bus
                tree = {"LL": min(limit, tree / 3.8), "LL128": tree * (7 / 9 if m == 1 else 120 / 128),
                        "Simple": tree}[protocol]
                latency = base_latency["tree"][at] + 2 * (
                    (n // m - 1) * step_latency["NVLink", "tree"][at] +
                    int(math.log2(m)) * step_latency["network", "tree"][at])
                yield "tree", protocol, tree / 2, self.latency_scale * latency

    def ring_latency(self, kind, steps, at):
        n, m = self.ranks, self.boxes
        in_box, between = (step_latency[hardware, "ring"][at] for hardware in ("NVLink", "network"))
        if kind in ("reduce", "broadcast"):
            # All channels have the same ring in a box. Between boxes each has one of its own.
            own = step_latency["network", "tree"][at] if protocols[at] == "Simple" else between
            return base_latency["ring"][at] + (in_box if m == 1 else n * own)
        if m > 1:
            in_box = max(in_box, post_overhead * (3 if protocols[at] == "Simple" else 1))
        if n == m:  # every step crosses the network, and nothing hides it
            between = step_latency["network", "tree"][at]
        crossings = (m - 1) * (2 if kind == "all_reduce" else 1)
        return base_latency["ring"][at] + (steps - crossings) * in_box + crossings * between

    def seconds(self, kind, total_bytes, calls=1, calls_of_group=1):
        """(of latency, of bytes) of the fastest way for some calls that go together, in a group of so many calls."""
        if self.ranks == 1:
            return 0.0, 0.0
        on_channel = math.ceil(calls_of_group / self.channels)
        best = None
        for algorithm, protocol, rate, latency in self.ways(kind):
            if algorithm == "tree":
                size = int(math.log2(total_bytes / 64)) if total_bytes >= 64 else 0
                rate *= tree_share[protocol][size] if size < 23 else 1
                latency *= math.ceil(on_channel / collectives_of_batch)
            else:
                if protocol == "Simple" and self.boxes > 1 and kind == "all_reduce" and \
                        total_bytes / (self.channels * self.ranks) >= 64:
                    latency *= plateau
                latency *= min(on_channel, calls)
            way = (1e-6 * latency, total_bytes / (1e9 * rate))
            best = way if best is None or sum(way) < sum(best) else best
        return best

    def group(self, exchanges, pipelined=False):
        """(of latency, of bytes) in seconds of a group. exchanges: [(kind, bytes)], one for each call of NCCL. Where they are
        pipelined, one latency passes for all that go together, and reductions to all ranks take different links at a time."""
        latency = transfer = 0.0
        for kind in dict.fromkeys(kind for kind, _ in exchanges):
            sizes = sorted(size for of, size in exchanges if of == kind)
            begin = 0
            while begin < len(sizes):
                end = begin + 1
                while end < len(sizes) and sizes[end] < 4 * sizes[begin]:
                    end += 1
                one = self.seconds(kind.removesuffix(" u8"), sum(sizes[begin:end]), end - begin,
                                   1 if pipelined else len(exchanges))
                spread = pipelined and kind in ("reduce", "broadcast")
                latency, transfer = latency + one[0], transfer + one[1] * ((1 - 1 / self.ranks) if spread else 1)
                begin = end
        return latency, transfer
