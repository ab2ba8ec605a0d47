"""Which characters BERT's tokenizer removes, strips and splits at, asked of the reference implementation one by one:
writes text/character_ranges.inc, which text/character_kinds.cc includes.

The reference knows the categories of Unicode 8 and the decompositions of Unicode 9. A library that knows a newer Unicode
would give other tokens, so the tables are ours. Made with tokenizers 0.23.3. Run from the root of the repository:
    python tests/golden/make_character_tables.py
"""

from pathlib import Path

from tokenizers import normalizers, pre_tokenizers


def bert(**settings):
    off = {"clean_text": False, "handle_chinese_chars": False, "strip_accents": False, "lowercase": False}
    return normalizers.BertNormalizer(**(off | settings))


def ranges(characters):
    found = []
    for character in characters:
        if found and found[-1][1] == character - 1:
            found[-1][1] = character
        else:
            found.append([character, character])
    return found


def rows(name, comment, characters):
    text, row = f"// {comment}\nconstexpr Range {name}[] = {{\n", "   "
    for first, last in ranges(characters):
        entry = f" {{0x{first:x}, 0x{last:x}}},"
        if len(row + entry) > 120:
            text, row = text + row + "\n", "   "
        row += entry
    return text + row + "\n};\n"


def main():
    clean, strip = bert(clean_text=True), bert(strip_accents=True)
    decompose, strip_all, words = normalizers.NFD(), normalizers.StripAccents(), pre_tokenizers.BertPreTokenizer()
    characters = [n for n in range(0x110000) if not 0xd800 <= n < 0xe000]
    kept_whole = [n for n in characters if decompose.normalize_str(chr(n)) == chr(n)]
    text = "// Written by tests/golden/make_character_tables.py..\n"
    text += rows("control_ranges", "What clean_text removes.", [n for n in characters if not clean.normalize_str(chr(n))])
    text += rows("punctuation_ranges", "What is a word of its own.",
                 [n for n in characters if len(words.pre_tokenize_str(f"a{chr(n)}a")) == 3])
    text += rows("nonspacing_ranges", "What strip_accents removes (Mn).",
                 [n for n in kept_whole if not strip.normalize_str(chr(n))])
    text += rows("mark_ranges", "What the normalizer StripAccents removes (M).",
                 [n for n in characters if not strip_all.normalize_str(chr(n))])
    Path("text/character_ranges.inc").write_text(text)


main()
