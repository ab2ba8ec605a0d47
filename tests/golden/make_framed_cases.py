"""Texts and pairs with special tokens and cut to a length, as transformers gives them: writes
tests/data/tokenizer/framed_cases.json.

Made with Python 3.11, transformers 5.24.0, tokenizers 0.23.3. Run from the root of the repository:
    python tests/golden/make_framed_cases.py
RoBERTa's framing is shown with GPT-2's vocabulary, to which both this and the test add RoBERTa's special tokens.
"""

import json
from pathlib import Path

import tokenizers
import transformers
from transformers import BertTokenizer, GPT2Tokenizer, RobertaTokenizer

DATA = Path("tests/data")
LINES = [
    "", " ", "a", "Hello, world! unaffable", " two  spaces ", "I don't know; it's John's -- 3.14%",
    "one two three four five six seven eight nine ten eleven twelve", "caf\u00e9 na\u00efve \u00c5ngstr\u00f6m stra\u00dfe",
    "\u4e16\u754c \U0001f600 \u041f\u0440\u0438\u0432\u0435\u0442 e\u0301",
]
PAIRS = [
    ("", ""), ("a", ""), ("", "a b"), ("one two three four five", "six seven eight nine ten eleven twelve"),
    ("six seven eight nine ten eleven twelve", "one two three four five"), ("a b c d", "e f g h"),
    ("Is it caf\u00e9?", " na\u00efve \u4e16\u754c, antidisestablishmentarianism!"), (" spaces ", "  more  spaces  "),
]
LENGTHS = [None, 4, 5, 7, 8, 11]


def load():
    vocab = {line: id for id, line in enumerate((DATA / "bert/vocab.txt").read_text(encoding="utf-8").split("\n")[:-1])}
    gpt2 = json.loads((DATA / "gpt2/vocab.json").read_text(encoding="utf-8"))
    lines = (DATA / "gpt2/merges.txt").read_text(encoding="utf-8").split("\n")[1:]
    merges = [tuple(line.split(" ")) for line in lines if line]
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    return {"bert": BertTokenizer(vocab=vocab), "gpt2": GPT2Tokenizer(vocab=gpt2, merges=merges),
            "roberta": RobertaTokenizer(vocab=gpt2 | {token: len(gpt2) + i for i, token in enumerate(special)}, merges=merges)}


def encoded(tokenizer, texts, special_tokens, length):
    # As lists: alone, an empty second text would count as none.
    result = tokenizer(*([text] for text in texts), add_special_tokens=special_tokens, max_length=length, return_offsets_mapping=True,
                       truncation="longest_first" if length else False, return_token_type_ids=True)
    line = {"ids": result["input_ids"][0], "offsets": result["offset_mapping"][0]}
    # A model whose inputs have no token types gets none, which is the same as zeros.
    types = result["token_type_ids"][0] if "token_type_ids" in tokenizer.model_input_names else [0] * len(line["ids"])
    return line | ({"type_ids": types} if len(texts) == 2 else {})


def main():
    versions = f"transformers {transformers.__version__}, tokenizers {tokenizers.__version__}"
    cases = []
    for name, tokenizer in load().items():
        for special_tokens in (False, True):
            for length in LENGTHS:
                for texts in ([[line] for line in LINES], PAIRS):
                    cases.append({"tokenizer": name, "special_tokens": special_tokens, "max_length": length or 0,
                                  "texts": texts, "lines": [encoded(tokenizer, text, special_tokens, length) for text in texts]})
        print(name, sum(len(line["ids"]) for case in cases for line in case["lines"]), "ids so far")
    text = json.dumps({"made_with": versions, "cases": cases}, ensure_ascii=True, separators=(",", ":"))
    (DATA / "tokenizer/framed_cases.json").write_text(text.replace('{"tokenizer"', '\n{"tokenizer"') + "\n")


main()
