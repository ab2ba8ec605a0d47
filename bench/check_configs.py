"""Random model folders, by transformers and by the engine: equal logits, or a refusal that names a key or tensor.

    make build/bench/model_logits && python bench/check_configs.py [--count 300] [--seed 1]

Each folder is of one of the architectures that transformers and the engine share. It is drawn over the keys of config.json
that change what a model computes, over names and dtypes of tensors as older versions wrote them, and over tables of tokens
that are tied, untied, saved once, or different although the config ties them. The engine reads it; its logits, and those that
transformers computes of the folder that the engine writes, must be those of transformers. A refusal must be one of REFUSALS.

Needs torch and transformers (made with 2.15.0 and 5.24.0). Exits with 1 if anything differs.
"""
import argparse
import json
import pathlib
import random
import subprocess
import sys
import tempfile

import torch
import transformers
from safetensors.torch import load_file, save_file

from check_huggingface import ROOT, TOLERANCE, difference

ACTIVATIONS = ["gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "gelu_python", "gelu_accurate", "quick_gelu", "relu",
               "silu", "swish", "mish", "tanh"]
BERT = dict(vocab_size=61, hidden_size=24, num_hidden_layers=2, num_attention_heads=4, intermediate_size=37,
            max_position_embeddings=40)
SMALL = {
    "gpt2": dict(vocab_size=61, n_positions=40, n_embd=24, n_layer=2, n_head=4),
    "gpt_neox": BERT | {"hidden_size": 32}, "bert": BERT,
    "roberta": BERT | {"pad_token_id": 1}, "xlm-roberta": BERT | {"pad_token_id": 1},
    "rembert": BERT | {"input_embedding_size": 11, "output_embedding_size": 19},
    "distilbert": dict(vocab_size=61, dim=24, n_layers=2, n_heads=4, hidden_dim=37, max_position_embeddings=40),
    "bart": dict(vocab_size=61, d_model=24, encoder_layers=2, decoder_layers=1, encoder_attention_heads=4,
                 decoder_attention_heads=4, encoder_ffn_dim=37, decoder_ffn_dim=37, max_position_embeddings=40)}
# Keys with values from which one is drawn, in some of the folders.
ENCODER = {"hidden_act": ACTIVATIONS, "layer_norm_eps": [1e-12, 1e-5, 0.01], "tie_word_embeddings": [True, False],
           "type_vocab_size": [1, 2, 3], "pad_token_id": [0, 1, 5], "hidden_dropout_prob": [0.0, 0.1, 1.0],
           "attention_probs_dropout_prob": [0.0, 0.1], "classifier_dropout": [None, 0.2], "is_decoder": [False, True],
           "add_cross_attention": [False], "num_labels": [1, 2, 5], "use_cache": [True, False],
           "chunk_size_feed_forward": [0, 1], "position_embedding_type": ["absolute", "relative_key"],
           "initializer_range": [0.02, 0.5], "eos_token_id": [None, 3, [3, 4]], "bos_token_id": [None, 3]}
DRAWN = {
    "gpt2": {"activation_function": ACTIVATIONS, "layer_norm_epsilon": [1e-5, 0.01], "tie_word_embeddings": [True, False],
             "n_inner": [None, 50], "scale_attn_weights": [True, False], "scale_attn_by_inverse_layer_idx": [False, True],
             "reorder_and_upcast_attn": [False, True], "attn_pdrop": [0.0, 1.0], "is_causal": [True, False],
             "add_cross_attention": [False, True], "pad_token_id": [None, 0], "eos_token_id": [None, 5, [5, 6]],
             "summary_type": ["mean"], "num_labels": [3]},
    "gpt_neox": {"hidden_act": ACTIVATIONS, "layer_norm_eps": [1e-5, 0.01], "tie_word_embeddings": [True, False],
                 "use_parallel_residual": [True, False], "attention_bias": [True, False], "rotary_pct": [0.5, 1.0],
                 "rotary_emb_base": [100], "rope_theta": [100.0, 10000.0], "hidden_dropout": [0.1],
                 "partial_rotary_factor": [0.5], "rope_scaling": [None, {"type": "linear", "factor": 2.0},
                                                                 {"rope_type": "dynamic", "factor": 2.0}],
                 "is_causal": [True, False], "is_decoder": [True, False], "eos_token_id": [None, 5, [5, 6]]},
    "bert": ENCODER, "roberta": ENCODER, "xlm-roberta": ENCODER,
    "rembert": ENCODER | {"classifier_dropout_prob": [0.3], "output_embedding_size": [24, 30],
                          "input_embedding_size": [24, 7]},
    "distilbert": {"activation": ACTIVATIONS, "tie_word_embeddings": [True, False], "sinusoidal_pos_embds": [False, True],
                   "dropout": [0.0, 0.3], "qa_dropout": [0.2], "seq_classif_dropout": [0.3], "num_labels": [1, 2, 5],
                   "pad_token_id": [0, 5], "is_decoder": [False, True], "layer_norm_eps": [0.01],
                   "eos_token_id": [None, 3, [3, 4]]},
    "bart": {"activation_function": ACTIVATIONS, "scale_embedding": [True, False], "tie_word_embeddings": [True, False],
             "encoder_attention_heads": [4, 2], "decoder_ffn_dim": [37, 20], "decoder_layers": [1, 2, 3],
             "encoder_layerdrop": [0.0, 0.2], "normalize_before": [False, True], "pad_token_id": [1, 5],
             "normalize_embedding": [True, False], "add_final_layer_norm": [False, True], "is_causal": [True, False],
             "static_position_embeddings": [False, True], "add_bias_logits": [False, True], "is_decoder": [False],
             "eos_token_id": [2, [2, 3]], "forced_eos_token_id": [None, 2], "num_labels": [3]}}
