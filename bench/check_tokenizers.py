"""Checks tokenizers against transformers and the tokenizers library. Run by hand:

    make && python bench/check_tokenizers.py [--text FILE ...] [--train FILE] [--random COUNT [--seed N]] FOLDER ...

Each folder, as transformers reads it (AutoTokenizer, or BertTokenizer for a vocab.txt alone), must give the ids and
offsets of `engine tokenize` for each line of the texts. With --train: the engine trains vocabularies of 8,000 tokens
from the file; AutoTokenizer must read what it wrote and give its ids, the BPE merges must be those of the library's
trainer, and the WordPiece tokens too, but for a few at the end: of pairs that come equally often the library takes any.

With --random: so many folders of tokenizers of every kind with random vocabularies, normalizers, pre-tokenizers,
post-processors, added tokens and settings, as transformers saves them. AutoTokenizer and `engine tokenize` must give
equal ids and offsets of random texts, alone and in pairs, with and without special tokens and a limit, and AutoTokenizer
must give the same ids from the folder that a training of one step saves. Refusals are counted by their text.

Needs transformers, tokenizers and sentencepiece (made with 5.24.0, 0.23.3 and 0.2.3). Exits with 1 if anything differs.
"""
import argparse
import collections
import io
import json
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import time

os.environ["TRANSFORMERS_VERBOSITY"] = "critical"
os.environ["HF_HUB_OFFLINE"] = "1"

import sentencepiece
import transformers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, BertTokenizer, PreTrainedTokenizerFast

ROOT = pathlib.Path(__file__).parent.parent
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
VOCAB_SIZE = 8000
FAILURES = []


def check(what, holds, detail=""):
    print(("ok    " if holds else "WRONG ") + what, detail, flush=True)
    if not holds:
        FAILURES.append(what)


def run(*arguments):
    result = subprocess.run([str(argument) for argument in arguments], capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"{' '.join(map(str, arguments))} failed: {result.stderr.strip()}")
    return result.stdout


def check_folder(engine, folder, files):
    has_json = (folder / "tokenizer.json").exists()
    reference = (AutoTokenizer if has_json else BertTokenizer).from_pretrained(folder).backend_tokenizer
    reference.no_truncation()
    reference.no_padding()
    for file in files:
        lines = [line.removesuffix("\r") for line in file.read_bytes().decode("utf-8").split("\n")]
        if not lines[-1]:
            lines.pop()
        compared = differing = 0
        ours = run(engine, "tokenize", folder, "--input", file).split("\n")[:-1]
        check(f"{folder}: lines of {file.name}", len(ours) == len(lines), len(lines))
        for begin in range(0, len(lines), 1000):
            theirs = reference.encode_batch(lines[begin:begin + 1000], add_special_tokens=False)
            for made, wanted in zip(ours[begin:begin + 1000], theirs):
                made = json.loads(made)
                compared += len(wanted.ids)
                same = made["ids"] == wanted.ids and made["offsets"] == [list(offsets) for offsets in wanted.offsets]
                differing += not same
        check(f"{folder}: ids and offsets of {file.name}", differing == 0 < compared,
              f"{compared} ids, {differing} lines differ")


