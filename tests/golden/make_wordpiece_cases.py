"""Ids, offsets, pairs and windows of BERT's tokenizer, and a trained BPE, as the reference implementation gives them: writes
tests/data/tokenizer/wordpiece_cases.json.

Made with Python 3.11, tokenizers 0.23.3. Run from the root of the repository:
    python tests/golden/make_wordpiece_cases.py
Each variant is an edit of the tokenizer.json that the engine writes for tests/data/bert, and that the test makes as well.
"""

import json
import random
from pathlib import Path

import tokenizers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

DATA = Path("tests/data")
TEXTS = [
    "", " ", "\n", "\t \r\n", "a", " a ", "Hello world", "Hello, World!  How're you?", "unaffable UNAFFABLE unwantedness",
    "I don't know; it's John's (really) -- 3.14%, $5, a@b.c, C++ #1 <b> [x] {y} ~z` ^_^ a|b \\n",
    "H\u00e9llo \u00c5ngstr\u00f6m na\u00efve cafe\u0301 \u1e09 \u0130stanbul \u01c5 stra\u00dfe \u1e9e \ufb01ne \u0149 \u03a3\u03a3\u03a3 \u1f88",
    "e\u0301\u0323 e\u0323\u0301 \u0301 \u0301a !\u0301? a\u0489 \u0fb2\u0f71\u0f80 \U0001d15e\U0001d165", "\u5341\u4e8c\u6708 hello\u4e16\u754cworld \u3053\u3093\u306b\u3061\u306f\u30ab\u30ac \uac00\ub098\ub2e4 \uf900\u4e0d",
    "\U00020000\U0002a6df \U0002b820\U0002b920\U0002f800 \u3400\u4dbf\u9fff \u3001\u3002\uff0c\uff01 \u300c\u6f22\u5b57\u300d",
    "\u041f\u0440\u0438\u0432\u0435\u0442 \u0439\u0451 \u0645\u0631\u062d\u0628\u0627\u064b \u05e9\u05b8\u05dc\u05d5\u05b9\u05dd \u0928\u092e\u0938\u094d\u0924\u0947\u0964 \u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35", "\U0001f600 \U0001f469\u200d\U0001f467 \U0001f1eb\U0001f1f7 \u2764\ufe0f ok\U0001f44d\U0001f3fd",
    "a\x00b c\x01d e\x0bf g\x0ch i\x7fj k\u0085l m\u00adn o\u200bp q\ufeffr s\ufffdt u\ue000v", "a\u00a0b\u2003c\u3000d\u2028e\u202ff\u1680g\u180eh",
    "\u2018quoted\u2019 \u201cdouble\u201d \u2014 \u2026 \u00ab\u00bb \u00bf\u00a1 \u00b7 \u00a7\u00b6 \u20ac\u00a3\u00a5 \u00d7\u00f7 \u2022\u2122\u00ae \u00ac\u00b0",
    "\u1b7d \u2e43 \u061d \u166d \ua8ff \u0898 \U00011938 \U00010d50 \ua7cb \u1c89", "<\u0338 >\u0338= =\u0338 a\u0338", "A\u030a \u212b \u00c5 \u1e69 s\u0323\u0307 s\u0307\u0323 \uac01 \u1100\u1161\u11a8 \ufb03 \u2460 \u33a5",
    "[CLS] a [SEP] b[MASK]c [PAD] [UNK] [cls] [MASK", "[MASK][MASK] [[MASK]] \u00e9[SEP]\u00e9", "x" * 100, "y" * 101, "a" * 99 + "\u0301" * 5, "b" * 200 + " c " + "\u00e9" * 120,
    "supercalifragilisticexpialidocious pneumonoultramicroscopicsilicovolcanoconiosis", "zqxj\u4e2dzqxj zqxj\ua000\ua001 the\ua000", "##ing ## # ##a a##b", "1234567890 12,345.67 2nd 1st \u00bd \u00b2 \u2167 \u0663\u0664",
    "zqz zqza (zqz) a-zqz", "ADDED Added added  xADDEDx \u00c4DDED", "One ADDED, two:ADDED; ADDED", "\u0301\u0302", "\x00", "don\u2019t", "line one\r\nline two\n\n", "\u0130\u0130 I\u0307", "\ud7ff\ue001\uffff\U00010000\U0010ffff",
]


