"""Makes tests/golden/lstm: small random language models of torch.nn.LSTM and what they compute, by torch in double.

Made with python 3.11, torch 2.15.0, safetensors 0.8.0:  python tests/golden/make_lstm.py

  untied/  two layers, a table of its own for the logits, more tokens in the vocabulary than in the batch
  tied/    three layers, the token embedding projects to the logits, a smaller vocabulary

Each has the folders and values of make_gpt2.py, in this engine's own format. torch's bias_hh is 0 and not trained: the
engine has one bias in place of torch's two, whose sum alone counts. The sequences are packed (pack_padded_sequence),
as ragged rows are given to torch. The errors of bf16 are those of passes
whose tensors are all bf16.
"""
import copy
import json
import pathlib
import shutil

import torch
from safetensors.torch import save_file
from torch.func import functional_call
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from golden_steps import adamw_settings, error, three_steps

FOLDER = pathlib.Path(__file__).parent / "lstm"
MAX_NORM = 0.1
LENGTHS = (7, 12, 1, 9)
# Nothing is a multiple of anything.
KINDS = {"untied": dict(width=22, layers=2, vocabulary=53), "tied": dict(width=17, layers=3, vocabulary=23)}


class LanguageModel(torch.nn.Module):
    def __init__(self, width, layers, vocabulary, tied):
        super().__init__()
        self.embedding = torch.nn.Embedding(vocabulary, width)
        self.lstm = torch.nn.LSTM(width, width, layers, batch_first=True)
        for layer in range(layers):
            name = f"bias_hh_l{layer}"
            delattr(self.lstm, name)
            self.lstm.register_buffer(name, torch.zeros(4 * width))
        self.lstm._flat_weights = [getattr(self.lstm, name) for name in self.lstm._flat_weights_names]
        self.lm_head = None if tied else torch.nn.Linear(width, vocabulary, bias=False)

    def forward(self, sequences):
        lengths = torch.tensor([len(tokens) for tokens in sequences])
        x = self.embedding(pad_sequence(sequences, batch_first=True))
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        hidden, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
        table = self.embedding.weight if self.lm_head is None else self.lm_head.weight
        return [hidden[i, :length] @ table.T for i, length in enumerate(lengths)]


def make_model(kind):
    torch.manual_seed(24)
    model = LanguageModel(tied=kind == "tied", **KINDS[kind]).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(0.5 * torch.randn_like(p))
    return model


def run(model, sequences, precision=None):
    """Logits of all rows and the loss, whose gradients are added. With a precision all tensors are rounded to it."""
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    if precision:
        tensors = {name: tensor.to(precision) for name, tensor in tensors.items()}
    rows = functional_call(model, tensors, (sequences,))
    scored = [(row[:-1].to(torch.promote_types(row.dtype, torch.float32)), tokens[1:])
              for row, tokens in zip(rows, sequences)]
    total = sum(torch.nn.functional.cross_entropy(scores, labels, reduction="sum") for scores, labels in scored)
    loss = total / sum(len(labels) for _, labels in scored)
    loss.backward()
    return torch.cat(rows).detach(), loss.detach()


def results(model, sequences, precision=None):
    model = copy.deepcopy(model)
    logits, loss = run(model, sequences, precision)
    gradients, moved, after = three_steps(model, lambda: run(model, sequences, precision), MAX_NORM)
    return {"logits": {"": logits}, "loss": {"": loss}, "gradients": gradients, "moved": moved}, after


def save(folder, model, tensors):
    folder.mkdir(parents=True)
    config = {"model_type": "engine_lstm", "architectures": ["EngineLSTMLMHeadModel"],
              "hidden_size": model.lstm.hidden_size, "num_layers": model.lstm.num_layers,
              "vocab_size": model.embedding.num_embeddings,
              "max_positions": 33, "dropout": 0.1, "initializer_range": 0.02, "dtype": "float32",
              "tie_word_embeddings": model.lm_head is None, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": None}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    save_file({name.replace("bias_ih", "bias"): tensor.float().contiguous() for name, tensor in tensors.items()},
              folder / "model.safetensors")


def main():
    shutil.rmtree(FOLDER, ignore_errors=True)
    for kind in KINDS:
        model = make_model(kind)
        torch.manual_seed(25)
        sequences = [torch.randint(0, KINDS[kind]["vocabulary"], (length,)) for length in LENGTHS]
        exact, after = results(copy.deepcopy(model).double(), sequences)
        print(kind, "loss", exact["loss"][""].item())
        offsets = [sum(LENGTHS[:i]) for i in range(len(LENGTHS) + 1)]
        values = {"tokens": torch.cat(sequences).int(), "offsets": torch.tensor(offsets).int(),
                  "logits": exact["logits"][""].float(), "loss": exact["loss"][""].reshape(1),
                  "adamw": adamw_settings(MAX_NORM)}
        for precision, dtype in (("f32", None), ("bf16", torch.bfloat16)):
            ours, _ = results(model, sequences, dtype)
            for key in exact:
                values[f"error.{precision}.{key}"] = torch.tensor([error(ours[key], exact[key])])
                print(precision, key, values[f"error.{precision}.{key}"].item())
        save(FOLDER / kind / "model", model, dict(model.named_parameters()))
        save(FOLDER / kind / "gradients", model, exact["gradients"])
        save(FOLDER / kind / "after", model, after)
        save_file(values, FOLDER / kind / "values.safetensors")


if __name__ == "__main__":
    main()
