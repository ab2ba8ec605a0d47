"""Makes tests/golden/gpt2: a small random GPT-2 and what it computes, by transformers in double precision.

Made with python 3.11, torch 2.15.0, transformers 5.23.0, safetensors 0.8.0 (quick_gelu: 5.24.0):

    python tests/golden/make_gpt2.py

  model/      the folder as save_pretrained writes it (f32)
  gradients/  the same, holding the gradient of the loss by each parameter
  after/      the same, holding the parameters after three AdamW steps
  values.safetensors   tokens and offsets of two sequences; logits of all their rows, with six activations; the loss
                       (mean over all next tokens of both); AdamW's settings; and errors: how far transformers' own f32
                       and bf16 (autocast) results lie from those in double, as the largest difference by the largest
                       value
"""
import copy
import pathlib
import shutil

import torch
from safetensors.torch import save_file
from transformers import GPT2Config, GPT2LMHeadModel

from golden_steps import adamw_settings, save_folder, three_steps

FOLDER = pathlib.Path(__file__).parent / "gpt2"
MAX_NORM = 1.0
LENGTHS = (7, 19)


def make_model():
    torch.manual_seed(20)
    # Nothing is a multiple of anything; n_inner is not 4 n_embd.
    config = GPT2Config(vocab_size=61, n_positions=33, n_embd=40, n_layer=3, n_head=5, n_inner=99, bos_token_id=1,
                        eos_token_id=2, layer_norm_epsilon=3e-5)
    model = GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "ln_" in name and name.endswith("weight"):
                p.copy_(1 + 0.3 * torch.randn_like(p))
            elif p.dim() == 1:
                p.copy_(0.2 * torch.randn_like(p))
            else:
                p.copy_(0.25 * torch.randn_like(p))
    return model


def run(model, sequences, autocast=False):
    """Logits of all rows and the loss, whose gradients are added."""
    logits, total, count = [], 0, 0
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        for tokens in sequences:
            row = model(tokens[None]).logits[0]
            scores = row[:-1].to(torch.promote_types(row.dtype, torch.float32))
            total = total + torch.nn.functional.cross_entropy(scores, tokens[1:], reduction="sum")
            count += len(tokens) - 1
            logits.append(row)
    loss = total / count
    loss.backward()
    return torch.cat(logits).detach(), loss.detach()


def results(model, sequences, autocast=False):
    model = copy.deepcopy(model)
    logits, loss = run(model, sequences, autocast)
    gradients, moved, after = three_steps(model, lambda: run(model, sequences, autocast), MAX_NORM)
    return {"logits": {"": logits}, "loss": {"": loss}, "gradients": gradients, "moved": moved}, after


def error(actual, expected):
    return max(((actual[k].double() - expected[k]).abs().max() / expected[k].abs().max()).item() for k in expected)


def main():
    shutil.rmtree(FOLDER, ignore_errors=True)
    model = make_model()
    torch.manual_seed(21)
    sequences = [torch.randint(0, 61, (length,)) for length in LENGTHS]
    exact, after = results(copy.deepcopy(model).double(), sequences)
    print("loss", exact["loss"][""].item())
    values = {"tokens": torch.cat(sequences).int(), "offsets": torch.tensor([0, LENGTHS[0], sum(LENGTHS)]).int(),
              "logits": exact["logits"][""].float(), "loss": exact["loss"][""].reshape(1),
              "adamw": adamw_settings(MAX_NORM)}
    for activation in ("gelu", "relu", "silu", "mish", "quick_gelu"):
        other = GPT2LMHeadModel(GPT2Config(**{**model.config.to_dict(), "activation_function": activation}))
        other.load_state_dict(model.state_dict())
        other = other.eval().double()
        values[f"logits_{activation}"] = run(other, sequences)[0].float()
    for precision, autocast in (("f32", False), ("bf16", True)):
        ours, _ = results(model, sequences, autocast)
        for key in exact:
            values[f"error.{precision}.{key}"] = torch.tensor([error(ours[key], exact[key])])
            print(precision, key, values[f"error.{precision}.{key}"].item())
    save_folder(model, FOLDER / "model", dict(model.named_parameters()))
    save_folder(model, FOLDER / "gradients", exact["gradients"])
    save_folder(model, FOLDER / "after", after)
    save_file(values, FOLDER / "values.safetensors")


if __name__ == "__main__":
    main()
