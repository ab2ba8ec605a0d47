"""Unigram tokenizers of small SentencePiece models, and what transformers and tokenizers make of them: writes
tests/data/tokenizer/unigram.json.

Made with Python 3.11, transformers 5.24.0, tokenizers 0.23.3, sentencepiece 0.2.3. Run from the root of the repository:
    python tests/golden/make_unigram.py
The models are trained on tests/data/tokenizer/wikipedia.txt. A variant is a folder of files, with the ids, offsets and texts
that AutoTokenizer gives. RemBertTokenizer 5.24 leaves out its special tokens when it reads a .model (its converter adds
them), so the pairs of that one are not compared.
"""

import base64
import io
import json
import os
import random
import tempfile
from pathlib import Path

os.environ["TRANSFORMERS_VERBOSITY"] = "critical"
os.environ["HF_HUB_OFFLINE"] = "1"

import sentencepiece
import tokenizers
import transformers
from transformers import AutoTokenizer

TARGET = Path("tests/data/tokenizer/unigram.json")
TEXT = Path("tests/data/tokenizer/wikipedia.txt")
RULES = [("\uff21", "A"), ("\ufb01", "fi"), ("\u00bd", "1 2"), ("\u3000", " "), ("\n", " "), ("\t", " "), ("\r", " "), ("\u200b", ""),
         ("e\u0301", "\u00e9"), ("\u2026", "..."), ("\u0007", ""), ("\u0915\u093c", "\u0958"), ("\u00a9", "c")]
TEXTS = [
    "", " ", "  ", "\n", "a", " a", "a ", "  a  b ", "Hello world", "the  cat\tsat\non the\r\nmat", "caf\u00e9 cafe\u0301 E\u0301 \u00e9\u0301\u0302",
    "\uff21\uff21 \ufb01n \u00bd\u00bd x\u3000y", "\u200b\u200ba\u200bb \u200b", "\u0007a b", "a\u0007\u0007b\u2026", "\u0928\u092e\u0938\u094d\u0924\u0947 \u0915\u093c\u0924",
    "\u2581a \u2581 \u2581\u2581b", "``quoted'' `x' ''", "aaaaaaaaaaaaaaaaa", "xx" + "o" * 23, "." * 30, "=-" * 20, "1234567890 3.14 10,000",
    "\u4e16\u754c \u4f60\u597d\U0001f600\U0001f600 z", "<s>a</s> <pad><unk> <mask>b", "[CLS] x [SEP] [MASK]y", "<extra_id_0> a <extra_id_4>", "userdef and userdefined",
    "a\u0600 b\u0600\u0301 \u0301 \u0301c", "\u00a9\u200d\u00a9 \u00ae\u200d", "Caf\u00c9 NA\u00cfVE \u0130stanbul \u03a3\u03a3", "\u1100\u1161\u11a8\u0301 \uac00\u0301", "<0x41> \u00e9",
    "It was the best of times, it was the worst of times. The (quick) brown fox's 12 jumps!",
]


def random_text(rng):
    blocks = [(0x61, 0x7a), (0x20, 0x7e), (0x20, 0x20), (0x9, 0xd), (0xa0, 0x24f), (0x300, 0x33f), (0x900, 0x94f), (0x2000, 0x2030), (0x4e00, 0x4e20)]
    text = ""
    for _ in range(rng.randint(1, 9)):
        first, last = rng.choice(blocks)
        text += "".join(chr(rng.randint(first, last)) for _ in range(rng.randint(1, 4))) + rng.choice(["", "", " ", "  ", "the", "ing ", "userdef", "</s>"])
    return text


def train(**options):
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as rules:
        for old, new in RULES:
            rules.write(" ".join(f"{ord(c):X}" for c in old) + "\t" + " ".join(f"{ord(c):X}" for c in new) + "\n")
        rules.flush()
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(input=str(TEXT), model_writer=model, normalization_rule_tsv=rules.name, minloglevel=2,
                                                 num_threads=1, character_coverage=0.98, vocab_size=options.pop("vocab_size", 240), **options)
    return model.getvalue()


def encoded(tokenizer, text, pairs):
    backend = tokenizer.backend_tokenizer
    one, two = backend.encode(text, add_special_tokens=False), backend.encode(text, text)
    types = two.type_ids if "token_type_ids" in tokenizer.model_input_names else [0] * len(two.ids)
    case = {"ids": one.ids, "offsets": [place for pair in one.offsets for place in pair], "text": backend.decode(one.ids, skip_special_tokens=False),
            "plain": backend.decode(one.ids, skip_special_tokens=True)}
    return case | ({"pair": two.ids, "types": types} if pairs else {})


def variant(name, files, texts, pairs=True):
    """Files whose content is bytes are stored in base64."""
    with tempfile.TemporaryDirectory() as path:
        for file, content in files.items():
            Path(path, file).write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        tokenizer = AutoTokenizer.from_pretrained(path)
        cases = [encoded(tokenizer, text, pairs) for text in texts]
    stored = {file: {"base64": base64.b64encode(content).decode()} if isinstance(content, bytes) else content for file, content in files.items()}
    print(name, sum(len(case["ids"]) for case in cases), "ids")
    return {"name": name, "files": stored, "cases": cases}


def saved_json(files):
    with tempfile.TemporaryDirectory() as path, tempfile.TemporaryDirectory() as saved:
        for file, content in files.items():
            Path(path, file).write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        AutoTokenizer.from_pretrained(path).save_pretrained(saved)
        return json.loads(Path(saved, "tokenizer.json").read_text(encoding="utf-8"))


