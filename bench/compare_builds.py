#!/usr/bin/env python3
"""Two builds of the engine in turn: both programs stay alive, and rounds of steps alternate.

    python bench/compare_builds.py OLD/build/bench/whole_steps build/bench/whole_steps [--rounds 7] [--output FILE]

The ratio of a work is the median over rounds of (the old build's median step) / (the new one's), so that 1.1 means a
tenth faster than before. Nothing else should run on the machine.
"""
import argparse
import json
import os
import pathlib
import statistics

from compare import Program, decoder, encoder_decoder, gpt2, ragged, works

chosen = {
    "decoder-train": decoder,
    "gpt2-train": gpt2,
    "minilm-ragged": ragged,
    "encdec-train": ["--model", "encdec", *encoder_decoder],
    "decoder-generate": works["decoder-generate"][0],
}


def processor():
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    flags = next(line for line in lines if line.startswith("flags")).split()
    name = next(line for line in lines if line.startswith("model name")).split(": ")[1]
    sets = [flag for flag in ("amx_bf16", "avx512_bf16", "avx512f", "avx2") if flag in flags]
    return {"name": name, "processors": os.cpu_count(), "instructions": sets[0] if sets else "generic"}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=pathlib.Path)
    parser.add_argument("new", type=pathlib.Path)
    parser.add_argument("--work", nargs="*", default=list(chosen), choices=list(chosen))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--output", type=pathlib.Path)
    arguments = parser.parse_args()
    rows = []
    for work in arguments.work:
        programs = [Program([str(path), *chosen[work]]) for path in (arguments.old, arguments.new)]
        ratios = []
        for program in programs:
            program.steps(1)
        for turn in range(arguments.rounds):
            order = programs if turn % 2 == 0 else programs[::-1]
            medians = {program: statistics.median(program.steps(1)["seconds"]) for program in order}
            ratios.append(medians[programs[0]] / medians[programs[1]])
        for program in programs:
            program.close()
        rows.append({"work": work, "ratio": round(statistics.median(ratios), 3), "ratios": [round(r, 3) for r in ratios]})
        print(rows[-1], flush=True)
    if arguments.output:
        arguments.output.write_text(json.dumps({"processor": processor(), "works": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
