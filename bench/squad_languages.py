#!/usr/bin/env python3
"""A small multilingual encoder from nothing, taught to answer questions in English, and asked in Hindi.

    python bench/squad_languages.py --train english_train.json --dev english_dev.json --english xquad.en.json \
        --hindi xquad.hi.json

Needs sentencepiece (made with 0.2.3); all else is the engine's. In this order it

1. writes the contexts of TyDi's training and of XQuAD as texts, without any question; those in Hindi several times;
2. makes a Unigram vocabulary of these texts;
3. pretrains an encoder of XLM-R's kind on them with task = "mlm";
4. trains it on TyDi's questions in English, with several seeds, and beside it, as controls, a new encoder on the same, and
   the pretrained one on these and on the Hindi questions about the first half of XQuAD's articles;
5. asks all of them TyDi's other questions, and those about the second half of XQuAD's articles in both languages.

The pretraining leaves out the Hindi contexts of the last articles, and tells how many masked tokens it guesses there.
Everything is kept under runs/squad_languages, so that this script can be stopped and begun again: remove that folder after
a change of the arguments. cpu_seconds are the processor's, of the engine's trainings.
"""
import argparse
import json
import pathlib
import resource
import subprocess

root = pathlib.Path(__file__).parent.parent
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--train", type=pathlib.Path, required=True, help="TyDi's questions in English")
parser.add_argument("--dev", type=pathlib.Path, required=True, help="TyDi's other questions in English")
parser.add_argument("--english", type=pathlib.Path, required=True, help="XQuAD in English")
parser.add_argument("--hindi", type=pathlib.Path, required=True, help="XQuAD in Hindi")
parser.add_argument("--vocabulary", type=int, default=8000, help="pieces of the vocabulary")
parser.add_argument("--times", type=int, default=4, help="how often the text in Hindi is repeated")
parser.add_argument("--kept", type=int, default=4, help="articles whose Hindi text the pretraining does not read")
parser.add_argument("--pretraining_steps", type=int, default=1000)
parser.add_argument("--epochs", type=float, default=2, help="of the questions")
parser.add_argument("--seeds", nargs="*", type=int, default=[1])
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--engine", default=str(root / "engine"))
parser.add_argument("--folder", type=pathlib.Path, default=root / "runs" / "squad_languages")
parser.add_argument("--output", type=pathlib.Path, default=root / "bench" / "results" / "squad_languages.json")
arguments = parser.parse_args()
folder = arguments.folder
model = {"architecture": "roberta", "model_type": "xlm-roberta", "hidden_size": 128, "num_layers": 4, "num_heads": 4,
         "max_positions": 256}
squad = {"max_length": 256, "doc_stride": 64}


def articles_of(file):
    return json.loads(file.read_text())["data"]


def contexts_of(articles):
    return list(dict.fromkeys(p["context"] for article in articles for p in article["paragraphs"]))


def write_text(name, contexts, times=1):
    (folder / name).write_text("\n".join(contexts * times) + "\n")
    return folder / name


def write_questions(name, articles):
    (folder / name).write_text(json.dumps({"version": "1.1", "data": articles}, ensure_ascii=False))
    return folder / name


def make_vocabulary(texts):
    output = folder / "vocabulary"
    if (output / "tokenizer_config.json").exists():
        return output
    import sentencepiece
    output.mkdir(exist_ok=True)
    sentencepiece.SentencePieceTrainer.train(
        input=",".join(map(str, texts)), model_prefix=str(output / "sentencepiece.bpe"), model_type="unigram",
        vocab_size=arguments.vocabulary, character_coverage=0.9999, unk_id=0, bos_id=1, eos_id=2, num_threads=1,
        max_sentence_length=100000, minloglevel=1)
    (output / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "XLMRobertaTokenizer"}))
    return output


def engine(*words):
    """Runs a command and returns what it prints."""
    command = [arguments.engine, *map(str, words), "--threads", str(arguments.threads)]
    return subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE, text=True).stdout


