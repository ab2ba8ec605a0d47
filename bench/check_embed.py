"""Vectors of `engine embed` against SentenceTransformer.encode, for random folders of sentence-transformers. Run by hand:

    make && python bench/check_embed.py [--random COUNT] [--seed N] [FOLDER ...]

A random folder is a small BERT, DistilBERT, RoBERTa or XLM-R with random weights, a pooling of one mode or several, with
or without its prompt, and any of Dense, Normalize, prompts, max_seq_length, do_lower_case and truncate_dim. Vectors
differ where the largest difference is above 1e-5 of the largest component. Refusals are counted by their text.

Needs torch, transformers and sentence-transformers (made with 2.15.0, 5.24.0 and 6.2.0). Exits with 1 if anything differs.
"""
import argparse
import collections
import json
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile

os.environ["TRANSFORMERS_VERBOSITY"] = "critical"
os.environ["HF_HUB_OFFLINE"] = "1"

import numpy
import torch
import transformers
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling

from check_tokenizers import flag, random_corpus, random_text, random_tokenizer

ROOT = pathlib.Path(__file__).parent.parent
TOLERANCE = 1e-5
MODES = ["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]
ACTIVATIONS = [torch.nn.Tanh(), torch.nn.Identity(), torch.nn.ReLU(), torch.nn.GELU(), torch.nn.SiLU(), torch.nn.Sigmoid()]


def random_encoder(rng, path):
    """A folder of transformers with a model and its tokenizer."""
    torch.manual_seed(rng.randint(0, 10**9))
    kind = rng.choice(["bert", "bert", "distilbert", "roberta", "xlm-roberta"])
    make, _ = random_tokenizer(rng, "wordpiece" if kind in ("bert", "distilbert") else "bpe")
    while kind.endswith("roberta") and make.model.unk_token is not None:  # its vocabulary may lack bytes
        make, _ = random_tokenizer(rng, "bpe")
    vocab = json.loads(make.to_str())["model"]
    names = dict(unk_token="<unk>", pad_token="<pad>", cls_token="[CLS]", sep_token="[SEP]", mask_token="<mask>")
    # Some of RoBERTa's positions are none, and sentence-transformers does not know it.
    is_bert = kind in ("bert", "distilbert")
    limit = {} if is_bert and flag(rng) else {"model_max_length": rng.choice([5, 12, 100])}
    if is_bert:
        tokenizer = transformers.BertTokenizer(vocab=vocab["vocab"], do_lower_case=flag(rng), **names, **limit)
    else:
        tokenizer = transformers.RobertaTokenizer(vocab=vocab["vocab"], merges=[tuple(one) for one in vocab["merges"]],
                                                  bos_token="[CLS]", eos_token="[SEP]", add_prefix_space=flag(rng), **names, **limit)
    sizes = dict(vocab_size=len(tokenizer), max_position_embeddings=rng.choice([12, 40]) if is_bert else 210)
    activation = rng.choice(["gelu", "gelu_new", "relu", "silu", "swish", "mish", "tanh"])
    if kind == "distilbert":
        model = transformers.DistilBertModel(transformers.DistilBertConfig(dim=24, n_layers=2, n_heads=3, hidden_dim=40,
                                                                           activation=activation, **sizes))
    else:
        config = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=40, hidden_act=activation, **sizes)
        of = {"bert": (transformers.BertConfig, transformers.BertModel), "roberta": (transformers.RobertaConfig, transformers.RobertaModel),
              "xlm-roberta": (transformers.XLMRobertaConfig, transformers.XLMRobertaModel)}[kind]
        model = of[1](of[0](pad_token_id=tokenizer.pad_token_id, **config))
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.2 * torch.randn_like(p))
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return kind