def token(id, content, **flags):
    return {"id": id, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
            "normalized": False, "special": True} | flags


def bert(**settings):
    return {"normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                           "strip_accents": None, "lowercase": True} | settings}


def sequence(*names):
    return {"normalizer": {"type": "Sequence", "normalizers": [{"type": name} for name in names]}}


SPECIAL = [token(0, "[PAD]"), token(100, "[UNK]"), token(101, "[CLS]"), token(102, "[SEP]"), token(103, "[MASK]")]
VARIANTS = {
    "uncased": bert(), "cased": bert(lowercase=False), "accents stay": bert(strip_accents=False),
    "accents go, capitals stay": bert(lowercase=False, strip_accents=True), "words of ideographs": bert(handle_chinese_chars=False),
    "not cleaned": bert(clean_text=False), "not normalized": {"normalizer": None},
    "NFD": sequence("NFD", "Lowercase", "StripAccents"), "NFC": {"normalizer": {"type": "NFC"}},
    "NFKC": sequence("NFKC", "Lowercase"), "NFKD": sequence("Lowercase", "NFKD"),
    "added": bert() | {"added_tokens": SPECIAL + [
        token(30522, "ADDED", special=False, normalized=True), token(30523, "zqz", special=False, single_word=True),
        token(30524, "\u00e9", special=False, normalized=True, lstrip=True)]},
}
PAIRS = [("", ""), ("a", ""), ("one two three four five", "six seven eight nine ten eleven twelve"),
         ("six seven eight nine ten eleven twelve", "one two three four five"), ("a b c d", "e f g h"),
         ("unaffable \u00e9t\u00e9?", "\u4e16\u754c na\u00efve antidisestablishmentarianism! [MASK]")]


def random_text(rng):
    blocks = [(0x20, 0x7e), (0x20, 0x7e), (0x0, 0x20), (0x7f, 0x24f), (0x300, 0x36f), (0x370, 0x4ff), (0x590, 0x6ff), (0x900, 0x97f),
              (0x1e00, 0x1fff), (0x2000, 0x218f), (0x3000, 0x30ff), (0x4e00, 0x4eff), (0xac00, 0xad00), (0x1f300, 0x1f6ff)]
    text = ""
    for _ in range(rng.randint(1, 12)):
        first, last = rng.choice(blocks)
        text += "".join(chr(rng.randint(first, last)) for _ in range(rng.randint(1, 5)))
        text += rng.choice(["", "", "the", " Running", "'s", " [MASK] ", "\u0301", "\n"])
    return text


def reference(variant):
    vocab = {line: id for id, line in enumerate((DATA / "bert/vocab.txt").read_text(encoding="utf-8").split("\n")[:-1])}
    model = {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
             "vocab": vocab}
    special = {name: {"id": name, "ids": [vocab[name]], "tokens": [name]} for name in ("[CLS]", "[SEP]")}
    add = lambda name, type: {"SpecialToken": {"id": name, "type_id": type}}
    text = lambda name, type: {"Sequence": {"id": name, "type_id": type}}
    single = [add("[CLS]", 0), text("A", 0), add("[SEP]", 0)]
    return Tokenizer.from_str(json.dumps({
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": SPECIAL, "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing", "single": single, "pair": single + [text("B", 1), add("[SEP]", 1)],
                           "special_tokens": special},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True}, "model": model} | variant))


def flat(pairs):
    return [number for pair in pairs for number in pair]


def fnv1a(text):
    hash = 0xcbf29ce484222325
    for byte in text.encode("utf-8"):
        hash = (hash ^ byte) * 0x100000001b3 % 2**64
    return f"{hash:016x}"


