"""Checks that Perfetto reads the trace of `engine profile --trace`. Run by hand:

    make && ./engine profile configs/arithmetic.cfg --steps 3 --output profile.json --trace trace.json
    python bench/check_trace.py trace.json profile.json

Perfetto's own trace processor must find the three tracks, every operation with its shapes, FLOPs and bytes, and in
phases and operations the seconds that the profile has. Needs perfetto (made with 0.59.1), which loads its trace processor
from the network when it is first used; --processor names one that is there. Exits with 1 if anything differs.
"""
import argparse
import json
import sys

from perfetto.trace_processor import TraceProcessor, TraceProcessorConfig

FAILURES = []


def check(what, holds, detail=""):
    print(("ok    " if holds else "WRONG ") + what, detail, flush=True)
    if not holds:
        FAILURES.append(what)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace")
    parser.add_argument("profile")
    parser.add_argument("--processor", help="path of trace_processor_shell")
    options = parser.parse_args()
    profile = json.load(open(options.profile))
    with TraceProcessor(trace=options.trace, config=TraceProcessorConfig(bin_path=options.processor)) as processor:
        rows = processor.query("""
            select thread.name as track, count(*) as events, sum(slice.dur) / 1e9 as seconds
            from slice join thread_track on slice.track_id = thread_track.id join thread using (utid)
            group by track""")
        tracks = {row.track: row for row in rows}
        check("tracks", set(tracks) == {"phases", "layers", "operations"}, sorted(tracks))
        seconds = {"phases": profile["seconds"], "operations": sum(o["seconds"] for o in profile["operations"])}
        for track, expected in seconds.items():
            found = tracks[track].seconds / profile["steps"]
            check(f"seconds of a step in {track}", abs(found / expected - 1) < 1e-3, f"{found:.6f} {expected:.6f}")
        calls = sum(o["calls"] for o in profile["operations"]) * profile["steps"]
        check("calls", abs(tracks["operations"].events - calls) < 0.5, tracks["operations"].events)
        for name in ("shapes", "flops", "bytes", "layer"):
            rows = processor.query(f"select count(*) as events from args where key = 'args.{name}'")
            events = next(iter(rows)).events
            check(f"operations with {name}", events == tracks["operations"].events, events)
        errors = processor.query("select name, value from stats where severity = 'error' and value > 0")
        names = [row.name for row in errors]
        check("no errors of the parser", not names, names)
    sys.exit(bool(FAILURES))


if __name__ == "__main__":
    main()
