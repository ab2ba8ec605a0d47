"""Writes config_keys.json: every key of config.json that transformers reads for the models that the engine loads.

python3 tests/golden/make_config_keys.py (with transformers; PyTorch is not needed)
"""
import dataclasses
import importlib
import json
import pathlib
import re

import transformers

TARGET = pathlib.Path(__file__).parent / "config_keys.json"
CLASSES = {
    "gpt2": transformers.GPT2Config,
    "gpt_neox": transformers.GPTNeoXConfig,
    "bert": transformers.BertConfig,
    "distilbert": transformers.DistilBertConfig,
    "roberta": transformers.RobertaConfig,
    "xlm_roberta": transformers.XLMRobertaConfig,
    "rembert": transformers.RemBertConfig,
    "bart": transformers.BartConfig,
}
LOOKED_UP = (r'kwargs\.(?:get|pop)\("(\w+)"', r'getattr\((?:self\.)?config, "(\w+)"')


def source(module):
    """A module's text, without importing it: models need PyTorch."""
    return (pathlib.Path(transformers.__file__).parent / (module.replace(".", "/") + ".py")).read_text()


def keys_of(name, config):
    """The fields and other names of a configuration's values, and those that the model's code and the loaders look up."""
    keys = {field.name for field in dataclasses.fields(config)} | set(config.attribute_map)
    for module in ("configuration_utils", "modeling_utils", "masking_utils"):
        for pattern in LOOKED_UP:
            keys |= set(re.findall(pattern, source(module)))
    model = source(f"models.{name}.modeling_{name}")
    keys |= set(re.findall(r"\bconfig\.(\w+)", model))
    return sorted(keys)


def main():
    generation = importlib.import_module("transformers.generation.configuration_utils").GenerationConfig
    keys = {"made_with": f"transformers {transformers.__version__}"}
    keys |= {name: keys_of(name, config) for name, config in CLASSES.items()}
    keys["generation"] = sorted(generation._get_default_generation_params())
    TARGET.write_text(json.dumps(keys, indent=1) + "\n")
    print({name: len(list(values)) for name, values in keys.items()})


if __name__ == "__main__":
    main()
