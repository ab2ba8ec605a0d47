"""What the operations of a training step cost on a GPU at least, and what is expected of well-made kernels.

The operations, their FLOPs and bytes are those that build/bench/whole_steps counts. cuda_static.py and scaling.py share this.
"""
import json
import math
import re
import subprocess

# Assumed, not measured: which part of a GPU's rates (gpus.py) a well-made kernel reaches on large shapes.
share_of_products, share_of_memory = 0.7, 0.85

# Rows of logits that kernels/losses/cuda/cross_entropy.cu holds at a time fill this many bytes.
logits_bytes = 640 << 20


def cross_entropy_parts(operation):
    """Its products and the kernel between them, one after the other, and what each moves: the logits and their gradient
    pass through memory, and dweight is read and written once for every piece of rows whose logits are held at once."""
    sizes = re.fullmatch(r"x \[(\d+), (\d+)\] \w+, weight \[(\d+), \d+\] (\w+), .*", operation["shapes"])
    rows, cols, vocabulary = (int(size) for size in sizes.groups()[:3])
    logits, x, weight, flops = rows * vocabulary, 2 * rows * cols, 2 * vocabulary * cols, operation["flops"] / 3
    rounding = 3 * weight if sizes[4] == "f32" else 0  # f32 is read, bf16 written
    dweight = 2 * 4 * vocabulary * cols * math.ceil(4 * logits / logits_bytes)
    for name, part_flops, moved in (("logits", flops, x + weight + 4 * logits + rounding),
                                    ("losses, gradient", 0, (4 + 2) * logits), ("dx", flops, 2 * logits + weight + x),
                                    ("dweight", flops, 2 * logits + x + dweight)):
        yield operation | {"operation": f"cross_entropy: {name}", "flops": part_flops, "bytes": moved}


def listed(build, *arguments):
    """The lines that the program prints, each a dict, with cross entropy in its parts."""
    lines = subprocess.run([str(build / "bench/whole_steps"), "--precision", "bf16", *arguments], capture_output=True,
                           text=True, check=True).stdout.splitlines()
    for line in map(json.loads, lines):
        yield from cross_entropy_parts(line) if line.get("operation") == "cross_entropy" else [line]


def seconds_of(operation, rates):
    """Of a call at the full rates of a device (gpus.py): (of its products, of its bytes)."""
    bf16, f32, bandwidth = rates
    return (operation["flops"] / ((bf16 if operation["compute"] == "bf16" else f32) * 1e12),
            operation["bytes"] / (bandwidth * 1e9))


def expected_seconds(operation, rates):
    """Of a call by well-made kernels."""
    arithmetic, memory = seconds_of(operation, rates)
    return max(arithmetic / share_of_products, memory / share_of_memory)
