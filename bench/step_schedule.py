"""The step of a rank of a data-parallel training as a discrete schedule, which is simulated.

The pieces of the step and their order are what the engine itself does: build/bench/whole_steps --schedule runs a step of
the engine on a backend and a communicator that only list what they are told. Three things have a time of their own:

- the compute stream does the operations, each in the time that step_costs.py expects;
- the stream of exchanges does one bucket after the other. Tensors are gathered until a bucket has training.bucket_mib or
  more. Its exchange starts when the compute stream has come to its last gradient, the host has called NCCL, and the bucket
  before it is done. While one is under way, it has some multiprocessors (collectives.py), and the compute stream has
  the others;
- the host starts all that, at most a step ahead. After a step is started it asks all ranks whether one wants to stop, and
  waits for the step before (Trainer::train). With training.shard_optimizer it waits for the device in the middle of the
  step, too, for the ranks' norms are added up by hosts (GradientNorm).
"""
import dataclasses

from gpus import peaks
from step_costs import expected_seconds, listed


@dataclasses.dataclass(frozen=True)
class Costs:
    """Seconds that no data sheet tells. All are assumptions."""
    of_break: float = 5e-6      # between two CUDA graphs of a step, where an exchange is started
    of_call: float = 1e-6       # of the host for a call of NCCL in a group
    of_group: float = 10e-6     # of the host for a group
    of_message: float = 20e-6   # from one host to the next
    of_launch: float = 3e-6     # of the host for a kernel that no graph holds

    def agreement(self, ranks, by):
        """Of the hosts' sum of a few numbers, up a tree of ranks and down again. Over TCP each first asks its neighbour
        whether both do the same (core/socket_communicator.cc)."""
        return self.of_message * (2 * self.depth(ranks, by) + (by == "TCP"))

    def gathering(self, ranks, by):
        """Of a number of each host that all get. MPI needs no way back (recursive doubling)."""
        return self.agreement(ranks, by) if by == "TCP" else self.of_message * self.depth(ranks, by)

    @staticmethod
    def depth(ranks, by):
        """Of the tree. That of TCP has a rank at its root and two below each."""
        return ranks.bit_length() - 1 if by == "TCP" else (ranks - 1).bit_length()


@dataclasses.dataclass(frozen=True)
class Case:
    """A model and the batch of each rank."""
    name: str
    model: str
    batch: int
    length: int

    @property
    def tokens(self):
        return self.batch * self.length


block = 128  # TouchedBlocks::block, at multiples of which shards are cut


class Steps:
    """What the engine says of a case: its parameters, its memory, and its step among so many ranks, with and without
    shards."""

    def __init__(self, build, case):
        self.build, self.case = build, case
        self.known = {}

    def lines(self, ranks, shards):
        key = ranks, shards and ranks > 1
        if key not in self.known:
            case = self.case
            self.known[key] = list(listed(self.build, "--schedule", "--clip", "--model", case.model, "--batch", str(case.batch),
                                          "--length", str(case.length), "--ranks", str(ranks),
                                          *(["--shard_optimizer"] if key[1] else [])))
        return self.known[key]

    @property
    def parameters(self):
        return [line["elements"] for line in self.lines(1, False) if "parameter" in line]

    def memory(self, ranks, shards):
        """Use -> bytes on a rank."""
        return {line["memory"]: line["bytes"] for line in self.lines(ranks, shards) if "memory" in line}

    def pieces(self, ranks, shards):
        """The lines of the step."""
        return [line for line in self.lines(ranks, shards)
                if "operation" in line or ("exchange" in line and ranks > 1)]


