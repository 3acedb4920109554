"""Stratified splits: every class keeps its share, as exactly as counts allow.

scikit-learn draws them. It is imported in here because only training with a
validation part, or on a subset, needs it.
"""

import operator

import numpy as np

from mnistpipe.data.examples import DataError, Examples


def stratified_split(
    labels: np.ndarray, size: int, seed: int, *, name: str = "size"
) -> tuple[np.ndarray, np.ndarray]:
    """Chooses `size` examples so that each class keeps its share.

    The same labels, size and seed give the same split; no global state is
    read or changed. A class' count among the chosen differs by less than one
    from its exact share.

    Args:
        labels: integers [N].
        size: examples to choose; at least one per class, and as many left.
        seed: any integer; taken modulo 2^64.
        name: of the size in error messages: the flag that sets it.

    Returns:
        (rest, chosen): positions, int64, each in ascending order; together
        each of 0 to N-1 once.

    Raises:
        DataError: the size is too small or too large, or a class has only
            one example.
    """
    from sklearn.model_selection import train_test_split

    size = operator.index(size)
    labels = np.asarray(labels)
    _check(labels, size, name)
    # Not the integer itself: scikit-learn takes only 32 bits of it.
    sequence = np.random.SeedSequence(operator.index(seed) % 2**64)
    generator = np.random.RandomState(np.random.MT19937(sequence))
    rest, chosen = train_test_split(
        np.arange(len(labels)),
        test_size=size,
        stratify=labels,
        random_state=generator,
    )
    return np.sort(rest), np.sort(chosen)


def stratified_subset(
    examples: Examples, size: int, seed: int, *, name: str = "size"
) -> Examples:
    """Keeps `size` examples, each class with its share, in their old order.

    A size of N returns the examples themselves.
    """
    if size == len(examples):
        return examples
    _, chosen = stratified_split(examples.labels, size, seed, name=name)
    images, labels = examples.images[chosen], examples.labels[chosen]
    images.flags.writeable = False
    labels.flags.writeable = False
    return Examples(images, labels)


def _check(labels: np.ndarray, size: int, name: str) -> None:
    names, counts = np.unique(labels, return_counts=True)
    least = max(1, len(names))
    if not least <= size <= len(labels) - least:
        raise DataError(
            f"{name}: expected {least} to {len(labels) - least} of the"
            f" {len(labels)} examples, so that both parts have an example of"
            f" each class; got {size}"
        )
    if counts.min() < 2:
        raise DataError(
            f"{name}: expected at least 2 examples of each class; got 1 of"
            f" class {names[counts.argmin()]}"
        )
