#!/usr/bin/env python3
"""What thoughts cost: a training step on rows of 512 tokens with 32 thoughts each, run exactly and in 4 passes, beside a
plain step on as many tokens. The programs stay alive, and rounds of steps alternate.

    python bench/thought_cost.py [--rounds 5] [--output bench/results/thought_cost.json]

Needs `make build/bench/whole_steps`. Nothing else should run on the machine.
"""
import argparse
import json
import pathlib
import statistics

from compare import Program, here
from compare_builds import processor

rows = ["--model", "decoder", "--work", "train", "--batch", "24", "--length", "512", "--vocabulary", "4096",
        "--thoughts", "32"]
kinds = {"plain": ["--recurrence", "none"], "exact": ["--recurrence", "exact"],
         "4 passes": ["--recurrence", "passes", "--unroll", "4"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=pathlib.Path, default=here.parent / "build/bench/whole_steps")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=pathlib.Path)
    arguments = parser.parse_args()
    found = []
    for precision in ("f32", "bf16"):
        programs = {kind: Program([str(arguments.program), "--precision", precision, *rows, *options])
                    for kind, options in kinds.items()}
        for program in programs.values():
            program.steps(1)
        rounds = [{kind: statistics.median(program.steps(3)["seconds"]) for kind, program in programs.items()}
                  for _ in range(arguments.rounds)]
        for program in programs.values():
            program.close()
        for kind in kinds:
            ratios = sorted(times[kind] / times["plain"] for times in rounds)
            found.append({"precision": precision, "step": kind,
                          "seconds": round(statistics.median(times[kind] for times in rounds), 4),
                          "of_plain": round(statistics.median(ratios), 3),
                          "range": [round(ratios[0], 3), round(ratios[-1], 3)]})
            print(found[-1], flush=True)
    if arguments.output:
        arguments.output.write_text(json.dumps({"processor": processor(), "steps": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
