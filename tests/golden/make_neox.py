"""Makes tests/golden/neox: small random models of GPT-NeoX's kinds and what they compute, by transformers in double.

Made with python 3.11, torch 2.15.0, transformers 5.23.0, safetensors 0.8.0:  python tests/golden/make_neox.py

  parallel/    a parallel residual, a table of its own for the logits, a quarter of each head rotary, biases
  sequential/  one after the other, tied, all of each head rotary with another base, no biases in attention

Each has the folders and values of make_gpt2.py, but for other activations.
"""
import copy
import pathlib
import shutil

import torch
from safetensors.torch import save_file
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from golden_steps import adamw_settings, save_folder
from make_gpt2 import LENGTHS, MAX_NORM, error, results

FOLDER = pathlib.Path(__file__).parent / "neox"
KINDS = {
    "parallel": dict(use_parallel_residual=True, tie_word_embeddings=False, attention_bias=True,
                     rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.25}),
    "sequential": dict(use_parallel_residual=False, tie_word_embeddings=True, attention_bias=False,
                       rope_parameters={"rope_type": "default", "rope_theta": 500.0, "partial_rotary_factor": 1.0}),
}


def make_model(kind):
    torch.manual_seed(22)
    # Nothing is a multiple of anything; intermediate_size is not 4 hidden_size.
    config = GPTNeoXConfig(vocab_size=61, max_position_embeddings=33, hidden_size=24, num_hidden_layers=3,
                           num_attention_heads=3, intermediate_size=50, bos_token_id=1, eos_token_id=2,
                           layer_norm_eps=3e-5, hidden_dropout=0.1, attention_dropout=0.1, **KINDS[kind])
    model = GPTNeoXForCausalLM(config).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "layernorm" in name and name.endswith("weight") or name.endswith("layer_norm.weight"):
                p.copy_(1 + 0.3 * torch.randn_like(p))
            elif p.dim() == 1:
                p.copy_(0.2 * torch.randn_like(p))
            else:
                p.copy_(0.3 * torch.randn_like(p))
    return model


def main():
    shutil.rmtree(FOLDER, ignore_errors=True)
    for kind in KINDS:
        model = make_model(kind)
        torch.manual_seed(21)
        sequences = [torch.randint(0, 61, (length,)) for length in LENGTHS]
        exact, after = results(copy.deepcopy(model).double(), sequences)
        print(kind, "loss", exact["loss"][""].item())
        values = {"tokens": torch.cat(sequences).int(), "offsets": torch.tensor([0, LENGTHS[0], sum(LENGTHS)]).int(),
                  "logits": exact["logits"][""].float(), "loss": exact["loss"][""].reshape(1),
                  "adamw": adamw_settings(MAX_NORM)}
        for precision, autocast in (("f32", False), ("bf16", True)):
            ours, _ = results(model, sequences, autocast)
            for key in exact:
                values[f"error.{precision}.{key}"] = torch.tensor([error(ours[key], exact[key])])
                print(precision, key, values[f"error.{precision}.{key}"].item())
        save_folder(model, FOLDER / kind / "model", dict(model.named_parameters()))
        save_folder(model, FOLDER / kind / "gradients", exact["gradients"])
        save_folder(model, FOLDER / kind / "after", after)
        save_file(values, FOLDER / kind / "values.safetensors")


if __name__ == "__main__":
    main()
