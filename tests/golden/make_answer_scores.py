#!/usr/bin/env python3
"""Writes answer_scores.json: what MLQA's scorer says of some answers.

    curl -O https://raw.githubusercontent.com/facebookresearch/MLQA/COMMIT/mlqa_evaluation_v1.py
    python3 tests/golden/make_answer_scores.py mlqa_evaluation_v1.py

COMMIT is 24bf470b2e68f2bfb93b2fd31c370bb8ee18d9ed.
"""
import importlib.util
import json
import pathlib
import sys

spec = importlib.util.spec_from_file_location("scorer", sys.argv[1])
scorer = importlib.util.module_from_spec(spec)
spec.loader.exec_module(scorer)

cases = [
    ("en", "The  Green-hat, of “Tom”", ["green hat of Tom", "an apple"]),
    ("en", "the", ["a"]),
    ("en", "$5 + ~3", ["5 3", "$5"]),
    ("es", "El perro de la Casa unas", ["perro de casa", "los perros"]),
    ("es", "¿Qué? ¡unos!", ["que", "qué"]),
    ("de", "Der Hund des Mannes, eine Katze", ["hund mannes katze", "Den Hund"]),
    ("de", "STRASSE", ["straße"]),
    ("vi", "Những con mèo của là Nội", ["con mèo nội", "cái mèo"]),
    ("ar", "البيت الكبير، في القاهرة", ["بيت كبير في قاهرة", "القاهرة؟"]),
    ("ar", "سال المال", ["س م", "مال"]),
    ("hi", "राम। और श्याम", ["राम और श्याम", "राम"]),
    ("hi", "१९४७, में", ["1947 में", "१९४७ में"]),
    ("zh", "北京，中国的首都2008", ["北京中国首都2008", "北京"]),
    ("zh", "a b 中c", ["ab中 c", "中"]),
    ("en", "", ["the", "x"]),
    ("hi", "!", ["?"]),
]
rows = [{"language": language, "answer": answer, "truths": truths,
         "normalized": scorer.normalize_answer(answer, language),
         "exact_match": max(float(scorer.exact_match_score(answer, truth, language)) for truth in truths),
         "f1": max(float(scorer.f1_score(answer, truth, language)) for truth in truths)}
        for language, answer, truths in cases]
path = pathlib.Path(__file__).parent / "answer_scores.json"
path.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
