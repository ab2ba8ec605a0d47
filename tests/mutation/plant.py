#!/usr/bin/env python3
"""Plants the bugs of bugs.txt in copies of the CUDA sources, all in one build: python3 plant.py FOLDER

Each bug becomes a choice by the variable ENGINE_PLANTED_BUG of the environment, so that one program holds all of them.
Exits with 1 where a bug's code does not stand exactly once in its file.
"""
import pathlib
import re
import shutil
import sys

here = pathlib.Path(__file__).parent
root = here.parent.parent

header = """// Says which planted bug is switched on, 0 for none.
#pragma once
#include <cstdlib>
inline const int planted_bug = std::getenv("ENGINE_PLANTED_BUG") ? std::atoi(std::getenv("ENGINE_PLANTED_BUG")) : 0;
"""


def bugs():
    """[(number, file, test cases, code before, part, code behind, replacement)]"""
    found, file, cases, pending = [], None, None, []
    for line in (here / "bugs.txt").read_text().splitlines():
        section = re.fullmatch(r"\[(\S+)\] (.*)", line)
        if section:
            file, cases = section.groups()
        elif line.startswith("#") or (not line.strip() and not pending):
            continue
        elif " => " not in line:
            pending.append(line)  # the code goes on in the next line
        else:
            code, replacement = "\n".join([*pending, line]).rsplit(" => ", 1)
            pending = []
            before, part, behind = re.fullmatch(r"(.*)\{\{(.*)\}\}(.*)", code, re.S).groups()
            found.append((len(found) + 1, file, cases, before, part, behind, replacement))
    return found


def planted(number, part, replacement):
    if part.endswith(";"):
        return f"{{ if (planted_bug == {number}) {{ {replacement} }} else {{ {part} }} }}"
    return f"(planted_bug == {number} ? ({replacement}) : ({part}))"


def main():
    target = pathlib.Path(sys.argv[1])
    shutil.rmtree(target / "kernels", ignore_errors=True)
    for path in [*root.glob("kernels/cuda/*"), *root.glob("kernels/*/cuda/*")]:
        copy = target / path.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    (target / "planted_bug.h").write_text(header)
    wrong, places = 0, {}
    for number, file, _, before, part, behind, replacement in bugs():
        text = (root / file).read_text()
        code = before + part + behind
        if text.count(code) != 1:
            print(f"{here / 'bugs.txt'}: in {file} stands {text.count(code)} times: {code}")
            wrong += 1
            continue
        begin = text.index(code) + len(before)
        places.setdefault(file, []).append((begin, begin + len(part), planted(number, part, replacement)))
    for file, changes in places.items():
        text = (root / file).read_text()
        for begin, end, code in sorted(changes, reverse=True):
            text = text[:begin] + code + text[end:]
        (target / file).write_text(text)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
