"""Makes tests/golden/bert: small random encoders and what they compute, by transformers in double precision.

Made with python 3.11, torch 2.15.0, transformers 5.23.0 (untied: 5.24.0), safetensors 0.8.0:

    python tests/golden/make_bert.py

Of the models for masked tokens, classes and answers of BERT, DistilBERT, RoBERTa, XLM-R and RemBERT, and of those for
masked tokens whose logits have a table of their own ("untied"), in a folder of its own:
  model/      as save_pretrained writes it (f32)
  gradients/  the same, holding the gradient of the loss by each parameter
  after/      the same, holding the parameters after three AdamW steps
  values.safetensors   tokens, types (where the model has several), offsets of three sequences; labels (-100: not scored)
                       of all rows: tokens, at the first row of each sequence its class, or (answers) 0 or 1, which picks
                       one of a row's two logits and so gives both of them a gradient; logits of the scored rows; the
                       hidden states of all; the loss (mean over the scored rows); AdamW's settings; and errors: how far
                       transformers' own f32 and bf16 (autocast) results lie from those in double, as the largest
                       difference by the largest value
"""
import copy
import pathlib
import shutil

import torch
from safetensors.torch import save_file
import transformers
from transformers import BertConfig, DistilBertConfig, RemBertConfig, RobertaConfig, XLMRobertaConfig

from golden_steps import adamw_settings, error, results, save_folder

FOLDER = pathlib.Path(__file__).parent / "bert"
MAX_NORM = 0.5
LENGTHS = (7, 1, 19)
VOCABULARY, CLASSES = 53, 3
LABELS = {0: "no", 1: "maybe", 2: "yes"}
# Nothing is a multiple of anything. What is 1e-12 in published models is larger in BERT here, so that it counts.
CONFIGS = {
    "bert": BertConfig(vocab_size=VOCABULARY, hidden_size=20, num_hidden_layers=2, num_attention_heads=4,
                       intermediate_size=33, max_position_embeddings=23, type_vocab_size=2, layer_norm_eps=3e-3,
                       id2label=LABELS, label2id={name: i for i, name in LABELS.items()}),
    "distilbert": DistilBertConfig(vocab_size=VOCABULARY, dim=20, n_layers=2, n_heads=4, hidden_dim=33,
                                   max_position_embeddings=23, id2label=LABELS,
                                   label2id={name: i for i, name in LABELS.items()})}
# Three rows of the position table belong to no position where the pad token is 2. RoBERTa's head for masked tokens has
# GELU whatever the layers have.
ROBERTA = {"vocab_size": VOCABULARY, "hidden_size": 20, "num_hidden_layers": 2, "num_attention_heads": 4,
           "intermediate_size": 33, "max_position_embeddings": 26, "type_vocab_size": 1, "layer_norm_eps": 3e-3,
           "pad_token_id": 2, "bos_token_id": 3, "eos_token_id": 4, "hidden_act": "gelu_new", "id2label": LABELS,
           "label2id": {name: i for i, name in LABELS.items()}}
CONFIGS["roberta"] = RobertaConfig(**ROBERTA)
CONFIGS["xlm_roberta"] = XLMRobertaConfig(**ROBERTA | {"type_vocab_size": 2, "pad_token_id": 1})
CONFIGS["rembert"] = RemBertConfig(vocab_size=VOCABULARY, hidden_size=20, num_hidden_layers=2, num_attention_heads=4,
                                   intermediate_size=33, input_embedding_size=11, output_embedding_size=27,
                                   max_position_embeddings=23, type_vocab_size=2, layer_norm_eps=3e-3, bos_token_id=3,
                                   eos_token_id=4, hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1,
                                   id2label=LABELS, label2id={name: i for i, name in LABELS.items()})
FAMILIES = {"bert": "Bert", "distilbert": "DistilBert", "roberta": "Roberta", "xlm_roberta": "XLMRoberta",
            "rembert": "RemBert"}
HEADS = {"masked": "MaskedLM", "classes": "SequenceClassification", "answers": "QuestionAnswering"}
MODELS = {f"{kind}_{head}": (kind, getattr(transformers, f"{family}For{theirs}"))
          for kind, family in FAMILIES.items() for head, theirs in HEADS.items()}
MODELS |= {f"{kind}_untied": MODELS[f"{kind}_masked"] for kind in FAMILIES if kind != "rembert"}


