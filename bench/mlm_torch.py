#!/usr/bin/env python3
"""Pretraining of configs/mlm_wiki.cfg with transformers, for as long as the engine takes: same model, data and batch.

    python bench/mlm_torch.py --tokenizer FOLDER --train train.txt --eval valid.txt --minutes 20 --mode f32 \
        --output bench/results/mlm_torch.json

Blocks of the whole text with [CLS] and [SEP] around, masks drawn anew each time (15 %: 80 % [MASK], 10 % another, 10 %
the token itself), AdamW, clipping at 1. The rate warms up and falls linearly, by the time that has passed in place of the
steps, so that it ends at zero whatever the speed. Needs torch and transformers.
"""
import argparse
import json
import pathlib
import time

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--tokenizer", type=pathlib.Path, required=True)
parser.add_argument("--train", type=pathlib.Path, required=True)
parser.add_argument("--eval", type=pathlib.Path, required=True)
parser.add_argument("--minutes", type=float, default=20)
parser.add_argument("--mode", choices=["f32", "bf16"], default="f32")
parser.add_argument("--hidden", type=int, default=256)
parser.add_argument("--layers", type=int, default=4)
parser.add_argument("--heads", type=int, default=4)
parser.add_argument("--block", type=int, default=128)
parser.add_argument("--batch", type=int, default=32)
parser.add_argument("--learning_rate", type=float, default=1e-3)
parser.add_argument("--warmup", type=float, default=0.05, help="share of the time")
parser.add_argument("--weight_decay", type=float, default=0.01)
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--output", type=pathlib.Path, required=True)
arguments = parser.parse_args()

import torch  # noqa: E402
import transformers  # noqa: E402

torch.set_num_threads(arguments.threads)
torch.manual_seed(arguments.seed)
tokenizer = transformers.AutoTokenizer.from_pretrained(arguments.tokenizer)
autocast = torch.autocast("cpu", torch.bfloat16, enabled=arguments.mode == "bf16")


def blocks(file):
    lines = file.read_text().split("\n")
    ids = [i for line in tokenizer(lines, add_special_tokens=False)["input_ids"] for i in line]
    room = arguments.block - 2
    rows = torch.tensor(ids[:len(ids) // room * room]).view(-1, room)
    ends = torch.ones(len(rows), 1, dtype=torch.long)
    return torch.cat([ends * tokenizer.cls_token_id, rows, ends * tokenizer.sep_token_id], 1)


def masked(rows, generator):
    inputs, labels = rows.clone(), torch.full_like(rows, -100)
    count = max(1, int(0.15 * (rows.shape[1] - 2)))  # of those that are not special
    order = torch.rand(rows.shape[0], rows.shape[1] - 2, generator=generator).argsort(1)[:, :count] + 1
    labels.scatter_(1, order, rows.gather(1, order))
    draw = torch.rand(order.shape, generator=generator)
    other = torch.randint(0, tokenizer.vocab_size, order.shape, generator=generator)
    chosen = rows.gather(1, order)
    chosen = torch.where(draw < 0.8, tokenizer.mask_token_id, torch.where(draw < 0.9, other, chosen))
    return inputs.scatter(1, order, chosen), labels


train, held_out = blocks(arguments.train), blocks(arguments.eval)
config = transformers.BertConfig(vocab_size=len(tokenizer), hidden_size=arguments.hidden,
                                 num_hidden_layers=arguments.layers, num_attention_heads=arguments.heads,
                                 intermediate_size=4 * arguments.hidden, max_position_embeddings=arguments.block,
                                 hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
model = transformers.BertForMaskedLM(config)
matrices = [p for p in model.parameters() if p.dim() >= 2]
rest = [p for p in model.parameters() if p.dim() < 2]
optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": arguments.weight_decay},
                               {"params": rest, "weight_decay": 0.0}], lr=arguments.learning_rate, fused=True)


def loss_and_hits(inputs, labels):
    """As BertForMaskedLM, but with logits of the masked tokens alone: what a careful script does."""
    with autocast:
        hidden = model.bert(input_ids=inputs).last_hidden_state
        at = labels != -100
        logits = model.cls(hidden[at]).float()
    return (torch.nn.functional.cross_entropy(logits, labels[at], reduction="sum"),
            (logits.argmax(-1) == labels[at]).sum(), at.sum())


@torch.inference_mode()
def evaluate():
    model.eval()
    generator = torch.Generator().manual_seed(7)
    sums = torch.zeros(3, dtype=torch.float64)
    for at in range(0, len(held_out), 64):
        sums += torch.stack([x.double() for x in loss_and_hits(*masked(held_out[at:at + 64], generator))])
    model.train()
    return {"loss": (sums[0] / sums[2]).item(), "accuracy": (sums[1] / sums[2]).item()}


model.train()
generator = torch.Generator().manual_seed(arguments.seed)
limit, spent, step, log = 60 * arguments.minutes, 0.0, 0, []
order = torch.randperm(len(train), generator=generator)
position, next_evaluation = 0, limit / 4
while spent < limit:
    begin = time.perf_counter()
    if position + arguments.batch > len(train):
        order, position = torch.randperm(len(train), generator=generator), 0
    rows = train[order[position:position + arguments.batch]]
    position += arguments.batch
    share = spent / limit
    factor = min(share / arguments.warmup, (1 - share) / (1 - arguments.warmup)) if step else 0.01
    for group in optimizer.param_groups:
        group["lr"] = arguments.learning_rate * max(factor, 0.01)
    loss, hits, count = loss_and_hits(*masked(rows, generator))
    optimizer.zero_grad(set_to_none=True)
    (loss / count).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    spent += time.perf_counter() - begin
    step += 1
    if spent >= next_evaluation:
        next_evaluation += limit / 4
        log.append({"seconds": round(spent), "steps": step, "tokens": step * arguments.batch * arguments.block,
                    **evaluate()})
        print(log[-1], flush=True)
        arguments.output.write_text(json.dumps({"mode": arguments.mode, "torch": torch.__version__,
                                                "transformers": transformers.__version__, "log": log}, indent=1) + "\n")