def check_training(engine, file):
    text = file.read_bytes().decode("utf-8")
    bpe, wordpiece = Tokenizer(models.BPE()), Tokenizer(models.WordPiece(unk_token="[UNK]"))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    wordpiece.normalizer, wordpiece.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    common = dict(vocab_size=VOCAB_SIZE, min_frequency=2, show_progress=False)
    for kind, reference, trainer in (
            ("bpe", bpe, trainers.BpeTrainer(special_tokens=["<|endoftext|>"],
                                             initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), **common)),
            ("wordpiece", wordpiece, trainers.WordPieceTrainer(special_tokens=SPECIAL, limit_alphabet=1000000, **common))):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder) / kind
            start = time.time()
            run(engine, "tokenize", "--train", kind, "--input", file, "--output", folder, "--vocab_size", VOCAB_SIZE,
                "--most_characters", 1000000)
            ours = time.time() - start
            start = time.time()
            reference.train_from_iterator([text], trainer)
            times = f"{ours:.1f} s, the library {time.time() - start:.1f} s"
            if kind == "bpe":
                merges = [" ".join(merge) for merge in json.loads(reference.to_str())["model"]["merges"]]
                same = (folder / "merges.txt").read_text(encoding="utf-8").split("\n")[1:-1] == merges
                check(f"{kind}: the merges are those of the library's trainer", same, f"{len(merges)}, {times}")
            else:
                tokens = set((folder / "vocab.txt").read_text(encoding="utf-8").split("\n")[:-1])
                missing = len(set(reference.get_vocab()) - tokens)
                check(f"{kind}: the tokens are those of the library's trainer", missing < VOCAB_SIZE // 200,
                      f"{missing} of {len(tokens)} differ, {times}")
            check_folder(engine, folder, [file])


WORDS = ["hello", "Hello", "world", "the", "The", "of", "caf\u00e9", "cafe\u0301", "na\u00efve", "\u00dcber", "stra\u00dfe", "\u4f60\u597d",
         "\u6771\u4eac\u30bf\u30ef\u30fc", "\u043f\u0440\u0438\u0432\u0435\u0442", "\u0395\u03bb\u03bb\u03ac\u03c2", "\u0645\u0631\u062d\u0628\u0627", "\u0928\u092e\u0938\u094d\u0924\u0947", "\u0e2a\u0e27\u0e31\u0e2a", "\u1112\u1161\u11ab", "\ud55c\uad6d\uc5b4", "\ufb01n",
         "I\u0130\u0131", "\u212b", "\u2460", "\uff21\uff22", "don't", "it's", "we'll", "12345", "3.14", "\u0663", "a_b", "x-y", "``q''", "...", "!?", "[X]", "<m>",
         "$9", "\U0001f600", "\U0001f468\u200d\U0001f469", "e\u0301\u0327", "\u0300", "aaaa", "abab"]
SPACES = [" ", " ", " ", " ", "  ", "   ", "", "\u00a0", "\u3000", "\u2003", "\u200b", "\u2028", "\x07", "\x85", "\u00ad", "\ufeff", "\ufffd", "\u2581"]
MARKS = ["<m>", "<sep>", "[X]", "[NEW]", "Hello", "caf\u00e9", "\u00c9", "  ", "ab", "<P>", "\u4f60", "a b", "\u2581x", "don't"]


def random_text(rng, marks):
    text = ""
    for _ in range(rng.choice([0, 1, 2, 4, 8, 16])):
        word = rng.choice(WORDS + marks)
        text += (word.upper() if rng.random() < 0.1 else word) + rng.choice(SPACES)
    return text if rng.random() < 0.5 else rng.choice(SPACES) + text.strip()


def random_corpus(rng):
    return [" ".join(rng.choice(WORDS) for _ in range(12)) for _ in range(60)]


def maybe(rng, value, otherwise=None, share=0.5):
    return value if rng.random() < share else otherwise


def flag(rng):
    return rng.random() < 0.5


def random_normalizer(rng, kind):
    n = normalizers
    simple = [n.NFC, n.NFD, n.NFKC, n.NFKD, n.Lowercase, n.StripAccents]
    steps = [make() for make in rng.sample(simple, rng.choice([0, 1, 1, 2, 3]))]
    if kind == "wordpiece" or rng.random() < 0.1:
        steps.insert(rng.randint(0, len(steps)), n.BertNormalizer(flag(rng), flag(rng), rng.choice([None, True, False]), flag(rng)))
    if kind == "unigram":
        steps += rng.sample([n.Replace(Regex(" {2,}"), " "), n.Replace("``", '"'), n.Strip(flag(rng), flag(rng)), n.Nmt(),
                             n.Prepend("\u2581"), n.Replace(" ", "\u2581")], rng.choice([0, 0, 1, 2]))
    if len(steps) == 1 and flag(rng):
        return steps[0]
    return n.Sequence(steps) if steps else None


