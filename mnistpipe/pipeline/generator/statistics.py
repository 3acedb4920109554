"""What ImageDataGenerator's ``fit`` measures."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from mnistpipe.pipeline import draws
from mnistpipe.pipeline.generator.augmenters import (
    BatchAugmenter,
    numpy_seeded,
)

_BATCH = 256  # images per call of the compiled program


def mean(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Returns [C, 1, 1] or [1, 1, C], summed in float64, in x's dtype."""
    result = x.mean(axes, np.float64, keepdims=True)
    return result[0].astype(x.dtype)


def whitening_matrix(x: np.ndarray, epsilon: float) -> np.ndarray:
    """Returns Keras' ZCA matrix [P, P] of images with P values each."""
    flat = x.reshape(len(x), -1)
    u, s, _ = np.linalg.svd(flat.T, full_matrices=False)
    scale = np.sqrt(len(x)) / (s + epsilon)
    return (u * scale) @ u.T


def augmented(
    generator: Any, x: np.ndarray, rounds: int, seed: int
) -> np.ndarray:
    """Returns ``rounds`` augmented versions of every image, not standardised.

    Args:
      generator: an ImageDataGenerator.
      x: images of rank 4.
      rounds: number of versions.
      seed: of the augmentation.

    Returns:
      [rounds · N, ...] in x's dtype.
    """
    result = np.empty((rounds, *x.shape), x.dtype)
    if generator.overrides(
        "get_random_transform", "apply_transform", "random_transform"
    ):
        with numpy_seeded([seed % 2**32, seed >> 32]):
            for round_ in result:
                for place, image in enumerate(x):
                    round_[place] = generator.random_transform(image)
        return result.reshape(-1, *x.shape[1:])
    augment = BatchAugmenter(
        generator.augmentation(), None, (), generator.dtype
    )
    size = min(_BATCH, len(x))
    for round_ in range(rounds):
        for start in range(0, len(x), size):
            index = np.arange(start, start + size) % len(x)
            count = min(size, len(x) - start)
            with tf.device("CPU:0"):
                keys = draws.example_keys(seed, round_, index)
                images = augment(tf.constant(x[index]), keys, count)
            result[round_, start : start + count] = images.numpy()
    return result.reshape(-1, *x.shape[1:])
