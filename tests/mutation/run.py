#!/usr/bin/env python3
"""Runs the tests with each planted bug switched on, and prints which bugs survive: make mutation-test

    python3 tests/mutation/run.py PROGRAM [--bugs FIRST-LAST] [--seconds N] [--jobs N]

A bug is caught where its file's test cases fail, end the program, or are not done after N seconds of processor time (a
loop that does not end). First the cases have to pass with no bug. Exits with 1 where a bug survives.
"""
import argparse
import concurrent.futures
import os
import resource
import subprocess
import sys
import time

from plant import bugs


def run(program, cases, bug, seconds):
    """(caught, seconds taken)"""
    begin = time.monotonic()
    done = subprocess.run([program, f"-tc={cases}", "--abort-after=1"], stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL, env=os.environ | {"ENGINE_PLANTED_BUG": str(bug)},
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds)))
    return done.returncode != 0, time.monotonic() - begin


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--bugs", default="1-999999")
    parser.add_argument("--seconds", type=int, default=900)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    first, last = (int(number) for number in arguments.bugs.split("-"))
    chosen = [bug for bug in bugs() if first <= bug[0] <= last]
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        groups = sorted({cases for _, _, cases, *_ in chosen})
        sound = list(pool.map(lambda cases: run(arguments.program, cases, 0, arguments.seconds), groups))
        for cases, (failed, _) in zip(groups, sound):
            if failed:
                sys.exit(f"without a bug {cases} fails, or is not done after {arguments.seconds} s")
        results = pool.map(lambda bug: run(arguments.program, bug[2], bug[0], arguments.seconds), chosen)
        survivors = 0
        for (number, file, _, before, part, behind, replacement), (caught, seconds) in zip(chosen, results):
            survivors += not caught
            code = " ".join((before + part + behind).split())
            print(f"{'caught' if caught else 'SURVIVES'}: {number}, {file}, {seconds:.0f} s: {code} => {replacement}",
                  flush=True)
    print(f"{len(chosen)} planted bugs, {len(chosen) - survivors} caught, {survivors} survive")
    sys.exit(1 if survivors else 0)


if __name__ == "__main__":
    main()
