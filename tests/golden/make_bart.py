"""Makes tests/golden/bart: small random encoder-decoders and what they compute, by transformers in double precision.

Made with python 3.11, torch 2.15.0, transformers 5.23.0 (untied: 5.24.0), safetensors 0.8.0:

    python tests/golden/make_bart.py

Of each of three BartForConditionalGeneration, "plain", "scaled" (with scale_embedding and a bias of the logits) and
"untied" (encoder, decoder and logits each have a table of their own), in a folder of its own:
  model/      as save_pretrained writes it (f32)
  gradients/  the same, holding the gradient of the loss by each parameter
  after/      the same, holding the parameters after three AdamW steps
  values.safetensors   sources and source_offsets, tokens (labels shifted right behind the start token), labels (-100: not
                       scored) and offsets of four sequences, run as one padded batch; logits of the scored rows; hidden
                       states of all rows of the decoder; the loss (mean over the scored rows); AdamW's settings; errors:
                       how far transformers' own f32 and bf16 (autocast) results lie from those in double, as the largest
                       difference by the largest value; and what generate() writes after the start token, NAME.tokens and
                       NAME.offsets, and beams' NAME.scores, by the settings in GENERATED
"""
import copy
import pathlib
import shutil

import torch
from safetensors.torch import save_file
from transformers import BartConfig, BartForConditionalGeneration

from golden_steps import adamw_settings, error, results, save_folder

FOLDER = pathlib.Path(__file__).parent / "bart"
MAX_NORM = 0.5
SOURCES, TARGETS = (7, 1, 19, 11), (5, 13, 1, 9)
VOCABULARY, PAD, END, START = 53, 1, 2, 3
# Nothing is a multiple of anything; the decoder is deeper than the encoder. A layernorm's epsilon is 1e-5 in BART.
CONFIG = dict(vocab_size=VOCABULARY, d_model=20, encoder_layers=2, decoder_layers=3, encoder_attention_heads=4,
              decoder_attention_heads=4, encoder_ffn_dim=33, decoder_ffn_dim=33, max_position_embeddings=23,
              bos_token_id=0, pad_token_id=PAD, eos_token_id=END, decoder_start_token_id=START,
              forced_eos_token_id=None)
MODELS = {"plain": {}, "scaled": {"scale_embedding": True}, "untied": {"tie_word_embeddings": False}}
TABLES = ("shared", "embed_tokens", "lm_head")
GENERATED = {"greedy": {},
             "greedy_forced": {"forced_bos_token_id": 7, "forced_eos_token_id": END},
             "beams": {"num_beams": 4},
             "beams_two": {"num_beams": 2},  # stops before a better text ends
             "beams_early": {"num_beams": 3, "early_stopping": True, "length_penalty": 2.0},
             "beams_forced": {"num_beams": 4, "forced_bos_token_id": 7, "forced_eos_token_id": END,
                              "length_penalty": 0.5}}
MOST_NEW_TOKENS = 12


def make_model(name):
    torch.manual_seed(20)
    model = BartForConditionalGeneration(BartConfig(**CONFIG, **MODELS[name])).eval()
    with torch.no_grad():
        for key, p in model.named_parameters():
            if "norm" in key and key.endswith("weight"):
                p.copy_(1 + 0.3 * torch.randn_like(p))
            elif p.dim() == 1:
                p.copy_(0.1 * torch.randn_like(p))
            elif "embed_positions" in key:  # large, so that texts do not repeat one token
                p.copy_(1.5 * torch.randn_like(p))
            else:
                p.copy_((0.3 if any(table in key for table in TABLES) else 0.2) * torch.randn_like(p))
        if name == "scaled":
            model.model.shared.weight *= 0.7
            model.final_logits_bias.copy_(0.5 * torch.randn_like(model.final_logits_bias))
        model.lm_head.weight[END] *= 2  # texts end now and then
    return model


def padded(sequences, value):
    return torch.nn.utils.rnn.pad_sequence(sequences, batch_first=True, padding_value=value)


def make_batch():
    torch.manual_seed(21)
    sources = [torch.randint(4, VOCABULARY, (n,)) for n in SOURCES]
    targets = [torch.randint(4, VOCABULARY, (n,)) for n in TARGETS]
    tokens = [torch.cat([torch.tensor([START]), target[:-1]]) for target in targets]
    labels = [target.masked_fill(torch.rand(len(target)) < 0.2, -100) for target in targets]
    labels[2] = targets[2]
    return sources, tokens, labels


def masked(sources):
    return {"input_ids": padded(sources, PAD), "attention_mask": padded([torch.ones_like(s) for s in sources], 0)}


def run(model, batch, autocast=False):
    """Hidden states of all rows, logits of the scored rows, and the loss, whose gradients are added."""
    sources, tokens, labels = batch
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        result = model(**masked(sources), decoder_input_ids=padded(tokens, PAD), output_hidden_states=True)
        targets = padded(labels, -100)
        scored = targets != -100
        hidden = result.decoder_hidden_states[-1][padded([torch.ones_like(t) for t in tokens], 0) == 1]
        rows = result.logits[scored]
        rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
        loss = torch.nn.functional.cross_entropy(rows, targets[scored])
    loss.backward()
    return hidden.detach(), rows.detach(), loss.detach()


def offsets_of(sequences):
    return torch.tensor([0] + [len(s) for s in sequences]).cumsum(0).int()


def generated(model, sources, settings):
    """What is written after the start token, ending with the end token or at the limit; and the scores of beams."""
    result = model.generate(**masked(sources), max_new_tokens=MOST_NEW_TOKENS, do_sample=False,
                            return_dict_in_generate=True, output_scores=True, **settings)
    texts = []
    for row in result.sequences[:, 1:].tolist():
        texts.append(row[:row.index(END) + 1] if END in row else [token for token in row if token != PAD])
    return texts, getattr(result, "sequences_scores", None)


def main():
    shutil.rmtree(FOLDER, ignore_errors=True)
    for name in MODELS:
        model, batch, folder = make_model(name), make_batch(), FOLDER / name
        exact, after = results(run, copy.deepcopy(model).double(), batch, MAX_NORM)
        print(name, "loss", exact["loss"][""].item())
        values = {"source_offsets": offsets_of(batch[0]), "offsets": offsets_of(batch[1]),
                  "loss": exact["loss"][""].reshape(1), "hidden": exact["hidden"][""].float(),
                  "logits": exact["logits"][""].float(), "adamw": adamw_settings(MAX_NORM)}
        for i, key in enumerate(("sources", "tokens", "labels")):
            values[key] = torch.cat(batch[i]).int()
        for precision, autocast in (("f32", False), ("bf16", True)):
            ours, _ = results(run, model, batch, MAX_NORM, autocast)
            for key in exact:
                values[f"error.{precision}.{key}"] = torch.tensor([error(ours[key], exact[key])])
                print(precision, key, values[f"error.{precision}.{key}"].item())
        for key, settings in GENERATED.items():
            texts, scores = generated(copy.deepcopy(model).double(), batch[0], settings)
            assert texts == generated(model, batch[0], settings)[0], "rounding decides between two texts"
            print(key, texts, scores)
            values[f"{key}.tokens"] = torch.tensor(sum(texts, [])).int()
            values[f"{key}.offsets"] = offsets_of(texts)
            if scores is not None:
                values[f"{key}.scores"] = scores.double()
        save_folder(model, folder / "model", dict(model.named_parameters()))
        save_folder(model, folder / "gradients", exact["gradients"])
        save_folder(model, folder / "after", after)
        save_file(values, folder / "values.safetensors")


if __name__ == "__main__":
    main()
