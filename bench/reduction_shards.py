#!/usr/bin/env python3
"""The cost of virtual shards, and of an optimizer that ranks share, beside the same training without.

    python bench/reduction_shards.py [--ranks 1 2] [--shards 8] [--rounds 5] --output bench/results/reduction_shards.json

The training is the small decoder of bench/ranks.py, on as many threads as there are processors, divided among the ranks. Ratios of
speed are medians over rounds in which all take their turns. Memory is the first rank's peak. Nothing else should run on the
machine. Where something does, the processor time of all ranks tells what they compute and copy, though not how long they wait.
Results are written after every round, and printed as a table for docs/scaling.md at the end:

    {"command", "machine", "processors", "shards",
     "ranks": {"2": {"plain": {"rounds", "tokens_per_second", "against_plain", "lowest", "highest", "processor_seconds",
                               "processor_against_plain", "memory_mib"}, ...}}}

against_plain is the median of the rounds' ratios, lowest and highest are their extremes. processor_seconds are those of a whole
training.
"""
import argparse
import json
import os
import pathlib
import platform
import resource
import statistics
import sys

from ranks import events_of, here

sharded = ["--training.shard_optimizer", "true"]


def processor_seconds():
    """Of all processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def measure(ranks, options):
    before = processor_seconds()
    events = events_of(ranks, max(1, os.cpu_count() // ranks), options)
    steps = [event for event in events[5:] if event["split"] == "train"]
    return {"tokens_per_second": statistics.median(event["tokens_per_second"] for event in steps),
            "processor_seconds": processor_seconds() - before,
            "memory_mib": max(event["memory_mib"] for event in steps)}


def ratios_of(rounds, name, measured):
    return [a[name][measured] / a["plain"][measured] for a in rounds]


def summary(rounds, name):
    ratios = ratios_of(rounds, name, "tokens_per_second")
    return {"rounds": len(rounds),
            "tokens_per_second": round(statistics.median(a[name]["tokens_per_second"] for a in rounds)),
            "against_plain": round(statistics.median(ratios), 3), "lowest": round(min(ratios), 3),
            "highest": round(max(ratios), 3),
            "processor_seconds": round(statistics.median(a[name]["processor_seconds"] for a in rounds), 1),
            "processor_against_plain": round(statistics.median(ratios_of(rounds, name, "processor_seconds")), 3),
            "memory_mib": max(a[name]["memory_mib"] for a in rounds)}


def table(result):
    lines = ["| ranks | training | tokens/s | of plain | range | processor s | of plain | MiB |", "| --- " * 8 + "|"]
    for ranks, kinds in result["ranks"].items():
        for name, of in kinds.items():
            lines.append(f"| {ranks} | {name.replace('_', ' ')} | {of['tokens_per_second']:,} | {of['against_plain']:.3f} | "
                         f"{of['lowest']:.3f} to {of['highest']:.3f} | {of['processor_seconds']:.1f} | "
                         f"{of['processor_against_plain']:.3f} | {of['memory_mib']:.0f} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=pathlib.Path, default=here / "results/reduction_shards.json")
    arguments = parser.parse_args()
    virtual = ["--training.reduction_shards", str(arguments.shards)]
    result = {"command": "python bench/reduction_shards.py " + " ".join(sys.argv[1:]),
              "machine": platform.processor() or platform.machine(), "processors": os.cpu_count(),
              "shards": arguments.shards, "ranks": {}}
    for ranks in arguments.ranks:
        kinds = {"plain": [], "reduction_shards": virtual}
        if ranks > 1:  # one rank has nobody to divide the optimizer with
            kinds |= {"shard_optimizer": sharded, "both": virtual + sharded}
        rounds = []
        for _ in range(arguments.rounds):
            rounds.append({name: measure(ranks, options) for name, options in kinds.items()})
            result["ranks"][ranks] = {name: summary(rounds, name) for name in kinds}
            arguments.output.write_text(json.dumps(result, indent=1) + "\n")
    print(table(result))


if __name__ == "__main__":
    main()
