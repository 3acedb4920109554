"""Stratified splits: every class keeps its share, as far as counts allow.

scikit-learn draws the splits. Functions import it, because only a training with
a validation part or on a subset needs it.
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
        size: number of examples to choose; at least one per class is chosen,
            and at least one per class is left.
        seed: any integer; the seed modulo 2^64 counts.
        name: the flag that sets the size, for error messages.

    Returns:
        (rest, chosen): positions, int64, in ascending order. Each of 0 to N-1
        is in exactly one of them.

    Raises:
        DataError: the size is too small or too large, or a class has only
            one example.
    """
    from sklearn.model_selection import train_test_split

    size = operator.index(size)
    labels = np.asarray(labels)
    _check(labels, size, name)
    # scikit-learn takes integers of 32 bits only, so it gets a generator.
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
    """Returns `size` examples, each class with its share, in their old order.

    A size of N returns the same examples.
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
