"""Batches of examples of like length, as trainings with transformers make them."""


def batches(lengths, size, generator):
    """Shuffled; each 50 batches' worth sorted by length, then cut. Returns the examples of each batch."""
    order = list(range(len(lengths)))
    generator.shuffle(order)
    result = []
    for at in range(0, len(order), 50 * size):
        group = sorted(order[at:at + 50 * size], key=lambda i: -lengths[i])
        result += [group[i:i + size] for i in range(0, len(group), size)]
    generator.shuffle(result)
    return result
