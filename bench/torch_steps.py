#!/usr/bin/env python3
"""The same work as bench/steps/main.cc, in PyTorch: whole training steps and greedy generation.

Speaks the protocol of bench/compare.py: prints one JSON line when ready; then, for each number n read from standard
input, does n steps and prints {"seconds": [...], "tokens": t, "sequences": s, "loss": l, "peak_mb": m}. Needs torch and
transformers; without transformers "gpt2" and "minilm" are trained in plain PyTorch. A training step is zero_grad, forward, loss, backward, AdamW (fused). Random tokens, no dropout. Decoders
score every token, "bert" 15 % of them as masked, "minilm" a class a sequence; "encdec" (plain PyTorch) and "bart"
(transformers) read a source as long as the target, whose tokens are counted. With --lengths the batches are those of a
file, ten in each step, padded to their longest sequence or, for "lstm256" and "lstm512" (torch.nn.LSTM, two layers),
packed. "axe" scores solutions of a file (engine problems) without each of their steps, one step of all rows at a time.
"""
import argparse
import json
import os
import sys
import time

parser = argparse.ArgumentParser()
parser.add_argument("--model", choices=["gpt2", "neox", "decoder", "lstm256", "lstm512", "bert", "minilm", "encdec",
                                        "bart"], required=True)
parser.add_argument("--work", choices=["train", "generate", "axe"], default="train")
parser.add_argument("--batch", type=int, default=4)
parser.add_argument("--length", type=int, default=256, help="tokens a sequence")
parser.add_argument("--lengths", help="a file of batches, a line each: the lengths of their sequences")
parser.add_argument("--rows", help="a file of solutions, a line each")
parser.add_argument("--prompt", type=int, default=32)
parser.add_argument("--new", type=int, default=64)
parser.add_argument("--mode", default="f32", choices=["f32", "bf16", "bf16-weights", "f32-compiled", "bf16-compiled",
                                                      "bf16-weights-compiled"])
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
arguments = parser.parse_args()
os.environ["OMP_NUM_THREADS"] = str(arguments.threads)

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402

from torch_models import Classifier, Decoder, EncoderDecoder, Lstm  # noqa: E402

try:
    import transformers
except ImportError:
    transformers = None
plain = transformers is None and arguments.model in ("gpt2", "minilm")
if transformers is None and (arguments.model in ("bert", "bart", "neox") or
                             (plain and (arguments.work != "train" or arguments.lengths))):
    sys.exit("torch_steps.py: this work needs transformers")

torch.set_num_threads(arguments.threads)
torch.manual_seed(1)
torch.set_default_device(arguments.device)
bf16 = arguments.mode.startswith("bf16")
bf16_weights = arguments.mode.startswith("bf16-weights")
compiled = arguments.mode.endswith("compiled")
is_lstm = arguments.model.startswith("lstm")


def build():
    if arguments.model == "decoder":
        return Decoder(), 64
    if arguments.model == "encdec":
        return EncoderDecoder(), 64
    if is_lstm:
        return Lstm(width=int(arguments.model[4:])), 64
    if plain:
        model = Classifier() if arguments.model == "minilm" else Decoder(50257, 1024, 768, 12, 12, 3072)
        return model, model.vocabulary
    if arguments.model == "bart":
        model = transformers.BartForConditionalGeneration(transformers.BartConfig(
            vocab_size=64, max_position_embeddings=512, d_model=256, encoder_layers=3, decoder_layers=3,
            encoder_attention_heads=8, decoder_attention_heads=8, encoder_ffn_dim=1024, decoder_ffn_dim=1024, dropout=0,
            attention_dropout=0, activation_dropout=0))
    elif arguments.model == "neox":
        model = transformers.GPTNeoXForCausalLM(transformers.GPTNeoXConfig(
            vocab_size=50304, hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072))
    elif arguments.model == "gpt2":
        model = transformers.GPT2LMHeadModel(transformers.GPT2Config(resid_pdrop=0, embd_pdrop=0, attn_pdrop=0))
    else:
        sizes = {} if arguments.model == "bert" else dict(hidden_size=384, num_hidden_layers=6, num_attention_heads=12,
                                                          intermediate_size=1536)
        config = transformers.BertConfig(hidden_dropout_prob=0, attention_probs_dropout_prob=0, **sizes)
        kind = transformers.BertForMaskedLM if arguments.model == "bert" else transformers.BertForSequenceClassification
        model = kind(config)
    return model, model.config.vocab_size


