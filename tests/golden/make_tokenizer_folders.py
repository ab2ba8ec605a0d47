"""Folders of tokenizers with every setting that changes ids, offsets or decoded text, and what AutoTokenizer makes of them:
writes tests/data/tokenizer/folders.json.

Made with Python 3.11, transformers 5.24.0, tokenizers 0.23.3. Run from the root of the repository:
    python tests/golden/make_tokenizer_folders.py
A folder is a base (its files are stored once) with files that replace the base's, and with members of tokenizer.json
that replace the base's. A folder that transformers does not read is "refused". With a program that prints what the
engine makes of a folder as an argument, each random folder is compared with it instead, and nothing is written:
    python tests/golden/make_tokenizer_folders.py PROGRAM SEED COUNT
"""

import inspect
import json
import os
import random
import re
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ["TRANSFORMERS_VERBOSITY"] = "critical"
os.environ["HF_HUB_OFFLINE"] = "1"

import tokenizers
import transformers
from tokenizers.pre_tokenizers import ByteLevel
from transformers import AutoTokenizer, BertTokenizer, GPT2Tokenizer, GPTNeoXTokenizer, PreTrainedTokenizerFast, RobertaTokenizer

TARGET = Path("tests/data/tokenizer/folders.json")
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "world", "Hello", "World", "cafe", "caf\u00e9", "naive", "\u4f60",
         "\u597d", "\u4f60\u597d", "a", "b", ",", ".", "'", "s", "##x", "n", "t", "[", "]", "x", "X", "<", ">", "m", "##m", "p", "!"]
TEXTS = {
    "bert": ["Hello World", "na\u00efve CAF\u00c9", "\u4f60\u597d World", "hello [X] b [x]", "a  <m>  b<m>", "[MASK]hello [SEP]x", "hello , a 's . ' s !",
             " a\t<p> ", "", "xm amx <P>a", "caf\u00e9<p>cafe\u0301 [PAD]"],
    "bpe": ["Hello", " lead", "a<|endoftext|>b", "x<sep>y <p>", "a <m> b", "  <m>  a", " <m>", "\t<m>\n b", "caf\u00e9 e\u0301<m>", "<m><m> <sep> ab", "",
            "xab ab<s>ab </s>b", "   ab  ", "<P>\u00c9 <M>"],
}
TEXTS["neox"] = ["def f(x):\n    if x:\n        return  1\n", "  a   ab     ab", "      ", " ", "ab<|endoftext|>  ab", "<|padding|> a",
                 "cafe\u0301 \u00e9", "\t  \n   b", "", "ab ab", "a\u00a0  b", "\u212b  \u2126"]
TEXTS["characters"] = ["ab<m>a", " a <m> b", "", "ba<p>b", "a . b"]


def token(id, content, **flags):
    return {"id": id, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
            "special": True} | flags


def decoder_token(content, **flags):
    return {key: value for key, value in token(0, content, **flags).items() if key != "id"}


def typed(content, **flags):
    return {"__type": "AddedToken", "content": content} | flags


BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


def byte_vocabulary():
    vocab = {token: id for id, token in enumerate(sorted(ByteLevel.alphabet()))}
    for more in ["ab", "\u0120ab", "\u0120\u0120", "<|endoftext|>"]:
        vocab[more] = len(vocab)
    return vocab, [("a", "b"), ("\u0120", "ab"), ("\u0120", "\u0120")]


def whole(model, **parts):
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None, "pre_tokenizer": None,
            "post_processor": None, "decoder": None} | parts | {"model": model}


