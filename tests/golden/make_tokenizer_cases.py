"""Ids and offsets of byte-level BPE as the reference implementation gives them: writes tests/data/tokenizer/cases.json.

Made with Python 3.11, tokenizers 0.23.3, transformers 5.23.0. Run from the root of the repository:
    python tests/golden/make_tokenizer_cases.py
Each variant is an edit of GPT-2's tokenizer.json that the test makes as well.
"""

import json
import random
from pathlib import Path

import tokenizers
from tokenizers import Tokenizer

DATA = Path("tests/data")
TEXTS = [
    "", " ", "  ", "\n", "\t\t", "a", " a", "a ", "a  ", "  a", "Hello world", "Hello  world ", "Hello\n\n  world\n",
    "I'm, you're, he's, we've, they'll, I'd, can't; I'M, YOU'RE, 'tis, ''s '' 'll'l 'r 're",
    "x'sx 'sx x 's'", "don't  don 't don' t", "3.14159 1,000,000 x2 2x \u00bd \u2167 \u0663\u0664 \u0967\u0968 \U0001d7d8",
    "caf\u00e9 cafe\u0301 na\u00efve \u00dcber stra\u00dfe \ufb01 \u01c5", "\u0417\u0434\u0440\u0430\u0432\u0441\u0442\u0432\u0443\u0439 \u043c\u0438\u0440",
    "\u03ba\u03b1\u03bb\u03b7\u03bc\u03ad\u03c1\u03b1 \u03ba\u03cc\u03c3\u03bc\u03b5", "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd \u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645",
    "\u0928\u092e\u0938\u094d\u0924\u0947 \u0926\u0941\u0928\u093f\u092f\u093e", "\u4f60\u597d\uff0c\u4e16\u754c\u3002 \u3053\u3093\u306b\u3061\u306f \uc548\ub155 \ud558\uc138\uc694", "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35\u0e0a\u0e32\u0e27\u0e42\u0e25\u0e01",
    "\U0001f600 \U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f1eb\U0001f1f7\u2764\ufe0f", "a\u0301\u0302\u0303 \u0301 x\u0489",
    "a\u00a0b \u2003c\u3000 d\u0085e\u2028f\u200bg\ufeffh", "line one\r\nline two\r\n\r\n", "tab\tand \t mixed \n spaces   \n",
    "if (x == 0) {\n    return -1;  // no\n}\n", "<|endoftext|>", "a<|endoftext|>b", "a <|endoftext|> b  <|endoftext|><|endoftext|> ",
    "<|endoftext|", "<<|endoftext|>>", "\u00e9<|endoftext|>\u00e9", "a  <mask>  b<mask>c <mask>", "<s>a</s>", "one ADDED two ADDEDx xADDED \u00e9ADDED ADDED",
    "\x00\x01\x7f\u0080\u009f\u00ad", "\ud7ff\ue000\uffff\U00010000\U0010ffff", "\U0001e5f1\u1c89\U00013460",
    "supercalifragilisticexpialidocious antidisestablishmentarianism", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "." * 70, " " * 70 + "x", "=-" * 40, "\u00e9" * 60,
]


def token(id, content, **flags):
    return {"id": id, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
            "normalized": False, "special": True} | flags


END = token(50256, "<|endoftext|>")
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": True}
VARIANTS = {
    "gpt2": {"added_tokens": [END], "pre_tokenizer": BYTE_LEVEL, "post_processor": None},
    "trimmed": {"added_tokens": [END], "pre_tokenizer": BYTE_LEVEL, "post_processor": BYTE_LEVEL | {"trim_offsets": True}},
    "prefixed": {"added_tokens": [END], "pre_tokenizer": BYTE_LEVEL | {"add_prefix_space": True}, "post_processor": None},
    "prefixed and trimmed": {"added_tokens": [END], "pre_tokenizer": BYTE_LEVEL | {"add_prefix_space": True},
                             "post_processor": BYTE_LEVEL | {"add_prefix_space": True, "trim_offsets": True}},
    "composed": {"added_tokens": [END], "pre_tokenizer": BYTE_LEVEL, "post_processor": BYTE_LEVEL | {"trim_offsets": True},
                 "normalizer": {"type": "NFC"}},
    "added": {"added_tokens": [END, token(50257, "<mask>", lstrip=True), token(50258, "<s>", rstrip=True),
                               token(50259, "</s>", lstrip=True, rstrip=True),
                               token(50260, "ADDED", single_word=True, special=False, normalized=True),
                               token(50261, "<<|", special=False, normalized=True), token(50262, "<|end")],
              "pre_tokenizer": BYTE_LEVEL, "post_processor": BYTE_LEVEL | {"trim_offsets": True}},
}


def random_text(rng):
    blocks = [(0x20, 0x7e), (0x20, 0x20), (0x9, 0xd), (0xa0, 0x24f), (0x300, 0x3ff), (0x400, 0x4ff), (0x590, 0x6ff),
              (0x900, 0x97f), (0xe00, 0xe7f), (0x2000, 0x218f), (0x3040, 0x30ff), (0x4e00, 0x4eff), (0x1f300, 0x1f6ff)]
    text = ""
    for _ in range(rng.randint(1, 20)):
        first, last = rng.choice(blocks)
        text += "".join(chr(rng.randint(first, last)) for _ in range(rng.randint(1, 5)))
        text += rng.choice(["", "", "", "", "'s", " 're", "'ll", "  ", "\n\n", "<|endoftext|>"])
    return text


def reference(variant):
    vocab = json.loads((DATA / "gpt2/vocab.json").read_text(encoding="utf-8"))
    lines = (DATA / "gpt2/merges.txt").read_text(encoding="utf-8").split("\n")[1:]
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "", "end_of_word_suffix": "",
             "fuse_unk": False, "byte_fallback": False, "vocab": vocab, "merges": [line for line in lines if line]}
    return Tokenizer.from_str(json.dumps({"version": "1.0", "truncation": None, "padding": None, "normalizer": None,
                                          "decoder": BYTE_LEVEL, "model": model} | variant))


def fnv1a(ids):
    hash = 0xcbf29ce484222325
    for id in ids:
        for byte in id.to_bytes(4, "little"):
            hash = (hash ^ byte) * 0x100000001b3 % 2**64
    return f"{hash:016x}"


def main():
    rng = random.Random(7)
    texts = TEXTS + [random_text(rng) for _ in range(60)]
    result = {"made_with": f"tokenizers {tokenizers.__version__}", "variants": [], "files": []}
    for name, edits in VARIANTS.items():
        tokenizer = reference(edits)
        cases = []
        for text in texts if name == "gpt2" else texts[:len(texts) - 40]:
            encoding = tokenizer.encode(text, add_special_tokens=False)
            cases.append({"text": text, "ids": encoding.ids, "offsets": [n for pair in encoding.offsets for n in pair]})
        result["variants"].append({"name": name, "edits": edits, "cases": cases})
        print(name, len(cases), "texts", sum(len(case["ids"]) for case in cases), "ids")
    tokenizer = reference(VARIANTS["gpt2"])
    for file in ["gpt2/merges.txt", "gpt2/vocab.json", "tokenizer/wikipedia.txt"]:
        ids = tokenizer.encode((DATA / file).read_bytes().decode("utf-8"), add_special_tokens=False).ids
        result["files"].append({"file": file, "count": len(ids), "hash": fnv1a(ids)})
        print(file, len(ids), "ids")
    lines = json.dumps(result, indent=None, ensure_ascii=True)
    (DATA / "tokenizer/cases.json").write_text(lines.replace('{"text"', '\n{"text"') + "\n")


main()