def encoder_batch(lengths):
    """What an encoder is trained on: sequences of these lengths, padded to the longest."""
    shape = len(lengths), max(lengths)
    tokens = torch.randint(0, vocabulary, shape)
    mask = (torch.arange(shape[1])[None] < torch.tensor(lengths)[:, None]).long()
    if arguments.model == "minilm":
        labels = torch.randint(0, 2, shape[:1])
    else:
        labels = torch.where(torch.rand(shape) < 0.15, tokens, -100)
    return dict(input_ids=tokens, attention_mask=mask, labels=labels)


def packed_batch(lengths):
    """What an LSTM is trained on: tokens and labels of sequences of these lengths, packed."""
    shape = max(lengths), len(lengths)
    pack = torch.nn.utils.rnn.pack_padded_sequence
    return [pack(torch.randint(0, vocabulary, shape), torch.tensor(lengths), enforce_sorted=False) for _ in range(2)]


def padded_batch(lengths):
    """Tokens and labels of rows of random tokens, padded to the longest."""
    inputs = torch.randint(0, vocabulary, (len(lengths), max(lengths)))
    labels = torch.randint(0, vocabulary, inputs.shape)
    for row, length in enumerate(lengths):
        labels[row, length:] = -100
    return inputs, labels


def axe_batches(lines):
    """For the whole rows, and for each number of a step the rows without it: tokens, labels behind the problem or the
    hole, and the labels of the answer."""
    tokens = {c: i + 1 for i, c in enumerate("0123456789+*()=")}
    rows = [line.strip().split("=") for line in lines]
    batches = []
    for step in [0, *range(1, max(len(row) for row in rows) - 1)]:
        chosen = [row for row in rows if step < len(row) - 1]
        texts = ["=".join(row[:step] + row[step + 1:]) if step else "=".join(row) for row in chosen]
        ids = torch.zeros(len(texts), max(len(text) for text in texts) + 1, dtype=torch.long)
        labels, answers = torch.full_like(ids, -100), torch.full_like(ids, -100)
        for i, (row, text) in enumerate(zip(chosen, texts)):
            coded = torch.tensor([tokens[c] for c in text])
            ids[i, :len(text)] = coded
            targets = torch.cat([coded[1:], torch.tensor([0])])
            begin = len("=".join(row[:max(step, 1)]))
            labels[i, begin:len(text)] = targets[begin:]
            answers[i, len(text) - len(row[-1]) - 1:len(text)] = targets[-len(row[-1]) - 1:]
        batches.append((ids, labels, answers))
    return batches, sum(len("=".join(row)) for row in rows), len(rows)


model, vocabulary = build()
autocast = torch.autocast(arguments.device, dtype=torch.bfloat16, enabled=bf16 and not bf16_weights)
B, T = arguments.batch, arguments.length

if arguments.work == "train":
    encodes = arguments.model in ("bert", "minilm")
    lengths = [[T] * B]
    if arguments.lengths:
        lengths = [[int(length) for length in line.split()] for line in open(arguments.lengths)]
    if encodes or is_lstm:
        batches = [encoder_batch(batch) if encodes else packed_batch(batch) for batch in lengths]
    elif arguments.lengths:
        batches = [padded_batch(batch) for batch in lengths]
    else:
        tokens = torch.randint(0, vocabulary, (B, T + 1))
        inputs, labels = tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()
        source = torch.randint(0, vocabulary, (B, T))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    run = torch.compile(model, dynamic=True if arguments.lengths else None) if compiled else model
    at_once, following = (10 if arguments.lengths else 1), 0

    def logits_of():
        if arguments.model == "encdec":
            return run(source, inputs)
        if arguments.model == "bart":
            return run(input_ids=source, decoder_input_ids=inputs, use_cache=False).logits
        if arguments.model in ("gpt2", "neox") and not plain:
            return run(input_ids=inputs, use_cache=False).logits
        return run(inputs)

    def train(batch):
        optimizer.zero_grad(set_to_none=True)
        with autocast:
            if encodes:
                inputs_of = batches[batch]
                loss = run(inputs_of["input_ids"], inputs_of["labels"]) if plain else run(**inputs_of).loss
            elif is_lstm:
                tokens_of, labels_of = batches[batch]
                loss = F.cross_entropy(run(tokens_of), labels_of.data)
            elif arguments.lengths:
                tokens_of, labels_of = batches[batch]
                loss = F.cross_entropy(run(tokens_of).float().view(-1, vocabulary), labels_of.view(-1))
            else:
                logits = logits_of()
                loss = F.cross_entropy(logits.float().view(-1, vocabulary), labels.view(-1))
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    def step():
        global following, tokens_per_step, sequences_per_step
        tokens_per_step = sequences_per_step = 0
        for _ in range(at_once):
            batch, following = following % len(lengths), following + 1
            loss = train(batch)
            tokens_per_step += sum(lengths[batch])
            sequences_per_step += len(lengths[batch])
        return loss