def metaspace(**edits):
    return {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True} | edits


def sequence(kind, *steps):
    return {"type": "Sequence", kind: list(steps)}


def replace(content, **pattern):
    return {"type": "Replace", "pattern": pattern, "content": content}


def edited(base):
    """Members of tokenizer.json that replace the base's."""
    charsmap, split = base["normalizer"], {"type": "WhitespaceSplit"}
    token = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    more = base["added_tokens"] + [token | {"id": 900, "content": "<x>", "lstrip": True}, token | {"id": 901, "content": "the", "normalized": True, "special": False}]
    yield "as T5 was", {"normalizer": sequence("normalizers", charsmap, {"type": "Strip", "strip_left": False, "strip_right": True}, replace("\u2581", Regex=" {2,}")),
                        "pre_tokenizer": metaspace()}
    yield "first", {"pre_tokenizer": sequence("pretokenizers", split, metaspace(prepend_scheme="first"))}
    yield "first alone", {"pre_tokenizer": metaspace(prepend_scheme="first"), "normalizer": None}
    yield "never", {"pre_tokenizer": metaspace(prepend_scheme="never"), "decoder": metaspace(prepend_scheme="never")}
    yield "whole", {"pre_tokenizer": metaspace(split=False, prepend_scheme="first"), "normalizer": sequence("normalizers", charsmap, replace(" ", Regex="\\s+"))}
    yield "spaces alone", {"pre_tokenizer": split, "normalizer": {"type": "Nmt"}, "decoder": None}
    yield "none", {"pre_tokenizer": None, "normalizer": sequence("normalizers", {"type": "Prepend", "prepend": "\u2581"}, replace("\u2581", String=" ")),
                   "decoder": sequence("decoders", replace(" ", String="\u2581"), {"type": "ByteFallback"}, {"type": "Fuse"},
                                       {"type": "Strip", "content": " ", "start": 1, "stop": 0})}
    yield "ends", {"normalizer": sequence("normalizers", replace("", Regex="\\A +| +\\z"), replace(" ", Regex=" {2,}"), charsmap, {"type": "NFKD"},
                                          {"type": "StripAccents"}, {"type": "Lowercase"})}
    yield "composed", {"normalizer": sequence("normalizers", {"type": "NFKC"}, charsmap), "added_tokens": more}
    yield "bytes", {}


def main():
    rng = random.Random(5)
    texts = TEXTS + [random_text(rng) for _ in range(25)]
    xlmr = train(user_defined_symbols=["userdef"])
    t5 = train(pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    albert = train(pad_id=0, unk_id=1, bos_id=-1, eos_id=-1, control_symbols=["[CLS]", "[SEP]"], user_defined_symbols=["[MASK]", "userdef"])
    rembert = train(pad_id=0, eos_id=1, unk_id=2, bos_id=-1, control_symbols=["[CLS]", "[SEP]", "[MASK]"])
    fallback = train(byte_fallback=True, vocab_size=480)
    xlmr_files = {"sentencepiece.bpe.model": xlmr, "tokenizer_config.json": {"tokenizer_class": "XLMRobertaTokenizer", "model_max_length": 512}}
    albert_config = {"tokenizer_class": "AlbertTokenizer"}
    variants = [
        variant("XLM-R", xlmr_files, texts),
        variant("T5", {"spiece.model": t5, "config.json": {"model_type": "t5"}, "tokenizer_config.json": {"extra_ids": 5}}, texts),
        variant("ALBERT", {"spiece.model": albert, "tokenizer_config.json": albert_config}, texts),
        variant("ALBERT cased", {"spiece.model": albert, "tokenizer_config.json": albert_config | {"do_lower_case": False, "keep_accents": True}}, texts),
        variant("RemBERT", {"sentencepiece.model": rembert, "tokenizer_config.json": {"tokenizer_class": "RemBertTokenizer", "do_lower_case": True, "keep_accents": False}},
                texts, pairs=False),
    ]
    base = saved_json(xlmr_files)
    variants.append(variant("XLM-R json", {"tokenizer.json": base, "tokenizer_config.json": {"tokenizer_class": "XLMRobertaTokenizer"}}, texts))
    whole = {"tokenizer_class": "PreTrainedTokenizerFast", "model_input_names": ["input_ids"]}
    bytes_base = saved_json(xlmr_files | {"sentencepiece.bpe.model": fallback})
    bytes_base["model"]["byte_fallback"] = True
    variants += [variant(name, {"tokenizer.json": (bytes_base if name in ("none", "bytes") else base) | edits, "tokenizer_config.json": whole}, texts)
                 for name, edits in edited(base)]
    versions = f"transformers {transformers.__version__}, tokenizers {tokenizers.__version__}, sentencepiece {sentencepiece.__version__}"
    # A tokenizer.json that is a base with other members is stored as the members that differ.
    for one in variants:
        own = one["files"].get("tokenizer.json")
        if own:
            which, of = min((("base", base), ("bytes", bytes_base)), key=lambda pair: own["model"]["vocab"] != pair[1]["model"]["vocab"])
            one["files"]["tokenizer.json"] = {"of": which, "edits": {key: value for key, value in own.items() if value != of[key] and key != "model"}}
    rows = ",\n".join(json.dumps(one, separators=(",", ":")) for one in variants)
    head = json.dumps({"made_with": versions, "texts": texts, "bases": {"base": base, "bytes": bytes_base}}, separators=(",", ":"))
    TARGET.write_text(head[:-1] + ',"variants":[\n' + rows + "\n]}\n")
    print(len(variants), "variants,", TARGET.stat().st_size, "bytes")


main()