def bases():
    words = {word: id for id, word in enumerate(WORDS)}
    special = [token(id, WORDS[id]) for id in range(5)]
    bert = whole({"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": words},
                 added_tokens=special, pre_tokenizer={"type": "BertPreTokenizer"}, decoder={"type": "WordPiece", "prefix": "##", "cleanup": True},
                 normalizer={"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True},
                 post_processor={"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]})
    vocab, merges = byte_vocabulary()
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "", "end_of_word_suffix": "", "fuse_unk": False,
             "byte_fallback": False, "ignore_merges": False, "vocab": vocab, "merges": [list(merge) for merge in merges]}
    bpe = whole(model, added_tokens=[token(vocab["<|endoftext|>"], "<|endoftext|>")], pre_tokenizer=BYTE_LEVEL, decoder=BYTE_LEVEL,
                post_processor=BYTE_LEVEL | {"trim_offsets": False})
    # GPT-NeoX's form: special tokens first, and behind the vocabulary runs of spaces that are no special tokens.
    shifted = {"<|endoftext|>": 0, "<|padding|>": 1} | {one: id + 2 for one, id in vocab.items() if one != "<|endoftext|>"}
    runs = [token(len(shifted) + i, " " * (6 - i), normalized=True, special=False) for i in range(5)]
    neox = whole(model | {"vocab": shifted, "continuing_subword_prefix": None, "end_of_word_suffix": None}, decoder=BYTE_LEVEL,
                 added_tokens=[token(0, "<|endoftext|>"), token(1, "<|padding|>")] + runs, normalizer={"type": "NFC"},
                 pre_tokenizer=BYTE_LEVEL, post_processor=BYTE_LEVEL)
    letters = {"<u>": 0, "a": 1, "b": 2, " ": 3, "<m>": 4, ".": 5}
    split = {"type": "Split", "pattern": {"Regex": "[\\s\\S]"}, "behavior": "Isolated", "invert": False}
    characters = whole({"type": "WordLevel", "vocab": letters, "unk_token": "<u>"}, pre_tokenizer=split, decoder={"type": "Fuse"},
                       added_tokens=[token(4, "<m>")])
    lines = "#version: 0.2\n" + "".join(" ".join(merge) + "\n" for merge in merges)
    return {"bert": {"tokenizer.json": bert}, "bpe": {"tokenizer.json": bpe}, "characters": {"tokenizer.json": characters},
            "neox": {"tokenizer.json": neox},
            "bert files": {"vocab.txt": "".join(word + "\n" for word in WORDS)}, "bpe files": {"vocab.json": vocab, "merges.txt": lines}}


BASES = bases()
MODELS = {"bert": ["bert", "distilbert", "electra"], "bpe": ["gpt2", "roberta", "bart", "gpt_neox"], "characters": ["gpt2"]}
CLASSES = {"bert": ["BertTokenizer", "BertTokenizerFast", "DistilBertTokenizer", "ElectraTokenizer", "PreTrainedTokenizerFast", None],
           "bpe": ["GPT2Tokenizer", "GPT2TokenizerFast", "RobertaTokenizer", "BartTokenizerFast", "GPTNeoXTokenizer", "PreTrainedTokenizerFast",
                   "NoSuchTokenizer", None],
           "characters": ["PreTrainedTokenizerFast"]}
MARKS = {"bert": ["<m>", "<p>", "[X]", "[MASK]", "hello", "\u00c9", "cafe"], "bpe": ["<m>", "<p>", "<sep>", "<|endoftext|>", "ab", "\u00c9", "<s>"],
         "characters": ["<m>", "<p>", "a", "."]}
# Every setting with values that change something. {m}: a token that a text holds.
BOOLEANS = ["do_lower_case", "strip_accents", "tokenize_chinese_chars", "add_prefix_space", "trim_offsets", "add_bos_token", "add_eos_token",
            "split_special_tokens", "clean_up_tokenization_spaces",
            "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output"]
NAMES = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token", "image_token"]


def flags(rng):
    return {key: rng.random() < 0.5 for key in ("single_word", "lstrip", "rstrip", "normalized", "special") if rng.random() < 0.6}


def marks_for(kind, key):
    """Tokens for a name. The unknown token of WordPiece is refused if the vocabulary does not hold it."""
    return ["hello", "cafe"] if (kind, key) == ("bert", "unk_token") else MARKS[kind]


def given(rng, content):
    return content if rng.random() < 0.5 else typed(content, **flags(rng))


def random_config(rng, kind):
    marks = MARKS[kind]
    config = {}
    for key in BOOLEANS:
        if rng.random() < 0.25:
            config[key] = rng.random() < 0.5
    for key in NAMES:
        if rng.random() < 0.12:
            config[key] = given(rng, rng.choice(marks_for(kind, key)))
        elif rng.random() < 0.03 and key not in ("unk_token", "cls_token", "sep_token"):
            config[key] = None
    if rng.random() < 0.2:
        config["extra_special_tokens"] = [given(rng, mark) for mark in rng.sample(marks, rng.randint(0, 2))]
    elif rng.random() < 0.1:
        config["extra_special_tokens"] = {"first": given(rng, rng.choice(marks)), "b_token": given(rng, rng.choice(marks))}
    if rng.random() < 0.2:
        config["additional_special_tokens"] = [given(rng, mark) for mark in rng.sample(marks, rng.randint(0, 2))]
    if rng.random() < 0.05:
        config["model_specific_special_tokens"] = {"first": rng.choice(marks)}
    if rng.random() < 0.3:
        config["added_tokens_decoder"] = {str(rng.choice([0, 30, 200, 259, 260, 300]) + i): {"content": mark} | flags(rng)
                                          for i, mark in enumerate(rng.sample(marks, rng.randint(0, 3)))}
    if rng.random() < 0.15:
        config["truncation_side"] = rng.choice(["left", "right"])
    if rng.random() < 0.1:
        config[rng.choice(["model_max_length", "max_len"])] = rng.choice([7, 512, 10**30])
    if rng.random() < 0.15:
        config["model_input_names"] = rng.choice([["input_ids", "attention_mask"], ["input_ids", "token_type_ids", "attention_mask"]])
    return config


def random_edits(rng, kind, base):
    edits = {}
    marks = MARKS[kind]
    own = base["tokenizer.json"]
    vocab = own["model"]["vocab"]
    if rng.random() < 0.5:
        count = len(vocab)
        edits["added_tokens"] = own["added_tokens"] + [
            token(vocab.get(mark, count + i), mark, **flags(rng))
            for i, mark in enumerate(rng.sample(marks, rng.randint(0, 2))) if mark not in vocab]
    if rng.random() < 0.1:
        edits["padding"] = {"strategy": "BatchLongest", "direction": rng.choice(["Left", "Right"]), "pad_to_multiple_of": None, "pad_id": 0,
                            "pad_type_id": 0, "pad_token": rng.choice(marks)}
    if rng.random() < 0.1:
        edits["truncation"] = {"direction": rng.choice(["Left", "Right"]), "max_length": 5, "strategy": "LongestFirst", "stride": 0}
    if rng.random() < 0.1 and kind != "characters":
        edits["decoder"] = None
    if rng.random() < 0.3 and kind != "characters":
        edits["normalizer"] = rng.choice([None, {"type": "NFC"}, {"type": "Lowercase"}, {"type": "Sequence", "normalizers": [
            {"type": "NFD"}, {"type": "StripAccents"}, {"type": "Lowercase"}]}])
    if kind == "bpe":
        if rng.random() < 0.4:
            edits["pre_tokenizer"] = BYTE_LEVEL | {"add_prefix_space": rng.random() < 0.5}
        if rng.random() < 0.6:
            trims = BYTE_LEVEL | {"add_prefix_space": rng.random() < 0.5, "trim_offsets": rng.random() < 0.7}
            roberta = {"type": "RobertaProcessing", "sep": ["<|endoftext|>", 259], "cls": ["a", vocab["a"]],
                       "trim_offsets": rng.random() < 0.7, "add_prefix_space": rng.random() < 0.5}
            edits["post_processor"] = rng.choice([trims, roberta, None, {"type": "Sequence", "processors": [trims, roberta]}])
    return edits


def random_folder(rng):
    kind = rng.choice(["bert", "bert", "bpe", "bpe", "bpe", "characters"])
    name = kind + (" files" if kind != "characters" and rng.random() < 0.3 else "")
    files, edits = {}, {}
    config = random_config(rng, kind)
    chosen = rng.choice(CLASSES[kind])
    if chosen:
        config["tokenizer_class"] = chosen
    if config and (kind == "characters" or rng.random() < 0.9):
        files["tokenizer_config.json"] = config
    if rng.random() < 0.8 or chosen is None:
        files["config.json"] = {"model_type": rng.choice(MODELS[kind])}
    if rng.random() < 0.2:
        files["special_tokens_map.json"] = {
            key: value if rng.random() < 0.5 else {"content": value} | flags(rng)
            for key in rng.sample(NAMES, 2) for value in [rng.choice(marks_for(kind, key))]}
        if rng.random() < 0.4:
            files["special_tokens_map.json"]["additional_special_tokens"] = rng.sample(MARKS[kind], 1)
    if rng.random() < 0.15:
        files["added_tokens.json"] = {mark: 300 + i for i, mark in enumerate(rng.sample(MARKS[kind], rng.randint(1, 2)))}
    if "files" not in name:
        edits = random_edits(rng, kind, BASES[name])
    elif kind == "bert" and rng.random() < 0.3:
        lines = list(WORDS)
        for _ in range(rng.randint(1, 3)):
            place = rng.randint(5, len(lines))
            lines.insert(place, rng.choice(["", " ", "hello", "b ", "world\t", "x"]))
        files["vocab.txt"] = "".join(line + rng.choice(["\n", "\n", "\r\n"]) for line in lines)
    return {"base": name, "files": files, "edits": edits}


def write(folder, path):
    for name, content in (BASES[folder["base"]] | folder["files"]).items():
        if name == "tokenizer.json":
            content = content | folder["edits"]
        text = content if isinstance(content, str) else json.dumps(content)
        Path(path, name).write_bytes(text.encode())


def expected(folder, path):
    write(folder, path)
    try:
        tokenizer = AutoTokenizer.from_pretrained(path)
        return [encoded(tokenizer, text) for text in TEXTS[folder["base"].split()[0]]]
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def encoded(tokenizer, text):
    result = tokenizer([text], return_offsets_mapping=True)
    plain = tokenizer([text], add_special_tokens=False, return_offsets_mapping=True)
    pair = tokenizer([text], [text])
    special = len(pair["input_ids"][0]) - 2 * len(plain["input_ids"][0])
    ids = result["input_ids"][0]
    cut = tokenizer([text], [text], truncation=True, max_length=special + 3)["input_ids"][0]
    return {"ids": plain["input_ids"][0], "offsets": plain["offset_mapping"][0], "framed": ids, "pair": pair["input_ids"][0],
            "types": pair["token_type_ids"][0] if "token_type_ids" in pair else [0] * len(pair["input_ids"][0]), "cut": cut,
            "text": tokenizer.decode(ids), "plain": tokenizer.decode(ids, skip_special_tokens=True)}


def compare(program, seed, count):
    rng = random.Random(seed)
    differ = refused = agreed = 0
    for number in range(count):
        folder = random_folder(rng)
        with tempfile.TemporaryDirectory() as path, tempfile.TemporaryDirectory() as saved, tempfile.NamedTemporaryFile("w") as lines:
            theirs = expected(folder, path)
            texts = TEXTS[folder["base"].split()[0]]
            lines.write(json.dumps(texts))
            lines.flush()
            ours = json.loads(subprocess.run([program, path, lines.name, saved], capture_output=True, text=True).stdout)
            if isinstance(theirs, str) or "error" in ours:
                refused += 1
                if not isinstance(theirs, str) and "have gaps" not in ours["error"]:
                    print("WE REFUSE", number, ours["error"].replace(path, ""), json.dumps(folder))
                elif "error" not in ours:
                    print("they refuse", number, theirs[:150], json.dumps(folder)[:300])
                continue
            ours = [{key: case[key] for key in theirs[0]} for case in ours["cases"]]
            again = [encoded(AutoTokenizer.from_pretrained(saved), text) for text in texts]
            for what, one in (("", ours), (" saved", again)):
                bad = [(text, key, a[key], [list(v) if isinstance(v, tuple) else v for v in b[key]] if isinstance(b[key], list) else b[key])
                       for text, a, b in zip(texts, one, theirs) for key in b
                       if json.dumps(a[key]) != json.dumps(b[key])]
                if bad:
                    differ += 1
                    print("DIFFERS" + what, number, bad[:2], json.dumps(folder))
                    break
            else:
                agreed += 1
    print(agreed, "agree,", differ, "differ,", refused, "refused")


def folder(base, config=None, model=None, edits=None, **files):
    if config is not None:
        files["tokenizer_config.json"] = config
    if model:
        files["config.json"] = {"model_type": model}
    return {"base": base, "files": {name.replace("__", "."): content for name, content in files.items()}, "edits": edits or {}}


def settings(kind):
    """Values of each key of tokenizer_config.json that change something for this kind of tokenizer."""
    mark = MARKS[kind][0]
    values = {key: [True, False] for key in BOOLEANS} | {
        key: [one, typed(one, lstrip=True, rstrip=True)] for key in NAMES for one in marks_for(kind, key)[:1]}
    return values | {
        "pad_token": [mark, None, {"content": mark}, typed(mark, single_word=True, normalized=True)],
        "extra_special_tokens": [[mark, typed("<p>", lstrip=True)], {"first": mark, "b_token": "<p>"}],
        "additional_special_tokens": [[mark, "<p>"], [typed(mark, rstrip=True)]],
        "model_specific_special_tokens": [{"first": mark}],
        "added_tokens_decoder": [{}, {"300": {"content": mark, "lstrip": True}, "299": decoder_token("<p>")},
                                 {"7": decoder_token(mark, normalized=True, special=False)}],
        "truncation_side": ["left", "middle"], "padding_side": ["left", "middle"], "model_max_length": [7, 10**30], "max_len": [7],
        "model_input_names": [["input_ids"], ["input_ids", "token_type_ids"]], "tokenizer_class": CLASSES[kind][:-1],
        "init_inputs": [[]], "auto_map": [{"AutoConfig": "a.B"}],
    }


def chosen_folders():
    for kind, usual in (("bert", "BertTokenizer"), ("bpe", "GPT2Tokenizer"), ("characters", "PreTrainedTokenizerFast")):
        for base in [kind] + ([kind + " files"] if kind != "characters" else []):
            for key, values in settings(kind).items():
                for value in values:
                    if base == kind or key in ("do_lower_case", "add_prefix_space", "add_bos_token", "add_eos_token", "extra_special_tokens"):
                        yield folder(base, {"tokenizer_class": usual} | {key: value})
    for name in ("RobertaTokenizer", "GPTNeoXTokenizer", "PreTrainedTokenizerFast"):
        for more in ({}, {"add_prefix_space": True}, {"trim_offsets": False}, {"add_bos_token": True, "add_eos_token": True}):
            yield folder("bpe", {"tokenizer_class": name} | more, edits={"added_tokens": BASES["bpe"]["tokenizer.json"]["added_tokens"] + [
                token(260, "<m>", lstrip=True), token(261, "<p>", rstrip=True, special=False, normalized=True)]})
            if name != "PreTrainedTokenizerFast":
                yield folder("bpe files", {"tokenizer_class": name} | more)
    for model in ("bert", "distilbert"):
        yield folder("bert", model=model)
    for model in ("gpt2", "bart", "gpt_neox"):
        yield folder("bpe", model=model)
    yield folder("bpe", edits={"added_tokens": [token(400, "<m>"), token(5, "<p>"), token(0, "<s>", special=False)]})  # ids that do not count
    yield folder("bert", {"tokenizer_class": "PreTrainedTokenizerFast"}, edits={"normalizer": {"type": "NFC"}, "decoder": None})
    for trims in (True, False):
        for prefix in (True, False):
            yield folder("bpe", edits={"post_processor": BYTE_LEVEL | {"trim_offsets": trims, "add_prefix_space": prefix},
                                       "added_tokens": [token(260, "<m>", lstrip=True, rstrip=True)]})
    yield folder("bert files", model="bert", vocab__txt="\n".join(WORDS[:6] + ["", ""] + WORDS[6:]) + "\n")
    yield folder("bert files", model="bert", vocab__txt="\n".join(WORDS + ["hello", "z"]) + "\n")
    yield folder("bert files", model="bert", vocab__txt="\r\n".join(word + " " for word in WORDS))
    yield folder("bert files", model="bert", added_tokens__json={"[X]": 34})
    yield folder("bpe files", {"tokenizer_class": "GPT2Tokenizer"}, added_tokens__json={"<sep>": 260, "<m>": 261},
                 special_tokens_map__json={"pad_token": {"content": "<m>", "lstrip": True}, "additional_special_tokens": ["<p>"]})


def neox_folders():
    """Folders as GPT-NeoX and Pythia come: one with the class that they name, one with the model's type alone, one as it stands."""
    names = {name: "<|endoftext|>" for name in ("bos_token", "eos_token", "unk_token")}
    for name in ("GPTNeoXTokenizer", "GPTNeoXTokenizerFast"):
        yield folder("neox", {"tokenizer_class": name, "add_prefix_space": False} | names, model="gpt_neox")
    yield folder("neox", model="gpt_neox")
    yield folder("neox", {"tokenizer_class": "PreTrainedTokenizerFast"} | names)


def stored(folder, encodings):
    """The folder with the places of its encodings in a list of all that occur."""
    with tempfile.TemporaryDirectory() as path:
        theirs = expected(folder, path)
    # As text: the order of keys decides in which order tokens get their ids.
    folder = folder | {"files": {name: content if isinstance(content, str) else json.dumps(content)
                                 for name, content in folder["files"].items()}}
    if isinstance(theirs, str):
        return folder | {"refused": True}
    for case in theirs:
        case["offsets"] = [place for pair in case["offsets"] for place in pair]
    return folder | {"lines": [encodings.setdefault(json.dumps(case, separators=(",", ":")), len(encodings)) for case in theirs]}


def windows():
    """Windows over a long second text."""
    for side in ("right", "left"):
        one = folder("bert", {"tokenizer_class": "BertTokenizer", "truncation_side": side})
        with tempfile.TemporaryDirectory() as path:
            write(one, path)
            tokenizer = AutoTokenizer.from_pretrained(path)
            for max_length, stride in ((7, 1), (8, 0), (9, 3), (20, 2)):
                first, second = "hello a", "hello world a b , . ! ' s n t x"
                ids = tokenizer(first, second, truncation="only_second", max_length=max_length, stride=stride,
                                return_overflowing_tokens=True)["input_ids"]
                yield one | {"first": first, "second": second, "max_length": max_length, "stride": stride, "ids": ids}


def keys_read():
    """What transformers asks tokenizer_config.json for: the arguments of the classes, and the keys that the loaders look up."""
    keys = set()
    for one in (BertTokenizer, GPT2Tokenizer, RobertaTokenizer, GPTNeoXTokenizer):
        keys |= set(inspect.signature(one.__init__).parameters) - {"self", "args", "kwargs"}
    for module in ("tokenization_utils_base", "tokenization_utils_tokenizers", "models.auto.tokenization_auto"):
        text = inspect.getsource(__import__("transformers." + module, fromlist=["x"]))
        for pattern in (r'kwargs\.(?:get|pop|setdefault)\("(\w+)"', r'kwargs\["(\w+)"\]', r'"(\w+)" in (?:init_)?kwargs',
                        r'tokenizer_config\.get\("(\w+)"', r'"(\w+)" in tokenizer_config', r'tokenizer_config\["(\w+)"\]'):
            keys |= set(re.findall(pattern, text))
    return sorted(keys)


def main():
    rng = random.Random(21)
    encodings = {}
    folders = [stored(one, encodings) for one in chosen_folders()]
    mixed = [stored(random_folder(rng), encodings) for _ in range(90)]
    folders += [one for one in mixed if "refused" not in one]
    folders += [stored(one, encodings) for one in neox_folders()]
    versions = f"transformers {transformers.__version__}, tokenizers {tokenizers.__version__}"
    rows = ",\n".join(json.dumps(one, separators=(",", ":")) for one in folders)
    head = json.dumps({"made_with": versions, "keys": keys_read(), "windows": list(windows()), "texts": TEXTS, "bases": BASES}, separators=(",", ":"))
    TARGET.write_text(head[:-1] + ',"encodings":[\n' + ",\n".join(encodings) + '\n],"folders":[\n' + rows + "\n]}\n")
    print(len(folders), "folders,", sum("refused" in one for one in folders), "refused,", TARGET.stat().st_size, "bytes")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        compare(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
