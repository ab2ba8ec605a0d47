"""Checks tokenizers against transformers and the tokenizers library. Run by hand:

    make && python bench/check_tokenizers.py [--text FILE ...] [--train FILE] FOLDER ...

Each folder, as transformers reads it (AutoTokenizer, or BertTokenizer for a vocab.txt alone), must give the ids and
offsets of `engine tokenize` for each line of the texts. With --train: the engine trains vocabularies of 8,000 tokens
from the file; AutoTokenizer must read what it wrote and give its ids, the BPE merges must be those of the library's
trainer, and the WordPiece tokens too, but for a few at the end: of pairs that come equally often the library takes any.

Needs transformers and tokenizers (made with 5.23.0 and 0.23.3). Exits with 1 if anything differs.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer, BertTokenizer

ROOT = pathlib.Path(__file__).parent.parent
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
VOCAB_SIZE = 8000
FAILURES = []


def check(what, holds, detail=""):
    print(("ok    " if holds else "WRONG ") + what, detail, flush=True)
    if not holds:
        FAILURES.append(what)


def run(*arguments):
    result = subprocess.run([str(argument) for argument in arguments], capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"{' '.join(map(str, arguments))} failed: {result.stderr.strip()}")
    return result.stdout


def check_folder(engine, folder, files):
    has_json = (folder / "tokenizer.json").exists()
    reference = (AutoTokenizer if has_json else BertTokenizer).from_pretrained(folder).backend_tokenizer
    reference.no_truncation()
    reference.no_padding()
    for file in files:
        lines = [line.removesuffix("\r") for line in file.read_bytes().decode("utf-8").split("\n")]
        if not lines[-1]:
            lines.pop()
        compared = differing = 0
        ours = run(engine, "tokenize", folder, "--input", file).split("\n")[:-1]
        check(f"{folder}: lines of {file.name}", len(ours) == len(lines), len(lines))
        for begin in range(0, len(lines), 1000):
            theirs = reference.encode_batch(lines[begin:begin + 1000], add_special_tokens=False)
            for made, wanted in zip(ours[begin:begin + 1000], theirs):
                made = json.loads(made)
                compared += len(wanted.ids)
                same = made["ids"] == wanted.ids and made["offsets"] == [list(offsets) for offsets in wanted.offsets]
                differing += not same
        check(f"{folder}: ids and offsets of {file.name}", differing == 0 < compared,
              f"{compared} ids, {differing} lines differ")


def check_training(engine, file):
    text = file.read_bytes().decode("utf-8")
    bpe, wordpiece = Tokenizer(models.BPE()), Tokenizer(models.WordPiece(unk_token="[UNK]"))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    wordpiece.normalizer, wordpiece.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    common = dict(vocab_size=VOCAB_SIZE, min_frequency=2, show_progress=False)
    for kind, reference, trainer in (
            ("bpe", bpe, trainers.BpeTrainer(special_tokens=["<|endoftext|>"],
                                             initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), **common)),
            ("wordpiece", wordpiece, trainers.WordPieceTrainer(special_tokens=SPECIAL, limit_alphabet=1000000, **common))):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder) / kind
            start = time.time()
            run(engine, "tokenize", "--train", kind, "--input", file, "--output", folder, "--vocab_size", VOCAB_SIZE,
                "--most_characters", 1000000)
            ours = time.time() - start
            start = time.time()
            reference.train_from_iterator([text], trainer)
            times = f"{ours:.1f} s, the library {time.time() - start:.1f} s"
            if kind == "bpe":
                merges = [" ".join(merge) for merge in json.loads(reference.to_str())["model"]["merges"]]
                same = (folder / "merges.txt").read_text(encoding="utf-8").split("\n")[1:-1] == merges
                check(f"{kind}: the merges are those of the library's trainer", same, f"{len(merges)}, {times}")
            else:
                tokens = set((folder / "vocab.txt").read_text(encoding="utf-8").split("\n")[:-1])
                missing = len(set(reference.get_vocab()) - tokens)
                check(f"{kind}: the tokens are those of the library's trainer", missing < VOCAB_SIZE // 200,
                      f"{missing} of {len(tokens)} differ, {times}")
            check_folder(engine, folder, [file])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=pathlib.Path)
    parser.add_argument("--engine", type=pathlib.Path, default=ROOT / "engine")
    parser.add_argument("--text", type=pathlib.Path, action="append", default=[])
    parser.add_argument("--train", type=pathlib.Path)
    arguments = parser.parse_args()
    engine = arguments.engine.resolve()
    for folder in arguments.folders:
        check_folder(engine, folder, arguments.text or [ROOT / "tests/data/tokenizer/wikipedia.txt"])
    if arguments.train:
        check_training(engine, arguments.train)
    print(f"{len(FAILURES)} differences" if FAILURES else "everything agrees")
    sys.exit(1 if FAILURES else 0)


if __name__ == "__main__":
    main()