CLASSES = {"gpt2": ["GPT2LMHeadModel"], "gpt_neox": ["GPTNeoXForCausalLM"], "bart": ["BartForConditionalGeneration"]}
CLASSES |= {name: [f"{family}For{head}" for head in ("MaskedLM", "SequenceClassification", "QuestionAnswering")]
            for name, family in {"bert": "Bert", "distilbert": "DistilBert", "roberta": "Roberta",
                                 "xlm-roberta": "XLMRoberta", "rembert": "RemBert"}.items()}
CLASSES["bert"].append("BertForPreTraining")
# Other names of keys in config.json, and names of tensors as older versions wrote them.
GENERAL = {"n_embd": "hidden_size", "n_layer": "num_hidden_layers", "n_head": "num_attention_heads",
           "n_positions": "max_position_embeddings", "dim": "hidden_size", "n_layers": "num_hidden_layers",
           "n_heads": "num_attention_heads", "d_model": "hidden_size", "encoder_layers": "num_hidden_layers",
           "encoder_attention_heads": "num_attention_heads"}
OLD_NAMES = [("LayerNorm.weight", "LayerNorm.gamma"), ("LayerNorm.bias", "LayerNorm.beta"), ("lm_head", "embed_out")]
PREFIXES = ["transformer.", "gpt_neox.", "bert.", "roberta.", "rembert.", "distilbert."]
TABLES = ("cls.predictions.decoder.weight", "lm_head.decoder.weight", "vocab_projector.weight", "lm_head.weight",
          "model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight")
BIASES = ("cls.predictions.decoder.bias", "lm_head.decoder.bias")
REFUSALS = ["is_decoder", "add_cross_attention", "position_embedding_type", "scale_attn_weights", "is_causal",
            "scale_attn_by_inverse_layer_idx", "encoder_attention_heads", "encoder_ffn_dim", "normalize_before",
            "add_final_layer_norm", "rope_scaling", "rope_theta", "partial_rotary_factor", "problem_type"]


def randomised(model):
    with torch.no_grad():
        for name, p in list(model.named_parameters()) + list(model.named_buffers()):
            if not p.is_floating_point() or "inv_freq" in name:
                continue
            norm = "norm" in name.lower() or "ln_" in name
            p.copy_((1 if norm and name.endswith("weight") else 0) + (0.3 if p.dim() == 1 else 0.25) * torch.randn_like(p))
    return model.eval()


def change_tensors(rng, tensors, config):
    """Names, dtypes and ties as other writers leave them. Returns what was done."""
    done = []
    tied = config.get("tie_word_embeddings", config["model_type"] not in ("gpt_neox", "rembert"))
    if tied and rng.random() < 0.4:
        known = [name for name in TABLES if name.split(".")[0] in ("cls", "vocab_projector", "lm_head")
                 or config["model_type"] == "bart"]
        family = {"gpt2": "transformer.wte", "bert": "bert.emb", "roberta": "roberta.emb", "xlm-roberta": "roberta.emb",
                  "distilbert": "distilbert.emb", "bart": "model.shared", "gpt_neox": "gpt_neox.embed_in"}
        table = next((k for k in tensors if k.startswith(family.get(config["model_type"], "-")) and
                      k.endswith(("wte.weight", "word_embeddings.weight", "shared.weight", "embed_in.weight"))), None)
        heads = {"gpt2": [3], "gpt_neox": [3], "bert": [0], "roberta": [1], "xlm-roberta": [1], "distilbert": [2],
                 "bart": [3, 4, 5]}.get(config["model_type"], [])
        has_logits = any(k in str(config["architectures"]) for k in ("MaskedLM", "LMHead", "Causal", "Conditional", "PreT"))
        if table and heads and has_logits:
            name = TABLES[rng.choice(heads)]
            assert name in known
            tensors[name] = tensors[table].clone()
            if rng.random() < 0.6:
                tensors[name] += 0.3 * torch.randn_like(tensors[name])
                done.append(f"{name} differs")
            for bias, short in zip(BIASES, ("cls.predictions.bias", "lm_head.bias")):
                if short in tensors and rng.random() < 0.5:
                    tensors[bias] = torch.randn_like(tensors[short])
                    done.append(f"{bias} differs")
            if table in tensors and not done and rng.random() < 0.5:
                del tensors[table]
                done.append(f"{table} saved as {name}")
    if rng.random() < 0.2:
        old = rng.choice(OLD_NAMES)
        for name in [name for name in tensors if old[0] in name and name.endswith(("weight", "bias"))]:
            if old[1] != "embed_out" or config["model_type"] == "gpt_neox":
                tensors[name.replace(*old)] = tensors.pop(name)
        done.append(f"old names {old[1]}")
    if rng.random() < 0.15:
        for prefix in PREFIXES:
            for name in [name for name in tensors if name.startswith(prefix)]:
                tensors[name[len(prefix):]] = tensors.pop(name)
        done.append("no prefix")
    dtype = rng.choice([torch.float32] * 4 + [torch.float16, torch.bfloat16, torch.float64])
    for name in tensors:
        tensors[name] = tensors[name].to(dtype).contiguous()
    done.append(str(dtype))
    return done


