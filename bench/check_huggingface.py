"""Model folders that the engine writes, loaded by transformers: equal logits, equal token ids. Run by hand:

    make build/bench/model_logits && python bench/check_huggingface.py [FOLDER ...]

Without arguments: random models of GPT-2 and GPT-NeoX, of odd sizes, saved by transformers in several ways (dtypes, shards,
activations), read by the engine, whose logits and whose own folder, loaded by transformers, must agree with them.
With arguments: folders that the engine wrote; where one has a tokenizer, AutoTokenizer must give the ids of
`engine tokenize`, and a per-line log likelihood equal to that of `engine score`.

Needs torch and transformers (made with 2.15.0 and 5.23.0). Exits with 1 if anything differs.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPTNeoXConfig

ROOT = pathlib.Path(__file__).parent.parent
# f32 sums in another order, relative to the largest logit; bf16 products are compared with bf16 by transformers.
TOLERANCE = 1e-5
# By kind of config: the values that a check may change, and the keys that must come back.
KINDS = {
    GPT2Config: (dict(vocab_size=131, n_positions=70, n_embd=48, n_layer=3, n_head=6, bos_token_id=5, eos_token_id=7),
                 ["activation_function", "embd_pdrop", "resid_pdrop", "attn_pdrop", "layer_norm_epsilon"]),
    GPTNeoXConfig: (dict(vocab_size=131, max_position_embeddings=70, hidden_size=48, num_hidden_layers=3,
                         num_attention_heads=6, intermediate_size=100, bos_token_id=5, eos_token_id=7),
                    ["hidden_act", "hidden_dropout", "attention_dropout", "layer_norm_eps", "rope_parameters",
                     "use_parallel_residual", "attention_bias", "intermediate_size"])}
KEYS = ["hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size", "max_position_embeddings",
        "initializer_range", "bos_token_id", "eos_token_id", "pad_token_id", "tie_word_embeddings"]
FAILURES = []


def check(what, holds, detail=""):
    print(("ok    " if holds else "WRONG ") + what, detail)
    if not holds:
        FAILURES.append(what)


def difference(actual, expected):
    if actual.shape != expected.shape or not torch.isfinite(actual).all():
        return float("inf")
    return ((actual.double() - expected.double()).abs().max() / expected.double().abs().max()).item()


def logits_of(model, sequences):
    with torch.no_grad():
        return torch.cat([model(torch.tensor([tokens])).logits[0].float() for tokens in sequences])


def run_engine(arguments, text):
    result = subprocess.run(arguments, input=text, capture_output=True, text=True, cwd=ROOT)
    if result.returncode:
        sys.exit(f"{' '.join(map(str, arguments))} failed: {result.stderr.strip()}")
    return result.stdout


def check_random(build, name, options, dtype="F32", kind=GPT2Config, **saving):
    """transformers -> engine -> transformers."""
    torch.manual_seed(3)
    defaults, keys = KINDS[kind]
    config = kind(**{**defaults, **options})
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))
    if saving.pop("half", None):
        model = model.to(torch.bfloat16).to(torch.float32)
        saved_model = model.to(torch.bfloat16)
    else:
        saved_model = model
    sequences = [torch.randint(0, config.vocab_size, (length,)).tolist() for length in (1, 2, 33, 70)]
    with tempfile.TemporaryDirectory() as folder:
        theirs, ours = pathlib.Path(folder) / "theirs", pathlib.Path(folder) / "ours"
        saved_model.save_pretrained(theirs, **saving)
        text = "\n".join(" ".join(map(str, tokens)) for tokens in sequences) + "\n"
        run_engine([build / "bench" / "model_logits", theirs, ours, dtype, "f32"], text)
        expected = logits_of(AutoModelForCausalLM.from_pretrained(theirs, dtype=torch.float32).eval(), sequences)
        engine = load_file(ours / "logits.safetensors")["logits"]
        error = difference(engine, expected)
        check(f"{name}: the engine reads transformers' folder", error < TOLERANCE, f"{error:.1e}")
        again, info = AutoModelForCausalLM.from_pretrained(ours, dtype=torch.float32, output_loading_info=True)
        clean = not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
        check(f"{name}: transformers finds every tensor it wants in the engine's folder", clean, "" if clean else info)
        stored = AutoModelForCausalLM.from_pretrained(ours)
        wanted = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}[dtype]
        check(f"{name}: transformers takes it as {dtype}", stored.dtype == wanted, stored.dtype)
        reference = AutoModelForCausalLM.from_pretrained(theirs, dtype=torch.float32)
        same = all(torch.equal(a.to(wanted).float(), b) for a, b in zip(reference.parameters(), again.parameters()))
        check(f"{name}: every parameter has the same bits", same)
        if dtype == "F32":
            error = difference(logits_of(again.eval(), sequences), expected)
            check(f"{name}: its logits are the original's", error < TOLERANCE, f"{error:.1e}")
        for key in KEYS + keys:
            a, b = getattr(reference.config, key), getattr(again.config, key)
            same_activation = key == "activation_function" and {a, b} == {"gelu_new", "gelu_pytorch_tanh"}
            check(f"{name}: {key}", a == b or same_activation, "" if a == b else f"{a} became {b}")


TEXTS = ["To be, or not to be: that is the question.", "((12+7)*(3-1))", "Zwölf Boxkämpfer jagen Viktor — 你好!"]


def check_folder(engine, folder, texts):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    check(f"{folder}: transformers loads it", True, f"{sum(p.numel() for p in model.parameters())} parameters")
    if not (folder / "tokenizer.json").exists():
        return
    tokenizer = AutoTokenizer.from_pretrained(folder)
    compared = 0
    for text in texts:
        # One text at a time: a tokenizer that does not know a character of it refuses it, and that is right.
        result = subprocess.run([engine, "tokenize", folder, "--input", "/dev/stdin"], input=text + "\n",
                                capture_output=True, text=True)
        if result.returncode:
            print("      not in this vocabulary:", repr(text), result.stderr.strip())
            continue
        ids = json.loads(result.stdout)["ids"]
        theirs = tokenizer(text, add_special_tokens=False)["input_ids"]
        check(f"{folder}: ids of {text!r}", ids == theirs and len(ids) > 0, f"{len(ids)} tokens")
        compared += 1
        if not 1 < len(ids) <= model.config.max_position_embeddings:
            continue
        scored = json.loads(run_engine([engine, "score", folder, "--input", "/dev/stdin", "--precision", "f32"],
                                       text + "\n"))
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0, :-1].log_softmax(-1)
        expected = logits.gather(1, torch.tensor(ids[1:])[:, None]).sum().item()
        error = abs(scored["log_likelihood"] - expected) / abs(expected)
        check(f"{folder}: log likelihood of {text!r}", error < TOLERANCE, f"{expected:.4f}, {error:.1e}")
    check(f"{folder}: something was compared", compared > 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=pathlib.Path)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--engine", type=pathlib.Path, default=ROOT / "engine")
    parser.add_argument("--text", action="append", default=[], help="a text to compare, beside those built in")
    arguments = parser.parse_args()
    for folder in arguments.folders:
        check_folder(arguments.engine.resolve(), folder.resolve(), arguments.text + TEXTS)
    if not arguments.folders:
        build = arguments.build.resolve()
        check_random(build, "plain", {})
        check_random(build, "odd sizes", dict(n_embd=42, n_head=7, n_inner=51, vocab_size=97, bos_token_id=None,
                                              eos_token_id=3, pad_token_id=0, layer_norm_epsilon=1e-4))
        for activation in ("gelu", "relu", "gelu_pytorch_tanh", "tanh", "silu", "mish", "quick_gelu"):
            check_random(build, activation, dict(activation_function=activation, resid_pdrop=0.25, embd_pdrop=0.25))
        check_random(build, "untied", dict(tie_word_embeddings=False))
        check_random(build, "dropouts of 1", dict(resid_pdrop=1.0, embd_pdrop=1.0, attn_pdrop=1.0))
        check_random(build, "shards", {}, max_shard_size="60KB")
        check_random(build, "bf16 in", {}, half=True)
        check_random(build, "bf16 out", {}, dtype="BF16")
        check_random(build, "f16 out", {}, dtype="F16")
        rotary = {"rope_type": "default", "rope_theta": 300.0, "partial_rotary_factor": 1.0}
        for number, options in enumerate(({}, {"use_parallel_residual": False}, {"tie_word_embeddings": True},
                                          {"rope_parameters": rotary, "attention_bias": False, "hidden_act": "relu"},
                                          {"hidden_act": "silu"})):
            check_random(build, f"neox {number}", options, kind=GPTNeoXConfig)
        check_random(build, "neox in shards, bf16 out", {}, dtype="BF16", kind=GPTNeoXConfig, max_shard_size="60KB")
    print(f"{len(FAILURES)} differences" if FAILURES else "everything agrees")
    sys.exit(1 if FAILURES else 0)


if __name__ == "__main__":
    main()
