#!/usr/bin/env python3
"""`./engine embed` against transformers, in turn, and against reference vectors where a file has them.

    python bench/embed.py MODEL SENTENCES [--reference reference.json] [--rounds 5] --output bench/results/embed.json

MODEL is a folder such as all-MiniLM-L6-v2, SENTENCES a file with one a line. Ours is the whole command: it reads the
model and the file, and writes JSON. The peer is only its loop (tokens, model, mean of the rows, norm), warmed up, with
sentences sorted by length and padded to the longest of a batch, at the best of its batch sizes; the figure of a mode is
the median over rounds of (peer's seconds) / (our seconds). Run with a Python that has torch and transformers. Nothing
else should run on the machine.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import time

here = pathlib.Path(__file__).parent
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("model", type=pathlib.Path)
parser.add_argument("sentences", type=pathlib.Path)
parser.add_argument("--engine", default=str(here.parent / "engine"))
parser.add_argument("--reference", type=pathlib.Path)
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--modes", nargs="*", default=["f32", "bf16", "bf16-weights", "f32-compiled"])
parser.add_argument("--batches", nargs="*", type=int, default=[32, 128])
parser.add_argument("--output", type=pathlib.Path, default=here / "results/embed.json")
arguments = parser.parse_args()

import torch  # noqa: E402
import transformers  # noqa: E402

torch.set_num_threads(2)


def ours(file, precision):
    begin = time.perf_counter()
    command = [arguments.engine, "embed", str(arguments.model), "--input", str(file), "--precision", precision]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    seconds = time.perf_counter() - begin
    return seconds, text


def vectors(text):
    return torch.tensor([json.loads(line)["embedding"] for line in text.splitlines()], dtype=torch.float64)


class Peer:
    def __init__(self, mode):
        self.autocast = mode == "bf16"
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(arguments.model)
        dtype = torch.bfloat16 if mode == "bf16-weights" else torch.float32
        self.model = transformers.AutoModel.from_pretrained(arguments.model, dtype=dtype).eval()
        if mode.endswith("compiled"):
            self.model = torch.compile(self.model, dynamic=True)

    @torch.inference_mode()
    def embed(self, lines, batch):
        order = sorted(range(len(lines)), key=lambda i: -len(lines[i]))
        result = torch.empty(len(lines), self.model.config.hidden_size)
        for at in range(0, len(order), batch):
            chosen = order[at:at + batch]
            inputs = self.tokenizer([lines[i] for i in chosen], padding=True, truncation=True, max_length=256,
                                    return_tensors="pt")
            with torch.autocast("cpu", torch.bfloat16, enabled=self.autocast):
                hidden = self.model(**inputs).last_hidden_state
            mask = inputs["attention_mask"][..., None].to(hidden.dtype)
            mean = (hidden * mask).sum(1) / mask.sum(1)
            result[chosen] = torch.nn.functional.normalize(mean.float(), dim=1)
        return result


def main():
    lines = arguments.sentences.read_text().splitlines()
    results = {"model": arguments.model.name, "sentences": len(lines), "torch": torch.__version__,
               "transformers": transformers.__version__, "rows": []}
    if arguments.reference:
        reference = json.loads(arguments.reference.read_text())
        file = pathlib.Path("/tmp/reference_sentences.txt")
        file.write_text("\n".join(reference["sentences"]) + "\n")
        wanted = torch.tensor(reference["mean_pooled_normalised"], dtype=torch.float64)
        for precision in ("f32", "bf16"):
            got = vectors(ours(file, precision)[1])
            results[f"largest_difference_{precision}"] = (got - wanted).abs().max().item()
            print("against the reference,", precision, results[f"largest_difference_{precision}"])
    for mode in arguments.modes:
        peer = Peer(mode)
        peer.embed(lines[:256], arguments.batches[0])
        precisions = ["auto", "f32"] if mode.startswith("f32") else ["auto"]
        peer_seconds = {batch: [] for batch in arguments.batches}
        our_seconds = {precision: [] for precision in precisions}
        for _ in range(arguments.rounds):
            for precision in precisions:
                our_seconds[precision].append(ours(arguments.sentences, precision)[0])
            for batch in arguments.batches:
                begin = time.perf_counter()
                result = peer.embed(lines, batch)
                peer_seconds[batch].append(time.perf_counter() - begin)
        difference = (vectors(ours(arguments.sentences, "f32")[1]) - result.double()).abs().max().item()
        for precision in precisions:
            ratios = {batch: statistics.median(p / o for p, o in zip(peer_seconds[batch], our_seconds[precision]))
                      for batch in arguments.batches}
            best = min(ratios, key=ratios.get)
            results["rows"].append({"mode": mode, "our_precision": precision, "peer_batch": best,
                                    "ratio": round(ratios[best], 2), "all_ratios": ratios,
                                    "our_seconds": statistics.median(our_seconds[precision]),
                                    "peer_seconds": statistics.median(peer_seconds[best]),
                                    "largest_difference_in_f32": difference})
            print(results["rows"][-1], flush=True)
        arguments.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
