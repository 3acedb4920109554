"""Divides the data into rows that train and rows that validate."""

import dataclasses

import numpy as np

from mnistpipe import data
from mnistpipe.recipes import RunOptions


@dataclasses.dataclass(frozen=True)
class Split:
    """The rows that train and those that choose checkpoint and schedule."""

    train: data.Examples
    validation: data.Examples | None


def split_rows(options: RunOptions, digits: data.Digits) -> Split:
    """Divides the data by `validation`, then takes `train_examples` rows."""
    train, validation = digits.train, None
    if options.validation == "split":
        rest, chosen = data.stratified_split(
            train.labels,
            options.validation_size,
            options.seed,
            name="validation_size",
        )
        train, validation = _take(train, rest), _take(train, chosen)
    elif options.validation == "test":
        validation = digits.test
    if options.train_examples:
        train = data.stratified_subset(
            train, options.train_examples, options.seed, name="train_examples"
        )
    return Split(train, validation)


def _take(examples: data.Examples, index: np.ndarray) -> data.Examples:
    return data.Examples(examples.images[index], examples.labels[index])