def random_frame(rng, tokenizer, special):
    """A post-processor of any kind that puts special tokens around a text."""
    p = processors
    pair = lambda: (lambda token: (token, tokenizer.token_to_id(token)))(rng.choice(special))
    place = lambda: "" if flag(rng) else f":{rng.choice([0, 1, 2])}"
    some = lambda: [f"{token}{place()}" for token in rng.sample(special, rng.choice([0, 1, 1, 2]))]
    made = [p.BertProcessing(pair(), pair()), p.RobertaProcessing(pair(), pair(), flag(rng), flag(rng)), None]
    single = some() + ["$A" + place()] + some()
    both = some() + ["$A" + place()] + some() + ["$B" + place()] + some()
    made += 2 * [p.TemplateProcessing(single=single, pair=both, special_tokens=[(t, tokenizer.token_to_id(t)) for t in special])]
    return rng.choice(made)


def random_tokenizer(rng, kind):
    """A Tokenizer of the library, and the names of its special tokens."""
    corpus = random_corpus(rng)
    special = ["<unk>", "<pad>", "[CLS]", "[SEP]", "<mask>"]
    common = dict(special_tokens=special, show_progress=False)
    size = rng.choice([150, 300, 500])
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=flag(rng))
    frame = []
    if kind == "wordpiece":
        prefix = rng.choice(["##", "##", "#", "@@"])
        made = Tokenizer(models.WordPiece(unk_token="<unk>", max_input_chars_per_word=rng.choice([100, 100, 5])))
        made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        made.decoder = maybe(rng, decoders.WordPiece(prefix=prefix, cleanup=flag(rng)), share=0.8)
        trainer = trainers.WordPieceTrainer(vocab_size=size, continuing_subword_prefix=prefix, **common)
    elif kind == "bpe":
        knows_bytes = rng.random() < 0.7  # all, else there is a token for unknown ones
        made = Tokenizer(models.BPE(unk_token=maybe(rng, "<unk>") if knows_bytes else "<unk>", ignore_merges=flag(rng)))
        made.pre_tokenizer = byte_level
        made.decoder = maybe(rng, decoders.ByteLevel(), share=0.8)
        alphabet = pre_tokenizers.ByteLevel.alphabet() if knows_bytes else []
        trainer = trainers.BpeTrainer(vocab_size=size + len(alphabet), initial_alphabet=alphabet, **common)
        if flag(rng):
            frame = [processors.ByteLevel(add_prefix_space=flag(rng), trim_offsets=flag(rng))]
    elif kind == "unigram":
        made = Tokenizer(models.Unigram())
        space = pre_tokenizers.Metaspace(prepend_scheme=rng.choice(["always", "never", "first"]), split=rng.random() < 0.8)
        made.pre_tokenizer = rng.choice([space, pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), space]), None])
        made.decoder = maybe(rng, decoders.Metaspace(), share=0.8)
        trainer = trainers.UnigramTrainer(vocab_size=size, unk_token="<unk>", **common)
    else:
        made = Tokenizer(models.WordLevel(unk_token="<unk>"))
        split = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
        made.pre_tokenizer = rng.choice([split, pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(r"\s"), "removed"), split])])
        made.decoder = maybe(rng, decoders.Fuse(), share=0.8)
        trainer = trainers.WordLevelTrainer(vocab_size=size, **common)
    if kind != "characters":
        made.normalizer = random_normalizer(rng, kind)
    made.train_from_iterator(corpus, trainer)
    if kind == "wordpiece" and prefix != "##":  # the trainer does not tell the model
        root = json.loads(made.to_str())
        root["model"]["continuing_subword_prefix"] = prefix
        made = Tokenizer.from_str(json.dumps(root))
    if kind == "bpe" and not knows_bytes and flag(rng):  # the unknown token is one of the text, and may merge
        root = json.loads(made.to_str())
        root["model"]["unk_token"] = rng.choice([token for token in root["model"]["vocab"] if token not in special])
        made = Tokenizer.from_str(json.dumps(root))
    if kind == "unigram" and flag(rng):
        root = json.loads(made.to_str())
        root["model"]["vocab"] += [[f"<0x{byte:02X}>", -9.0 - byte / 100] for byte in range(256)]
        root["model"]["byte_fallback"] = flag(rng)
        made = Tokenizer.from_str(json.dumps(root))
    frame += [one for one in [random_frame(rng, made, special)] if one]
    if frame:
        made.post_processor = frame[0] if len(frame) == 1 else processors.Sequence(frame)
    return made, special