elif arguments.work == "axe":
    model.eval()
    batches, tokens_per_step, sequences_per_step = axe_batches(open(arguments.rows))
    run = torch.compile(model, dynamic=True) if compiled else model

    @torch.inference_mode()
    def step():
        for ids, labels, answers in batches:
            with autocast:
                logits = run(ids).float()
            losses = F.cross_entropy(logits.view(-1, vocabulary), labels.view(-1), reduction="none").view(ids.shape)
            mean = losses.sum(1) / (labels >= 0).sum(1)
            ((logits.argmax(-1) == answers) | (answers < 0)).all(1)  # which answers are right
        return float(mean.mean())
else:
    model.eval()
    if bf16_weights:
        model = model.to(torch.bfloat16)
    kind = torch.bfloat16 if bf16 else torch.float32
    prompt = torch.randint(0, vocabulary, (B, arguments.prompt))
    decode = model.decode if arguments.model == "encdec" else model
    run = torch.compile(decode, dynamic=True) if compiled else decode

    @torch.inference_mode()
    def step():
        with autocast:
            current, length = prompt, arguments.prompt + arguments.new
            if arguments.model in ("gpt2", "neox"):
                past = None
                for _ in range(arguments.new):
                    result = run(input_ids=current, past_key_values=past, use_cache=True, logits_to_keep=1)
                    past, current = result.past_key_values, result.logits[:, -1].argmax(-1, keepdim=True)
            elif is_lstm:
                state = None
                for _ in range(arguments.new):
                    logits, state = run.decode(current, state)
                    current = logits.argmax(-1, keepdim=True)
            elif arguments.model == "bart":  # as its users call it
                model.generate(prompt, attention_mask=torch.ones_like(prompt), min_new_tokens=arguments.new,
                               max_new_tokens=arguments.new, do_sample=False, num_beams=1)
            else:
                decodes = arguments.model == "encdec"
                inputs = [model.keys(prompt)] if decodes else []
                blocks = model.decoder if decodes else model.blocks
                caches = [[torch.zeros(B, 8, length, 32, dtype=kind) for _ in "kv"] for _ in blocks]
                current, position = torch.full((B, 1), 2) if decodes else prompt, 0
                for _ in range(arguments.new):
                    logits = run(current, *inputs, caches, position)
                    position += current.shape[1]
                    current = logits[:, -1].argmax(-1, keepdim=True)
        return 0.0
    tokens_per_step, sequences_per_step = B * arguments.new, B

for _ in range(2):
    loss = step()
print(json.dumps({"ready": True, "torch": torch.__version__, "model": "plain PyTorch" if plain else "transformers"}),
      flush=True)
for line in sys.stdin:
    seconds = []
    for _ in range(int(line)):
        begin = time.perf_counter()
        loss = step()
        seconds.append(time.perf_counter() - begin)
    status = open("/proc/self/status").read()  # getrusage counts the memory of the program that started this one, too
    peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
    print(json.dumps({"seconds": seconds, "tokens": tokens_per_step, "sequences": sequences_per_step, "loss": loss,
                      "peak_mb": round(peak)}), flush=True)
