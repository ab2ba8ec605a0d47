#!/usr/bin/env python3
"""Writes the questions of this folder: short stories, each about a person, made from templates, in SQuAD's JSON schema.

    python3 tests/data/questions/make.py

The text is our own and free to use (CC0). tokenizer/ was made from it with `engine tokenize --train wordpiece`.
"""
import json
import pathlib
import random

names = ("Anna Ben Clara David Emma Felix Greta Hugo Ida Jonas Karla Leo Mina Noah Olga Paul Rosa Simon Tina Viktor Wanda "
         "Yusuf Zora Amir Bela Carlo Dora Emil Fatima Georg").split()
cities = ("Rome Paris Vienna Oslo Lisbon Athens Dublin Prague Warsaw Berlin Madrid Cairo Delhi Tokyo Lima Quito Sofia "
          "Riga Bern Tunis").split()
jobs = ("baker teacher doctor painter farmer sailor pilot writer nurse singer cook judge tailor miner dancer plumber "
        "gardener carpenter librarian fisherman").split()
pets = "dog cat horse parrot rabbit goat turtle pony canary hamster".split()
fruits = "apples pears plums cherries figs grapes peaches melons lemons oranges".split()

# Each fact: how it is told, how it is asked for, and what may fill it.
facts = [
    (["{n} lives in {x}.", "The home of {n} is in {x}."], ["Where does {n} live?", "In which city does {n} live?"], cities),
    (["{n} works as a {x}.", "{n} has been a {x} for many years."], ["What is the job of {n}?", "What does {n} work as?"],
     jobs),
    (["{n} was born in {x}.", "The year in which {n} was born is {x}."], ["When was {n} born?", "In which year was {n} born?"],
     [str(year) for year in range(1930, 2010)]),
    (["{n} has a {x}.", "At home {n} keeps a {x}."], ["Which animal does {n} have?", "What pet does {n} keep?"], pets),
    (["{n} likes {x}.", "Every day {n} eats {x}."], ["What does {n} like to eat?", "Which fruit does {n} like?"], fruits),
]


def story(generator):
    """A context, and questions about it: text, answer, its place."""
    name, told = generator.choice(names), []
    for statements, questions, fillers in facts:
        filler = generator.choice(fillers)
        told.append((generator.choice(statements).format(n=name, x=filler), filler, name, questions))
    generator.shuffle(told)
    context, places = "", []
    for sentence, filler, name, questions in told:
        start = len(context) + sentence.rindex(filler)
        places.append((generator.choice(questions).format(n=name), filler, start))
        context += sentence + " "
    return context.rstrip(), places


def write(file, seed, stories):
    generator = random.Random(seed)
    paragraphs = []
    for s in range(stories):
        context, questions = story(generator)
        paragraphs.append({"context": context, "qas": [
            {"id": f"{file.stem}-{s}-{i}", "question": text, "answers": [{"text": answer, "answer_start": start}]}
            for i, (text, answer, start) in enumerate(questions)]})
    file.write_text(json.dumps({"version": "1.1", "data": [{"title": "stories", "paragraphs": paragraphs}]}) + "\n")


here = pathlib.Path(__file__).parent
write(here / "train.json", 1, 400)
write(here / "dev.json", 2, 50)