def added(rng, content):
    flags = {key: flag(rng) for key in ("single_word", "lstrip", "rstrip", "normalized", "special")}
    return AddedToken(content, **{key: value for key, value in flags.items() if rng.random() < 0.7})


def random_settings(rng):
    """Keywords of a tokenizer's constructor."""
    settings = {"clean_up_tokenization_spaces": flag(rng), "split_special_tokens": flag(rng), "padding_side": rng.choice(["left", "right"]),
                "truncation_side": rng.choice(["left", "right"]), "add_prefix_space": flag(rng), "do_lower_case": flag(rng),
                "model_max_length": rng.choice([7, 512, 10**30])}
    settings = {key: value for key, value in settings.items() if rng.random() < 0.25}
    if rng.random() < 0.2:
        settings["extra_special_tokens"] = [maybe(rng, mark, added(rng, mark)) for mark in rng.sample(MARKS, rng.randint(0, 2))]
    return settings


NAMED = dict(unk_token="<unk>", pad_token="<pad>", cls_token="[CLS]", sep_token="[SEP]", mask_token="<mask>")
CLASSES = {"wordpiece": ["BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer"],
           "bpe": ["GPT2Tokenizer", "RobertaTokenizer", "GPTNeoXTokenizer", "BartTokenizer"],
           "unigram": ["XLMRobertaTokenizer", "T5Tokenizer", "AlbertTokenizer"], "characters": []}


def tokenizer_of_class(rng, kind, made, settings):
    """A tokenizer of a class of its own, from the vocabulary alone."""
    model = json.loads(made.to_str())["model"]
    of_class = getattr(transformers, rng.choice(CLASSES[kind]))
    names = dict(NAMED)
    if kind != "wordpiece":
        names |= dict(bos_token="[CLS]", eos_token="[SEP]")
    if kind == "wordpiece":
        settings |= {key: flag(rng) for key in ("strip_accents", "tokenize_chinese_chars") if flag(rng)}
        return of_class(vocab=model["vocab"], **names, **settings)
    if kind == "bpe":
        settings |= {key: flag(rng) for key in ("trim_offsets", "add_bos_token", "add_eos_token") if rng.random() < 0.3}
        return of_class(vocab=model["vocab"], merges=[tuple(merge) for merge in model["merges"]], **names, **settings)
    return of_class(vocab=[tuple(piece) for piece in model["vocab"]], **names, **settings)


