"""Probabilities that finished runs give to pictures.

Images are uint8 [N, H, W, C], probabilities float64 [N, classes]. However
many runs there are, one network is in memory at a time: it is loaded, asked
and dropped before the next.
"""

import gc
import math
from collections.abc import Iterator, Sequence

import keras
import numpy as np

from mnistpipe import pipeline
from mnistpipe.errors import UserError
from mnistpipe.evaluation import scoring
from mnistpipe.networks import augmentation, models
from mnistpipe.runs import backends
from mnistpipe.runs.finished import FinishedRun

# Values of a float32 array, 64 MiB: what a batch, or a piece of the pictures,
# may take at once. For 28×28 that is 21,000 pictures.
_VALUES = 1 << 24


class PredictionError(UserError):
    """Runs that cannot answer; the message is one line."""


def each(
    runs: Sequence[FinishedRun], images: np.ndarray, tta: int, seed: int
) -> Iterator[tuple[FinishedRun, np.ndarray]]:
    """The answers of each run, one network after the other."""
    backends.leave_devices()
    for run in runs:
        yield run, probabilities(run, images, tta, seed)
        # Keras keeps something of every network until it is told.
        keras.backend.clear_session()
        gc.collect()


def _load(run: FinishedRun) -> keras.Model:
    """The network of a run, checked against what the run says of it."""
    network = models.load(run.network)
    told = (run.record.arch, run.record.parameters)
    came = (network.name, network.count_params())
    if told != came:
        raise PredictionError(
            f"{run.network}: expected {told[0]} of {told[1]:,} parameters, as"
            f" the run's metrics.json says, came {came[0][:80]} of"
            f" {came[1]:,}"
        )
    return network


def probabilities(
    run: FinishedRun, images: np.ndarray, tta: int, seed: int
) -> np.ndarray:
    """A run's answers, float64 [N, classes].

    Args:
      run: whose network answers, to pictures as its recipe makes them.
      images: uint8 [N, H, W, C].
      tta: versions of each picture whose answers are averaged: the picture
        without the random part of the augmentation, and tta - 1 with it. An
        image's draws depend on its place among the images, not on batches.
      seed: of the draws.

    Raises:
      PredictionError: the recipe has nothing to draw, or the network's
        answers are not numbers.
    """
    augment = augmentation.compose(run.record.recipe)
    if tta > 1 and not augment.needs_keys:
        raise PredictionError(
            f"tta: expected 1 with {run.path}, whose recipe augments nothing,"
            f" came {tta}"
        )
    plain = augment.deterministic()
    network = _load(run)
    batch = _batch_size(network)
    answers = np.zeros((len(images), network.output_shape[-1]))
    for rows in _pieces(images):
        for version in range(tta):
            if version == 0:
                pictures = plain(images[rows])
            else:
                keys = pipeline.example_keys(
                    seed, version, np.arange(rows.start, rows.stop)
                )
                pictures = augment(images[rows], keys)
            answers[rows] += network.predict(
                pictures.numpy(), batch_size=batch, verbose=0
            )
    return _shares(answers / tta, run)


def _shares(answers: np.ndarray, run: FinishedRun) -> np.ndarray:
    """Checks probabilities, and makes them add up to 1 beyond float32."""
    sums = answers.sum(axis=1, keepdims=True)
    # NaN, from a network that diverged, is not close to 1 either.
    good = (np.abs(sums[:, 0] - 1) < 1e-3) & (answers >= 0).all(axis=1)
    if not good.all():
        bad = np.count_nonzero(~good)
        raise PredictionError(
            f"{run.network}: expected probabilities, came answers that are"
            f" none for {bad:,} of {len(answers):,} pictures (did the training"
            " diverge?)"
        )
    return answers / sums


def _batch_size(network: keras.Model) -> int:
    """So that no layer's values take more than the bound."""
    largest = max(
        math.prod(models.output_shape(layer)) for layer in network.layers[1:]
    )
    return max(1, min(scoring.BATCH_SIZE, _VALUES // largest))


def _pieces(images: np.ndarray) -> Iterator[slice]:
    length = max(1, _VALUES // math.prod(images.shape[1:]))
    for start in range(0, len(images), length):
        yield slice(start, min(start + length, len(images)))
