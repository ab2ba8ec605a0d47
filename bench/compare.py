#!/usr/bin/env python3
"""Ours against PyTorch, in turn: for each mode of the peer both programs stay alive, and rounds of steps alternate.

    python bench/compare.py [--work NAME ...] [--rounds 5] [--steps 3] --output bench/results/steps.json

The figure of a pair is the median over rounds of (peer's median step) / (our median step); the ratio against a work's
peer is that against its best mode, the least of them. Run with a Python that has torch and transformers, after
`make build/bench/whole_steps`. Nothing else should run on the machine.
"""
import argparse
import json
import pathlib
import platform
import statistics
import subprocess
import sys

here = pathlib.Path(__file__).parent
train_modes = ["f32", "bf16", "f32-compiled", "bf16-compiled"]
generate_modes = ["f32", "bf16", "bf16-weights", "f32-compiled", "bf16-compiled", "bf16-weights-compiled"]
gpt2 = ["--model", "gpt2", "--work", "train", "--batch", "4", "--length", "256"]
neox = ["--model", "neox", "--work", "train", "--batch", "4", "--length", "256"]
decoder = ["--model", "decoder", "--work", "train", "--batch", "64", "--length", "128"]
bert = ["--model", "bert", "--work", "train", "--batch", "8", "--length", "128"]
minilm = ["--model", "minilm", "--work", "train", "--batch", "32", "--length", "128"]
ragged = ["--model", "minilm", "--work", "train", "--lengths", str(here / "sst2_lengths.txt")]
solutions = ["--work", "train", "--lengths", str(here / "solution_lengths.txt")]
solutions_generate = ["--model", "decoder", "--work", "generate", "--batch", "256", "--prompt", "12", "--new", "48"]
axe = ["--model", "decoder", "--work", "axe", "--rows", str(here / "solution_rows.txt")]
lstm_generate = ["--work", "generate", "--batch", "64", "--prompt", "16", "--new", "112"]
encoder_decoder = ["--work", "train", "--batch", "64", "--length", "128"]
thoughts = ["--model", "decoder", "--batch", "24", "--length", "512", "--thoughts", "32", "--vocabulary", "4096"]
search = ["--model", "decoder", "--work", "search", "--batch", "32", "--length", "512", "--vocabulary", "4096"]
search_modes = [f"{mode} --way {way}" for mode in train_modes for way in ("whole", "cached")]
from_source = ["--work", "generate", "--batch", "64", "--prompt", "64", "--new", "64"]
works = {
    "gpt2-train": (gpt2, "auto", train_modes, 1.8),
    "gpt2-train-f32": (gpt2, "f32", ["f32", "f32-compiled"], 1.1),
    "neox-train": (neox, "auto", train_modes, 1.8),
    "neox-train-f32": (neox, "f32", ["f32", "f32-compiled"], 1.1),
    "decoder-train": (decoder, "auto", train_modes, 3.5),
    "decoder-train-f32": (decoder, "f32", ["f32", "f32-compiled"], 1.4),
    "gpt2-generate": (["--model", "gpt2", "--work", "generate", "--batch", "1", "--prompt", "32", "--new", "64"],
                      "auto", generate_modes, 1.8),
    "decoder-generate": (["--model", "decoder", "--work", "generate", "--batch", "64", "--prompt", "16", "--new", "112"],
                         "auto", generate_modes, 3.0),
    "lstm256-train-f32": (["--model", "lstm256", *solutions], "f32", ["f32"], 1.5),
    "lstm512-train-f32": (["--model", "lstm512", *solutions], "f32", ["f32"], 1.5),
    "lstm256-generate-f32": (["--model", "lstm256", *lstm_generate], "f32", ["f32"], 1.5),
    "lstm512-generate-f32": (["--model", "lstm512", *lstm_generate], "f32", ["f32"], 1.5),
    "solutions-train": (["--model", "decoder", *solutions], "auto", train_modes, 4.0),
    "solutions-train-f32": (["--model", "decoder", *solutions], "f32", ["f32", "f32-compiled"], 1.6),
    "solutions-generate": (solutions_generate, "auto", generate_modes, 4.0),
    "solutions-generate-f32": (solutions_generate, "f32", ["f32", "f32-compiled"], 2.0),
    "axe": (axe, "auto", train_modes, 5.0),
    "axe-f32": (axe, "f32", ["f32", "f32-compiled"], 5.0),
    "bert-mlm": (bert, "auto", train_modes, 1.8),
    "bert-mlm-f32": (bert, "f32", ["f32", "f32-compiled"], 1.15),
    "minilm": (minilm, "auto", train_modes, 2.2),
    "minilm-f32": (minilm, "f32", ["f32", "f32-compiled"], 1.15),
    "minilm-ragged": (ragged, "auto", train_modes, 3.5),
    "minilm-ragged-f32": (ragged, "f32", ["f32", "f32-compiled"], 1.15),
    "encdec-train": (["--model", "encdec", *encoder_decoder], "auto", train_modes, 3.5),
    "encdec-generate": (["--model", "encdec", *from_source], "auto", generate_modes, 3.0),
    "bart-generate": (["--model", "bart", *from_source], "auto", ["f32", "bf16", "bf16-weights"], 5.0),
    "thought-score": ([*thoughts, "--work", "score"], "auto", train_modes, 4.0),
    "thought-score-f32": ([*thoughts, "--work", "score"], "f32", ["f32", "f32-compiled"], 1.5),
    "thought-search": (search, "auto", search_modes, 5.0),
    "thought-search-f32": (search, "f32", [mode for mode in search_modes if mode.startswith("f32")], 2.5),
    "thought-train": ([*thoughts, "--work", "train"], "auto", train_modes, 8.0),
    "thought-train-f32": ([*thoughts, "--work", "train"], "f32", ["f32", "f32-compiled"], 4.0),
}
# What thoughts carry is exact here, and three passes more in the peer, as in the original.
recurrences = {"thought-train": (["--recurrence", "exact"], ["--unroll", "4"]),
               "thought-train-f32": (["--recurrence", "exact"], ["--unroll", "4"])}


