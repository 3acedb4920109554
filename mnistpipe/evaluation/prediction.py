"""Probabilities that the networks of finished runs give to pictures.

Images are uint8 [N, H, W, C], probabilities float64 [N, classes].
"""

import gc
import math
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from mnistpipe import pipeline
from mnistpipe.errors import UserError
from mnistpipe.evaluation import scoring
from mnistpipe.networks import augmentation, models
from mnistpipe.runs import backends
from mnistpipe.runs.finished import FinishedRun

# The most float32 values, 64 MiB, that a batch or a piece of the pictures may
# have: 21,000 pictures of 28×28.
_VALUES = 1 << 24


class PredictionError(UserError):
    """A run cannot answer; the message is one line."""


class Predictor:
    """The network of a finished run, with the run's own augmentation.

    Args:
      run: the finished run.

    Attributes:
      network: the Keras model, which takes float32 pictures of about 0 to 1.
      augments: whether the recipe's augmentation draws anything.

    Raises:
      PredictionError: the network is not the one that metrics.json describes.
    """

    def __init__(self, run: FinishedRun) -> None:
        self.run = run
        self.network = _load(run)
        self._augment = augmentation.compose(run.record.recipe)
        self._plain = self._augment.deterministic()
        self.augments = self._augment.needs_keys
        self._batch_size = _batch_size(self.network)

    def probabilities(
        self, images: np.ndarray, tta: int = 1, seed: int = 0
    ) -> np.ndarray:
        """Returns the answers, float64 [N, classes].

        Args:
          images: uint8 [N, H, W, C].
          tta: versions of each picture whose answers are averaged: the picture
            without the random part of the augmentation, and tta - 1 with it.
            The draws depend on a picture's position, not on batches.
          seed: of the draws.

        Raises:
          PredictionError: the recipe augments nothing, or the answers are not
            probabilities.
        """
        if tta > 1 and not self.augments:
            raise PredictionError(
                f"tta: expected 1 with {self.run.path}, whose recipe augments"
                f" nothing, got {tta}"
            )
        answers = np.zeros((len(images), self.network.output_shape[-1]))
        for rows in _pieces(images):
            answers[rows] += self._answers(self._plain(images[rows]))
            for version in range(1, tta):
                answers[rows] += self._version(images, rows, version, seed)
        return _shares(answers / tta, self.run)

    def augmented(
        self, images: np.ndarray, versions: int, seed: int
    ) -> np.ndarray:
        """Returns the answers to augmented versions, [versions, N, classes].

        Raises:
          PredictionError: the answers are not probabilities.
        """
        repeated = np.repeat(images, versions, axis=0)
        keys = pipeline.example_keys(seed, 1, np.arange(len(repeated)))
        answers = self._answers(self._augment(repeated, keys))
        shares = _shares(answers.astype(np.float64), self.run)
        return shares.reshape(len(images), versions, -1).swapaxes(0, 1)

    def _version(
        self, images: np.ndarray, rows: slice, version: int, seed: int
    ) -> np.ndarray:
        keys = pipeline.example_keys(
            seed, version, np.arange(rows.start, rows.stop)
        )
        return self._answers(self._augment(images[rows], keys))

    def _answers(self, pictures: Any) -> np.ndarray:
        return self.network.predict(
            np.asarray(pictures), batch_size=self._batch_size, verbose=0
        )


def each(
    runs: Sequence[FinishedRun], images: np.ndarray, tta: int, seed: int
) -> Iterator[tuple[FinishedRun, np.ndarray]]:
    """Yields each run with its answers; one network is in memory at a time."""
    backends.leave_devices()
    for run in runs:
        yield run, Predictor(run).probabilities(images, tta, seed)
        # Keras keeps parts of each network until the session is cleared.
        keras.backend.clear_session()
        gc.collect()


def _load(run: FinishedRun) -> keras.Model:
    """Loads the network of a run, and compares it with the run's record."""
    network = models.load(run.network)
    expected = (run.record.arch, run.record.parameters)
    got = (network.name, network.count_params())
    if expected != got:
        raise PredictionError(
            f"{run.network}: expected {expected[0]} of {expected[1]:,}"
            " parameters, as the run's metrics.json says, got"
            f" {got[0][:80]} of {got[1]:,}"
        )
    return network


def _shares(answers: np.ndarray, run: FinishedRun) -> np.ndarray:
    """Checks probabilities, and makes each row add up to 1 in float64."""
    sums = answers.sum(axis=1, keepdims=True)
    # NaN, from a network that diverged, is not close to 1 either.
    good = (np.abs(sums[:, 0] - 1) < 1e-3) & (answers >= 0).all(axis=1)
    if not good.all():
        bad = np.count_nonzero(~good)
        raise PredictionError(
            f"{run.network}: expected probabilities, got other numbers"
            f" for {bad:,} of {len(answers):,} pictures (did the training"
            " diverge?)"
        )
    return answers / sums


def _batch_size(network: keras.Model) -> int:
    """The largest batch for which no layer's output exceeds the bound."""
    largest = max(
        math.prod(models.output_shape(layer)) for layer in network.layers[1:]
    )
    return max(1, min(scoring.BATCH_SIZE, _VALUES // largest))


def _pieces(images: np.ndarray) -> Iterator[slice]:
    length = max(1, _VALUES // math.prod(images.shape[1:]))
    for start in range(0, len(images), length):
        yield slice(start, min(start + length, len(images)))