def sentencepiece_folder(rng, path):
    """A SentencePiece model alone, with the class that reads it."""
    class_name, file, ids = rng.choice([("XLMRobertaTokenizer", "sentencepiece.bpe.model", dict(unk_id=0, bos_id=1, eos_id=2)),
                                        ("T5Tokenizer", "spiece.model", dict(pad_id=0, eos_id=1, unk_id=2, bos_id=-1)),
                                        ("AlbertTokenizer", "spiece.model", dict(pad_id=0, unk_id=1, bos_id=2, eos_id=3, pad_piece="<pad>",
                                                                                 bos_piece="[CLS]", eos_piece="[SEP]"))])
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(random_corpus(rng)), model_writer=model, minloglevel=2, num_threads=1, vocab_size=rng.choice([120, 200]),
        hard_vocab_limit=False, normalization_rule_name=rng.choice(["nmt_nfkc", "nfkc", "nfkc_cf", "nmt_nfkc_cf", "identity"]),
        user_defined_symbols=rng.sample(["<m>", "[X]", "<sep>"], rng.randint(0, 2)),
        control_symbols=rng.sample(["<P>", "[NEW]"], rng.randint(0, 2)), remove_extra_whitespaces=flag(rng), **ids)
    (path / file).write_bytes(model.getvalue())
    settings = random_settings(rng) | {"tokenizer_class": class_name}
    if "extra_special_tokens" in settings:
        settings["extra_special_tokens"] = [str(token) for token in settings["extra_special_tokens"]]
    settings |= {key: flag(rng) for key in ("keep_accents", "do_lower_case") if class_name == "AlbertTokenizer" and flag(rng)}
    settings |= {"mask_token": {"__type": "AddedToken", "content": "<mask>", "lstrip": flag(rng), "special": True}} if flag(rng) else {}
    (path / "tokenizer_config.json").write_text(json.dumps(settings))
    return f"sentencepiece {class_name}", ["<m>", "<mask>", "<s>", "</s>", "<pad>", "[CLS]"]


def random_folder(rng, path):
    kind = rng.choice(["wordpiece", "bpe", "bpe", "unigram", "unigram", "characters", "sentencepiece"])
    if kind == "sentencepiece":
        return sentencepiece_folder(rng, path)
    made, special = random_tokenizer(rng, kind)
    settings = random_settings(rng)
    knows_bytes = kind != "bpe" or made.model.unk_token is None  # a class takes the vocabulary without its unknown token
    if CLASSES[kind] and knows_bytes and rng.random() < 0.35:
        tokenizer = tokenizer_of_class(rng, kind, made, settings)
    else:
        names = {key: value for key, value in (NAMED | dict(bos_token="[CLS]", eos_token="[SEP]")).items() if rng.random() < 0.7}
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, **names, **settings)
    marks = rng.sample(MARKS, rng.choice([0, 1, 2, 4]))
    tokenizer.add_tokens([added(rng, mark) for mark in marks])
    tokenizer.save_pretrained(path)
    return f"{kind} {type(tokenizer).__name__}", marks + special


def encoded(tokenizer, texts, pairs, limit):
    """Ids of texts in every form, and offsets of the first."""
    given = [f"{a}\t{b}" for a, b in pairs]
    plain = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True)
    first, second = map(list, zip(*pairs))
    return {"alone": (texts, plain["input_ids"], plain["offset_mapping"]), "framed": (texts, tokenizer(texts)["input_ids"], None),
            "pairs": (given, tokenizer(first, second)["input_ids"], None),
            "cut": (given, tokenizer(first, second, truncation=True, max_length=limit)["input_ids"], None)}