def options(section, values):
    return [word for key, value in values.items() for word in (f"--{section}.{key}", value)]


def train(name, task, words, training):
    """Trains a run, goes on with one that was stopped, and leaves one that has ended as it is."""
    config, log = folder / f"{task}.cfg", folder / f"{name}.seconds"
    config.write_text(f'task = "{task}"\n')
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        engine("train", config, "--name", name, "--output_dir", folder, *words, *options("training", training))
    finally:
        now = resource.getrusage(resource.RUSAGE_CHILDREN)
        with log.open("a") as lines:
            lines.write(f"{now.ru_utime + now.ru_stime - usage.ru_utime - usage.ru_stime}\n")
    return round(sum(map(float, log.read_text().split())))


def metrics_of(name, file, *words):
    """Evaluates a run. A metric's name and its value stand on a line."""
    lines = engine("eval", folder / name, "--data.eval", file, *words).splitlines()
    return {line.split()[0]: round(float(line.split()[1]), 3) for line in lines if len(line.split()) == 2}


def scores_of(name, file, language):
    found = metrics_of(name, file, "--squad.language", language)
    return {"exact_match": found["exact_match"], "f1": found["f1"], "mlqa_exact": found[f"mlqa_exact_{language}"],
            "mlqa_f1": found[f"mlqa_f1_{language}"]}


folder.mkdir(parents=True, exist_ok=True)
english, hindi = articles_of(arguments.english), articles_of(arguments.hindi)
half = len(hindi) // 2
texts = [write_text("english.txt", contexts_of(articles_of(arguments.train) + english)),
         write_text("hindi.txt", contexts_of(hindi[:-arguments.kept]), arguments.times)]
kept = {"en": write_text("english_kept.txt", contexts_of(articles_of(arguments.dev))),
        "hi": write_text("hindi_kept.txt", contexts_of(hindi[-arguments.kept:]))}
first_half = write_questions("hi_first.json", hindi[:half])
second_half = {"en": write_questions("en_second.json", english[half:]), "hi": write_questions("hi_second.json", hindi[half:])}
vocabulary = make_vocabulary(texts)
new = ["--data.tokenizer", vocabulary, *options("model", model)]

seconds = train("pretrained", "mlm", ["--data.train", *texts, "--data.block_size", 128, *new],
                {"batch_size": 32, "max_steps": arguments.pretraining_steps, "learning_rate": 1e-3,
                 "warmup_steps": arguments.pretraining_steps // 20, "weight_decay": 0.01, "save_every": 100,
                 "log_every": 100})
result = {"vocabulary": arguments.vocabulary, "model": model, "precision": "auto", "threads": arguments.threads,
          "pretraining": {"steps": arguments.pretraining_steps, "cpu_seconds": seconds,
                          **{f"accuracy_{language}": metrics_of("pretrained", file)["accuracy"]
                             for language, file in kept.items()}},
          "epochs": arguments.epochs, "runs": []}
print(result, flush=True)
pretrained = ["--init", folder / "pretrained"]
for seed in arguments.seeds:
    for kind, words, files in (("new, English", new, [arguments.train]),
                               ("pretrained, English", pretrained, [arguments.train]),
                               ("pretrained, English and Hindi", pretrained, [arguments.train, first_half])):
        name = f"{kind.replace(', ', '_').replace(' ', '_').lower()}_{seed}"
        seconds = train(name, "squad", ["--seed", seed, "--data.train", *files, *words, *options("squad", squad)],
                        {"batch_size": 16, "epochs": arguments.epochs, "learning_rate": 3e-4, "warmup_steps": 100,
                         "weight_decay": 0.01, "save_every": 100, "log_every": 100})
        run = {"kind": kind, "seed": seed, "cpu_seconds": seconds, "tydi_en": scores_of(name, arguments.dev, "en")}
        for language, file in second_half.items():
            run[f"second_half_{language}"] = scores_of(name, file, language)
        result["runs"].append(run)
        print(run, flush=True)
        arguments.output.write_text(json.dumps(result, indent=1) + "\n")