def make_model(name):
    torch.manual_seed(20)
    kind, model_class = MODELS[name]
    config = copy.deepcopy(CONFIGS[kind])
    if name.endswith("answers"):
        config.num_labels = 2
    config.tie_word_embeddings = config.tie_word_embeddings and not name.endswith("untied")
    model = model_class(config).eval()
    with torch.no_grad():
        for key, p in model.named_parameters():
            if "norm" in key.lower() and key.endswith("weight"):
                p.copy_(1 + 0.3 * torch.randn_like(p))
            elif p.dim() == 1:
                p.copy_(0.2 * torch.randn_like(p))
            else:
                p.copy_(scale_of(kind, key) * torch.randn_like(p))
    return model


def scale_of(kind, key):
    """Smaller weights, and larger embeddings where no logits come from them, make a loss that is smooth enough for finite
    differences of a model with a narrow norm."""
    if "qa_outputs" in key:
        return 0.6
    if kind in ("bert", "distilbert"):
        return 0.3
    return 0.45 if kind == "rembert" and "embeddings" in key else 0.2


def run(model, batch, autocast=False):
    """Hidden states of all rows, logits of the scored rows, and the loss, whose gradients are added."""
    hidden, logits, labels = [], [], []
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        for tokens, types, targets in batch:
            inputs = {"input_ids": tokens[None]}
            if getattr(model.config, "type_vocab_size", 0) > 1:
                inputs["token_type_ids"] = types[None]
            result = model(**inputs, output_hidden_states=True)
            hidden.append(result.hidden_states[-1][0])
            scored = targets != -100
            if "start_logits" in result:
                logits.append(torch.stack((result.start_logits[0], result.end_logits[0]), dim=1)[scored])
            else:
                logits.append(result.logits[0][scored] if result.logits.dim() == 3 else result.logits)
            labels.append(targets[scored])
        rows, labels = torch.cat(logits), torch.cat(labels)
        rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
        loss = torch.nn.functional.cross_entropy(rows, labels)
    loss.backward()
    return torch.cat(hidden).detach(), rows.detach(), loss.detach()


def make_batch(name):
    torch.manual_seed(21)
    batch = []
    for length in LENGTHS:
        tokens = torch.randint(0, VOCABULARY, (length,))
        # To RoBERTa a pad token has no position, and its embedding has no gradient.
        if not name.startswith(("bert", "distilbert")):
            tokens[tokens == CONFIGS[MODELS[name][0]].pad_token_id] = VOCABULARY - 1
        types = (torch.arange(length) > length // 2).long()
        labels = torch.full((length,), -100)
        if name.endswith(("masked", "untied")):
            scored = torch.rand(length) < 0.4
            labels[scored] = torch.randint(0, VOCABULARY, (int(scored.sum()),))
        elif name.endswith("answers"):
            scored = torch.rand(length) < 0.8
            labels[scored] = torch.randint(0, 2, (int(scored.sum()),))
        else:
            labels[0] = torch.randint(0, CLASSES, ())
        batch.append((tokens, types, labels))
    return batch


def main():
    shutil.rmtree(FOLDER, ignore_errors=True)
    for name in MODELS:
        model, batch, folder = make_model(name), make_batch(name), FOLDER / name
        exact, after = results(run, copy.deepcopy(model).double(), batch, MAX_NORM)
        print(name, "loss", exact["loss"][""].item())
        offsets = [sum(LENGTHS[:i]) for i in range(len(LENGTHS) + 1)]
        values = {"offsets": torch.tensor(offsets).int(), "loss": exact["loss"][""].reshape(1),
                  "hidden": exact["hidden"][""].float(), "logits": exact["logits"][""].float(),
                  "adamw": adamw_settings(MAX_NORM)}
        for i, key in enumerate(("tokens", "types", "labels")):
            values[key] = torch.cat([sequence[i] for sequence in batch]).int()
        for precision, autocast in (("f32", False), ("bf16", True)):
            ours, _ = results(run, model, batch, MAX_NORM, autocast)
            for key in exact:
                values[f"error.{precision}.{key}"] = torch.tensor([error(ours[key], exact[key])])
                print(precision, key, values[f"error.{precision}.{key}"].item())
        save_folder(model, folder / "model", dict(model.named_parameters()))
        save_folder(model, folder / "gradients", exact["gradients"])
        save_folder(model, folder / "after", after)
        save_file(values, folder / "values.safetensors")


if __name__ == "__main__":
    main()