def check_random_folder(engine, rng, path):
    """Returns what the folder is and what differs, or the engine's refusal."""
    name, marks = random_folder(rng, path)
    # A byte order mark at a file's beginning is no text.
    texts = ["begin", "", " "] + [random_text(rng, marks) for _ in range(30)]
    pairs = [("begin", "")] + [(random_text(rng, marks), random_text(rng, marks)) for _ in range(15)]
    reference = AutoTokenizer.from_pretrained(path)
    limit = reference.num_special_tokens_to_add(pair=True) + rng.randint(2, 9)
    wanted = encoded(reference, texts, pairs, limit)
    options = {"alone": [], "framed": ["--special_tokens"], "pairs": ["--special_tokens", "--pairs"],
               "cut": ["--special_tokens", "--pairs", "--max_length", str(limit)]}
    lines = path / "lines.txt"
    for form, (given, ids, offsets) in wanted.items():
        lines.write_text("".join(text + "\n" for text in given), encoding="utf-8", newline="")
        result = subprocess.run([engine, "tokenize", path, "--input", lines, *options[form]], capture_output=True, text=True)
        if result.returncode:
            return name, "refused", result.stderr.strip().replace(str(path), "")
        made = [json.loads(line) for line in result.stdout.split("\n")[:-1]]
        for i, text in enumerate(given):
            if made[i]["ids"] != ids[i]:
                return name, "differs", f"{form} {text!r}: {made[i]['ids']}, not {ids[i]}"
            if offsets and made[i]["offsets"] != [list(place) for place in offsets[i]]:
                return name, "differs", f"offsets {text!r} {ids[i]}: {made[i]['offsets']}, not {offsets[i]}"
    lines.write_text("hello world " * 40, encoding="utf-8")
    config = path / "task.cfg"
    config.write_text(f'task = "gpt"\nname = "run"\noutput_dir = "{path}"\n[data]\ntrain = ["{lines}"]\ntokenizer = "{path}"\n'
                      "block_size = 8\n[model]\nhidden_size = 8\nnum_layers = 1\nnum_heads = 1\nmax_positions = 8\n"
                      "[training]\nmax_steps = 1\nbatch_size = 1\n[gpt]\nsamples = 0\n")
    result = subprocess.run([engine, "train", config], capture_output=True, text=True)
    if result.returncode:
        return name, "refused", result.stderr.strip().replace(str(path), "")
    saved = encoded(AutoTokenizer.from_pretrained(path / "run/last"), texts, pairs, limit)
    for form in wanted:
        for text, ids, others in zip(wanted[form][0], wanted[form][1], saved[form][1]):
            if ids != others:
                return name, "differs", f"saved, {form} {text!r}: {others}, not {ids}"
    return name, "agrees", ""


def check_random(engine, count, seed, keep):
    kinds, refusals = collections.Counter(), collections.Counter()
    for number in range(seed, seed + count):
        rng = random.Random(number)
        with tempfile.TemporaryDirectory() as folder:
            try:
                name, outcome, detail = check_random_folder(engine, rng, pathlib.Path(folder))
            except BaseException as error:  # transformers refuses its own folder, or the library panics
                if isinstance(error, (KeyboardInterrupt, SystemExit)):
                    raise
                name, outcome, detail = "", "not read by transformers", f"{type(error).__name__}: {error}"
            if keep and outcome == "differs":
                subprocess.run(["cp", "-r", folder, f"{keep}/{number}"], check=True)
        kinds[f"{name}: {outcome}"] += 1
        if outcome == "differs":
            check(f"random {number}: {name}", False, detail)
        elif outcome != "agrees":
            refusals[f"{outcome}: " + re.sub(r"[0-9]+", "N", detail)[:170]] += 1
    for what, times in sorted(kinds.items()) + refusals.most_common():
        print(f"{times:6} {what}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=pathlib.Path)
    parser.add_argument("--engine", type=pathlib.Path, default=ROOT / "engine")
    parser.add_argument("--text", type=pathlib.Path, action="append", default=[])
    parser.add_argument("--train", type=pathlib.Path)
    parser.add_argument("--random", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1, help="of the first random folder, the others' follow")
    parser.add_argument("--keep", help="a folder that keeps the random folders that differ")
    arguments = parser.parse_args()
    engine = arguments.engine.resolve()
    for folder in arguments.folders:
        check_folder(engine, folder, arguments.text or [ROOT / "tests/data/tokenizer/wikipedia.txt"])
    if arguments.train:
        check_training(engine, arguments.train)
    if arguments.random:
        check_random(engine, arguments.random, arguments.seed, arguments.keep)
    print(f"{len(FAILURES)} differences" if FAILURES else "everything agrees")
    sys.exit(1 if FAILURES else 0)


if __name__ == "__main__":
    main()
