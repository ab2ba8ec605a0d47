#!/usr/bin/env python3
"""The token lengths of SST-2's training sentences, in batches of 32 as a length-grouped epoch has them.

    python bench/sst2_lengths.py train.tsv TOKENIZER > bench/sst2_lengths.txt

Draws 1600 sentences, sorts their lengths ([CLS] and [SEP] counted), cuts them into 50 batches and puts these in a random
order: a line each, numbers alone. The whole-step benchmarks read the file. Needs transformers.
"""
import random
import sys

import transformers

sentences = [line.split("\t")[0].strip() for line in open(sys.argv[1])][1:]
tokenizer = transformers.AutoTokenizer.from_pretrained(sys.argv[2])
generator = random.Random(1)
lengths = sorted(len(ids) for ids in tokenizer(generator.sample(sentences, 1600))["input_ids"])
batches = [lengths[at:at + 32] for at in range(0, len(lengths), 32)]
generator.shuffle(batches)
for batch in batches:
    generator.shuffle(batch)
    print(*batch)