def random_modules(rng):
    modes = [rng.choice(MODES)] if rng.random() < 0.6 else rng.sample(MODES, rng.choice([2, 3]))
    width = 24 * len(modes)
    modules = [Pooling(24, pooling_mode=tuple(modes), include_prompt=flag(rng))]
    for _ in range(rng.choice([0, 0, 1, 2])):
        if flag(rng):
            modules.append(Normalize())
            continue
        out = rng.choice([width, 10])
        modules.append(Dense(width, out, bias=flag(rng), activation_function=rng.choice(ACTIVATIONS), use_residual=rng.random() < 0.2))
        width = out
    return modules, "+".join(modes) + "".join(" " + type(one).__name__ for one in modules[1:])


def random_folder(rng, path):
    kind = random_encoder(rng, path / "encoder")
    modules, described = random_modules(rng)
    lower = {"do_lower_case": True} if rng.random() < 0.3 else {}
    prompts = {"query": "hello ", "document": "the world: "} if flag(rng) else {}
    model = SentenceTransformer(
        modules=[Transformer(str(path / "encoder"), max_seq_length=None if flag(rng) else rng.choice([4, 9, 12]), **lower), *modules],
        prompts=prompts, default_prompt_name=rng.choice(["query", "document", None]) if prompts else None,
        truncate_dim=rng.choice([None, None, 7]))
    model.save(str(path / "folder"))
    return f"{kind} {described}", path / "folder"


def compare(engine, name, folder, texts):
    """What became of a folder, and the detail."""
    lines = pathlib.Path(folder) / "lines.txt"
    lines.write_text("".join(text + "\n" for text in texts), encoding="utf-8", newline="")
    result = subprocess.run([engine, "embed", folder, "--input", lines, "--precision", "f32"], capture_output=True, text=True)
    if result.returncode:
        return "refused", result.stderr.strip().replace(str(folder), "")
    ours = numpy.array([json.loads(line)["embedding"] for line in result.stdout.splitlines()])
    theirs = SentenceTransformer(str(folder), device="cpu").encode(texts, show_progress_bar=False)
    if ours.shape != theirs.shape:
        return "differs", f"{ours.shape}, not {theirs.shape}"
    largest = abs(ours - theirs).max(axis=1)
    worst = int(largest.argmax())
    same = largest.max() <= TOLERANCE * abs(theirs).max()
    return ("agrees", "") if same else ("differs", f"{largest.max():.1e} of {abs(theirs).max():.1e}, worst {texts[worst]!r}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=pathlib.Path)
    parser.add_argument("--engine", type=pathlib.Path, default=ROOT / "engine")
    parser.add_argument("--random", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1, help="of the first random folder, the others' follow")
    parser.add_argument("--keep", help="a folder that keeps the random folders that differ")
    arguments = parser.parse_args()
    engine = arguments.engine.resolve()
    outcomes, refusals = collections.Counter(), collections.Counter()

    def note(name, folder, texts):
        outcome, detail = compare(engine, name, folder, texts)
        outcomes[outcome] += 1
        if outcome == "differs":
            print("WRONG", name, detail, flush=True)
        elif outcome == "refused":
            refusals[re.sub(r"[0-9]+", "N", detail)[:170]] += 1
        return outcome

    texts = ["begin"] + random_corpus(random.Random(1))[:20] + ["", " ", "hello", "the world"]
    for folder in arguments.folders:
        print(folder, note(str(folder), folder, texts))
    for number in range(arguments.seed, arguments.seed + arguments.random):
        rng = random.Random(number)
        with tempfile.TemporaryDirectory() as path:
            name, folder = random_folder(rng, pathlib.Path(path))
            made = ["begin"] + [random_text(rng, ["hello", "<mask>"]) or "x" for _ in range(25)] + ["", " ", "hello"]
            if note(f"random {number}: {name}", folder, made) == "differs" and arguments.keep:
                subprocess.run(["cp", "-r", folder, f"{arguments.keep}/{number}"], check=True)
    print(dict(outcomes))
    for text, times in refusals.most_common():
        print(f"{times:6} {text}")
    sys.exit(1 if outcomes["differs"] else 0)


if __name__ == "__main__":
    main()