def calls_of(line, cluster, joined):
    """[(kind, bytes)] of NCCL's calls for an exchanged tensor. In one box a tensor's halves of a sum are a reduction to
    each rank and a broadcast from each (NcclCommunicator::add_parts), without those of empty shards. Among several boxes
    both are sums of the whole tensor. Joined each is one call."""
    kind, size, ranks = line["exchange"], line["bytes"], cluster.ranks
    if kind in ("sum", "or") or (cluster.boxes > 1 and not joined):
        return [("all_reduce" if kind in ("sum", "reduce_scatter") else "all_reduce u8", size)]
    if joined:
        return [(kind, size)]
    parts = min(ranks, -(-size // (4 * block)))
    return [("reduce" if kind == "reduce_scatter" else "broadcast", size / parts)] * parts


@dataclasses.dataclass
class Exchange:
    """A bucket on its way."""
    ready: float
    begin: float
    end: float
    latency: float
    bytes: int


class Simulation:
    """losses are what a step waits for or is slowed down by: gradients that come after the backward pass, values that come
    after the update, multiprocessors lent to NCCL, gaps between graphs, the host."""
    losses = ("gradients", "values", "multiprocessors", "gaps", "host")

    def __init__(self, steps, cluster, bucket_mib=32, shards=False, joined=False, pipelined=False, by="MPI", costs=Costs(),
                 overlaps=True):
        self.pieces = list(steps.pieces(cluster.ranks, shards))
        self.cluster, self.costs, self.by, self.pipelined = cluster, costs, by, pipelined
        self.bucket_bytes, self.joined, self.overlaps = bucket_mib * (1 << 20), joined, overlaps
        self.rates = peaks[cluster.gpu]
        self.compute = self.host = self.exchanges_end = 0.0
        self.longest = None
        self.groups = {}  # calls -> (latency, transfer), for layers repeat

    def run(self, count=4):
        """Simulates steps until they repeat, and returns what is known of the last."""
        ends = [0.0]
        for step in range(count):
            # The step before the last started one must have ended.
            self.host = max(self.host, ends[max(0, step - 1)])
            self.begin, self.buckets, self.waiting = self.compute, [], []
            self.computing, self.lost = 0.0, dict.fromkeys(self.losses, 0.0)
            self.step()
            self.host += self.costs.agreement(self.cluster.ranks, self.by) if self.cluster.ranks > 1 else 0
            ends.append(self.compute)
        return self

    @property
    def seconds(self):
        return self.compute - self.begin

    def step(self):
        self.work(0)
        waits = 0
        for line in self.pieces:
            if "operation" in line:
                self.work(line["calls"] * expected_seconds(line, self.rates))
                if waits and line["operation"] != "zero":
                    self.host += self.costs.of_launch * line["calls"]
            elif line["exchange"] == "wait":
                self.flush()
                self.lost[self.losses[waits]] += max(0.0, self.exchanges_end - self.compute)
                if waits == 0:
                    self.longest = max(self.buckets, key=lambda bucket: bucket.end - max(bucket.begin, self.compute))
                self.compute = max(self.compute, self.exchanges_end)
                waits += 1
            elif line["exchange"] == "gather":
                self.host = max(self.host, self.compute) + self.costs.gathering(self.cluster.ranks, self.by)
            else:
                self.waiting.append(line)
                if sum(one["bytes"] for one in self.waiting) >= self.bucket_bytes:
                    self.flush()

    def work(self, seconds):
        """Does work that takes so long on all multiprocessors, not before the host has started it."""
        self.computing += seconds
        now, lent = max(self.compute, self.host), self.cluster.lent
        self.lost["host"] += now - self.compute
        self.lost["multiprocessors"] -= now + seconds
        for bucket in self.buckets:
            if seconds <= 0 or bucket.end <= now:
                continue
            alone = min(seconds, max(0.0, bucket.begin - now))
            now, seconds = now + alone, seconds - alone
            if seconds <= 0:
                break
            shared = min(seconds / (1 - lent), bucket.end - max(now, bucket.begin))
            now, seconds = now + shared, seconds - shared * (1 - lent)
        self.compute = now + max(0.0, seconds)
        self.lost["multiprocessors"] += self.compute

    def flush(self):
        if not self.waiting:
            return
        calls = [call for line in self.waiting for call in calls_of(line, self.cluster, self.joined)]
        if self.joined:  # a bucket's tensors travel as one
            sums = {}
            for kind, size in calls:
                sums[kind] = sums.get(kind, 0) + size
            calls = list(sums.items())
        key = tuple(sorted(calls)) if len(calls) < 1000 else (len(calls), sum(size for _, size in calls))
        if key not in self.groups:
            self.groups[key] = self.cluster.group(calls, self.pipelined)
        latency, transfer = self.groups[key]
        self.host += self.costs.of_group + self.costs.of_call * len(calls)
        self.compute += self.costs.of_break
        self.lost["gaps"] += self.costs.of_break
        ready = max(self.compute, self.host)
        begin = max(ready, self.exchanges_end)
        self.exchanges_end = begin + latency + transfer
        self.buckets.append(Exchange(ready, begin, self.exchanges_end, latency, sum(line["bytes"] for line in self.waiting)))
        if not self.overlaps:
            self.lost["gradients"] += max(0.0, self.exchanges_end - self.compute)
            self.compute = max(self.compute, self.exchanges_end)
        self.waiting = []