def draw_folder(rng, folder):
    """Writes a folder; returns the name of its class and what is special about it."""
    kind = rng.choice(sorted(SMALL))
    values = dict(SMALL[kind])
    drawn = {key: rng.choice(choices) for key, choices in DRAWN[kind].items() if rng.random() < 0.25}
    config_class = transformers.CONFIG_MAPPING[kind]
    class_name = rng.choice(CLASSES[kind])
    if "QuestionAnswering" in class_name:
        drawn["num_labels"] = 2
    torch.manual_seed(rng.randrange(1 << 30))
    model = randomised(getattr(transformers, class_name)(config_class(**values | drawn)))
    model.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    done = [f"{key}={value}" for key, value in drawn.items()]
    if rng.random() < 0.3:
        for own, general in GENERAL.items():
            if own in config and rng.random() < 0.5:
                config[general] = config.pop(own)
                done.append(f"{own} as {general}")
    config |= {key: value for key, value in drawn.items() if key not in ("num_labels",)}
    tensors = load_file(folder / "model.safetensors")
    done += change_tensors(rng, tensors, config)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    return class_name, config, done


def logits_of(folder, class_name, sequences, is_bart):
    model = getattr(transformers, class_name).from_pretrained(folder, dtype=torch.float32).eval()
    rows = []
    with torch.no_grad():
        for first, second in sequences:
            inputs = {"input_ids": torch.tensor([first])}
            if is_bart:
                inputs = {"input_ids": torch.tensor([second]), "decoder_input_ids": torch.tensor([first])}
            elif second:
                inputs["token_type_ids"] = torch.tensor([second])
            result = model(**inputs)
            if "start_logits" in result:
                rows.append(torch.stack((result.start_logits[0], result.end_logits[0]), dim=1))
            else:
                logits = result.get("logits", result.get("prediction_logits"))
                rows.append(logits[0] if logits.dim() == 3 else logits)
    return torch.cat(rows).float()


def check_folder(rng, program, number, refusals):
    with tempfile.TemporaryDirectory() as place:
        theirs, ours = pathlib.Path(place) / "theirs", pathlib.Path(place) / "ours"
        class_name, config, done = draw_folder(rng, theirs)
        what = f"{number} {class_name} {', '.join(done)}"
        kinds = config.get("type_vocab_size", 2 if class_name.startswith(("Bert", "RemBert")) else 1)
        is_bart = class_name.startswith("Bart")
        sequences = []
        for length in (1, 5, 17, 30):
            first = [rng.randrange(6, 61) for _ in range(length)]
            second = [rng.randrange(6, 61) for _ in range(length + 3)] if is_bart else []
            if not is_bart and "type_vocab_size" in config and kinds > 1:
                second = [rng.randrange(kinds) for _ in first]
            sequences.append((first, second))
        try:
            expected = logits_of(theirs, class_name, sequences, is_bart)
        except Exception as error:
            return print(f"none  {what}: transformers: {str(error).splitlines()[0][:150]}") or True
        text = "".join(" ".join(map(str, first)) + (" ; " + " ".join(map(str, second)) if second else "") + "\n"
                       for first, second in sequences)
        result = subprocess.run([program, theirs, ours, "F32", "f32"], input=text, capture_output=True, text=True)
        if result.returncode:
            error = result.stderr.strip().removeprefix(str(theirs))
            known = next((key for key in REFUSALS if key in error), None)
            refusals[known or error] = refusals.get(known or error, 0) + 1
            print(f"{'no   ' if known else 'WRONG'} {what}: {error[:200]}")
            return known is not None
        errors = [difference(load_file(ours / "logits.safetensors")["logits"], expected),
                  difference(logits_of(ours, class_name, sequences, is_bart), expected)]
        good = max(errors) < 3 * TOLERANCE
        print(f"{'ok   ' if good else 'WRONG'} {what}: {errors[0]:.1e}, {errors[1]:.1e}")
        return good


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    arguments = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    program, refusals, wrong = (arguments.build / "bench" / "model_logits").resolve(), {}, 0
    for number in range(arguments.count):
        wrong += not check_folder(random.Random(f"{arguments.seed} {number}"), program, number, refusals)
    print(f"{arguments.count} folders, refused by name: {refusals}")
    print(f"{wrong} differences" if wrong else "everything agrees")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
