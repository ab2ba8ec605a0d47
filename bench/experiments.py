"""Experiments of some kinds and seeds: makes the runs that are missing, and plots a line a kind."""
import argparse
import json
import pathlib
import resource
import subprocess

root = pathlib.Path(__file__).parent.parent


def arguments_of(description, arms, *more):
    """The arguments of a script that runs these arms; `more` are positional ones that may be left out."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in more:
        parser.add_argument(name, nargs="?")
    parser.add_argument("--seeds", type=int, nargs="*", default=[1])
    parser.add_argument("--only", nargs="*", choices=arms, default=list(arms))
    parser.add_argument("--again", action="store_true", help="runs that are there already, too")
    return parser.parse_args()


def run_engine(command, name, folder):
    """Runs a training into a folder. Returns the events of its log, and the seconds of processors that the system
    counted for it, so that other programs disturb them little."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*command, "--output_dir", folder], cwd=root, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    log = (pathlib.Path(folder) / name / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in log], round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def run_missing(results, kind, names, seeds, again, run):
    """The rows of the JSON file `results`, behind run(name, seed) for each name and seed that has no row there (again:
    for all). row[kind] is its name. The file is written behind each run."""
    rows = json.loads(results.read_text()) if results.exists() else []
    for seed in seeds:
        for name in names:
            same = [row for row in rows if (row[kind], row["seed"]) == (name, seed)]
            if same and not again:
                continue
            rows = [row for row in rows if row not in same] + [run(name, seed)]
            results.write_text(json.dumps(rows, indent=1) + "\n")
    return rows


def line_plot(lines, first, last, ticks, x_label, share_text):
    """An SVG of shares from 0 to 1 over x from first to last: the means of some runs, and their range.

    lines: (label, colour, dash, [(x, [a value a run])])
    """
    width, height, left, bottom, right = 760, 380, 50, 40, 190
    x = lambda at: left + (at - first) / (last - first) * (width - left - right)
    y = lambda share: 15 + (1 - share) * (height - bottom - 15)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
             'font-size="12"><rect width="100%" height="100%" fill="white"/>']
    for share in (0, 0.25, 0.5, 0.75, 1):
        parts.append(f'<line x1="{left}" x2="{width - right}" y1="{y(share):.1f}" y2="{y(share):.1f}" stroke="#ddd"/>'
                     f'<text x="{left - 6}" y="{y(share) + 4:.1f}" text-anchor="end">{share_text(share)}</text>')
    for tick in ticks:
        parts.append(f'<text x="{x(tick):.1f}" y="{height - bottom + 18}" text-anchor="middle">{tick}</text>')
    parts.append(f'<text x="{(left + width - right) / 2}" y="{height - 6}" text-anchor="middle">{x_label}</text>')
    ends = []
    for label, colour, dash, points in lines:
        if len(points[0][1]) > 1:
            edge = [(x(at), y(max(values))) for at, values in points]
            edge += [(x(at), y(min(values))) for at, values in reversed(points)]
            parts.append(f'<polygon fill="{colour}" fill-opacity="0.15" points="' +
                         " ".join(f"{a:.1f},{b:.1f}" for a, b in edge) + '"/>')
        means = [(at, sum(values) / len(values)) for at, values in points]
        if len(points) == 1:
            parts.append(f'<circle cx="{x(means[0][0]):.1f}" cy="{y(means[0][1]):.1f}" r="3" fill="{colour}"/>')
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}" points="' +
                     " ".join(f"{x(at):.1f},{y(mean):.1f}" for at, mean in means) + '"/>')
        ends.append((y(means[-1][1]), label, colour))
    at = 0
    for end, label, colour in sorted(ends):  # labels do not lie on one another
        at = max(end, at + 14)
        parts.append(f'<text x="{width - right + 8}" y="{at + 4:.1f}" fill="{colour}">{label}</text>')
    return "\n".join([*parts, "</svg>\n"])
