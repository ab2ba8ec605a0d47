"""The classes of tokenizers that transformers knows, and those that its models have by default: writes
text/tokenizer_classes.inc.

Made with Python 3.11, transformers 5.24.0, tokenizers 0.23.3, sentencepiece 0.2.3. Run from the root of the repository:
    python tests/golden/make_tokenizer_classes.py
A class that is not in the list reads a tokenizer.json as it stands. One that is makes a tokenizer of its own from the
vocabulary: those of BERT, GPT-2, RoBERTa, GPT-NeoX, XLM-RoBERTa, ALBERT, T5
and RemBERT are done here, all others are refused.
"""

import inspect
from pathlib import Path

import tokenizers
import transformers
from transformers.convert_slow_tokenizer import SLOW_TO_FAST_CONVERTERS
from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES, tokenizer_class_from_name
from transformers.tokenization_utils_tokenizers import TokenizersBackend

KINDS = {"BertTokenizer": "bert", "DistilBertTokenizer": "distilbert", "GPT2Tokenizer": "gpt2", "RobertaTokenizer": "roberta",
         "GPTNeoXTokenizer": "gpt_neox", "XLMRobertaTokenizer": "xlm_roberta", "AlbertTokenizer": "albert", "T5Tokenizer": "t5",
         "RemBertTokenizer": "rembert"}
WHOLE_FILE = ("TokenizersBackend", "PythonBackend", "PreTrainedTokenizerFast")


def plain(name):
    return name.removesuffix("Fast") if name.endswith("TokenizerFast") else name


def kind_of(name):
    found = tokenizer_class_from_name(name)
    if not inspect.isclass(found) or found.__name__ in WHOLE_FILE:
        return None
    if found.__name__ in KINDS:
        return KINDS[found.__name__]
    return "other" if not issubclass(found, TokenizersBackend) or "__init__" in found.__dict__ or found.model else None


def rows(entries):
    lines, line = [], ""
    for entry in entries:
        if len(line) + len(entry) > 116:
            lines.append(line)
            line = ""
        line += (" " if line else "") + entry + ","
    return "\n".join("    " + line for line in lines + [line])


def main():
    names = {name for name in dir(transformers) if name.endswith(("Tokenizer", "TokenizerFast"))}
    names |= set(filter(None, TOKENIZER_MAPPING_NAMES.values())) | set(SLOW_TO_FAST_CONVERTERS)
    kinds = {plain(name): kind_of(name) for name in sorted(names)}
    classes = [f'{{"{name}", TokenizerClass::{kind}}}' for name, kind in sorted(kinds.items()) if kind]
    types = [f'{{"{kind}", "{plain(name)}"}}' for kind, name in sorted(TOKENIZER_MAPPING_NAMES.items()) if name]
    made_with = f"transformers {transformers.__version__}, tokenizers {tokenizers.__version__}"
    Path("text/tokenizer_classes.inc").write_text(
        f"// Made with {made_with} by tests/golden/make_tokenizer_classes.py.\n\n"
        f"constexpr std::pair<std::string_view, TokenizerClass> known_classes[] = {{\n{rows(classes)}\n}};\n\n"
        f"// The class of each model_type of a config.json.\n"
        f"constexpr std::pair<std::string_view, std::string_view> classes_of_models[] = {{\n{rows(types)}\n}};\n")
    print(len(classes), "classes,", len(types), "models")


main()