def blocks():
    """All that the reference does with each character, a hash for 4,096 of them."""
    steps = [normalizers.BertNormalizer(), normalizers.BertNormalizer(lowercase=False), normalizers.StripAccents(),
             normalizers.Lowercase(), normalizers.NFC(), normalizers.NFKC(), normalizers.NFD()]
    words = pre_tokenizers.BertPreTokenizer()
    for block in [*range(32), 0x2b, 0x2f, 0xe0, 0x10f]:
        text = ""
        for character in map(chr, range(block << 12, block + 1 << 12)):
            if "\ud800" <= character < "\ue000":
                continue
            text += "".join(step.normalize_str(character) + "\0" for step in steps)
            text += str(len(words.pre_tokenize_str(f"a{character}a")))
        yield {"block": block, "hash": fnv1a(text)}


def framed(tokenizer, first, second, max_length, strategy, stride):
    tokenizer.no_truncation()
    if max_length:
        tokenizer.enable_truncation(max_length, strategy=strategy, stride=stride)
    encoding = tokenizer.encode(first, second) if second is not None else tokenizer.encode(first)
    return [{"ids": one.ids, "types": one.type_ids, "offsets": flat(one.offsets),
             "texts": [-1 if text is None else text for text in one.sequence_ids]}
            for one in [encoding] + (encoding.overflowing if strategy == "only_second" else [])]


def trained_merges():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=1000, min_frequency=2, special_tokens=["<|endoftext|>"], show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator([(DATA / "tokenizer/wikipedia.txt").read_bytes().decode("utf-8")], trainer)
    return [" ".join(merge) for merge in json.loads(tokenizer.to_str())["model"]["merges"]]


def main():
    rng = random.Random(7)
    texts = TEXTS + [random_text(rng) for _ in range(60)]
    result = {"made_with": f"tokenizers {tokenizers.__version__}", "variants": [], "pairs": [], "decoded": []}
    for name, edits in VARIANTS.items():
        tokenizer = reference(edits)
        cases = []
        for text in texts if name == "uncased" else texts[:len(texts) - 40]:
            encoding = tokenizer.encode(text, add_special_tokens=False)
            cases.append({"text": text, "ids": encoding.ids, "offsets": flat(encoding.offsets)})
        result["variants"].append({"name": name, "edits": edits, "cases": cases})
        print(name, len(cases), "texts", sum(len(case["ids"]) for case in cases), "ids")
    tokenizer = reference(bert())
    for first, second in PAIRS + [(first, None) for first, _ in PAIRS]:
        for max_length, strategy, stride in [(0, "", 0), *((length, "longest_first", 0) for length in (3, 4, 7, 8, 9, 12)),
                                             (9, "only_first", 0), (11, "only_second", 0), (11, "only_second", 1), (14, "only_second", 3)]:
            try:
                windows = framed(tokenizer, first, second, max_length, strategy, stride)
            except BaseException as error:  # a refused truncation is a panic or an exception
                if not isinstance(error, Exception) and "Panic" not in type(error).__name__:
                    raise
                windows = None
            result["pairs"].append({"first": first, "second": second, "max_length": max_length, "truncation": strategy,
                                    "stride": stride, "windows": windows})
    tokenizer.no_truncation()
    for text in ["Hello, world! I don't; it's 'm 're?", "[CLS] unaffable [SEP]", "##ing a", "\u4e16\u754c a . b"]:
        ids = tokenizer.encode(text).ids
        result["decoded"].append({"ids": ids, "all": tokenizer.decode(ids, skip_special_tokens=False), "text": tokenizer.decode(ids)})
    result["decoded"].append({"ids": [2075, 2075, 1012], "all": tokenizer.decode([2075, 2075, 1012]), "text": tokenizer.decode([2075, 2075, 1012])})
    result["blocks"] = list(blocks())
    result["trained_merges"] = trained_merges()
    assert len(result["trained_merges"]) == 1000 - 257
    lines = json.dumps(result, indent=None, ensure_ascii=True)
    for key in ('{"text"', '{"first"', '{"block"', '{"ids"'):
        lines = lines.replace(", " + key, ",\n" + key)
    (DATA / "tokenizer/wordpiece_cases.json").write_text(lines + "\n")


main()