class Program:
    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process.stdout.readline()

    def steps(self, count):
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def compare(name, rounds, steps, program, only_modes, device):
    options, precision, modes, floor = works[name]
    ours_alone, peer_alone = recurrences.get(name, ([], []))
    script = "thought_torch.py" if name.startswith("thought") else "torch_steps.py"
    if script == "torch_steps.py":
        peer_alone = ["--device", device]
    rows = []
    for mode in only_modes or modes:
        ours = Program([str(program), *options, *ours_alone, "--device", device, "--precision", precision])
        peer = Program([sys.executable, str(here / script), *options, *peer_alone, "--mode", *mode.split()])
        ratios, our_rate, peer_rate = [], [], []
        for _ in range(rounds):
            a, b = ours.steps(steps), peer.steps(steps)
            ours_median, peer_median = statistics.median(a["seconds"]), statistics.median(b["seconds"])
            ratios.append(peer_median / ours_median)
            our_rate.append(a["tokens"] / ours_median)
            peer_rate.append(b["tokens"] / peer_median)
        ours.close()
        peer.close()
        rows.append({"mode": mode, "ratio": round(statistics.median(ratios), 2), "ratios": [round(r, 2) for r in ratios],
                     "our_tokens_per_second": round(statistics.median(our_rate), 1),
                     "peer_tokens_per_second": round(statistics.median(peer_rate), 1),
                     "tokens_a_sequence": round(a["tokens"] / a["sequences"], 1),
                     "our_peak_mb": a["peak_mb"], "peer_peak_mb": b["peak_mb"]})
        print(name, rows[-1], flush=True)
    return {"work": name, "precision": precision, "floor": floor, "ratio": min(row["ratio"] for row in rows), "modes": rows}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", nargs="*", default=list(works), choices=list(works))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--modes", nargs="*", help="of the peer, where not all are wanted")
    parser.add_argument("--program", type=pathlib.Path, default=here.parent / "build/bench/whole_steps")
    parser.add_argument("--output", type=pathlib.Path, default=here / "results/steps.json")
    arguments = parser.parse_args()
    import torch
    import transformers
    results = {"command": "python bench/compare.py " + " ".join(sys.argv[1:]), "torch": torch.__version__,
               "transformers": transformers.__version__, "machine": platform.processor() or platform.machine(),
               "works": []}
    if arguments.output.exists():
        old = json.loads(arguments.output.read_text())
        results["works"] = [work for work in old["works"] if work["work"] not in arguments.work]
    for name in arguments.work:
        results["works"].append(compare(name, arguments.rounds, arguments.steps, arguments.program, arguments.modes,
                                        arguments.device))
        arguments.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
