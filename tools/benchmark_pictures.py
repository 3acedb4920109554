"""What every candidate of the benchmark augments, and how strongly.

This module imports neither TensorFlow nor PyTorch, since candidates of one
must not load the other.
"""

from __future__ import annotations

import os

import numpy as np

from mnistpipe import data

# Recipe 1: degrees, fractions, degrees, fraction, stddev on [0, 1] pixels.
ROTATION, SHIFT, SHEAR, ZOOM, NOISE = 10, 0.1, 0.2, 0.1, 0.05
# ColorJitter: brightness, contrast, saturation; and hue, in turns.
JITTER, HUE = 0.4, 0.1
# RandAugment: operations per picture; magnitude of 30.
OPERATIONS, MAGNITUDE = 2, 9

_BATCH_SIZES = {28: 256, 96: 64}  # and 32 for larger pictures


def batch_size(size: int) -> int:
    """Returns how many pictures of a size make a batch."""
    return _BATCH_SIZES.get(size, 32)


def pictures(size: int) -> np.ndarray:
    """Returns MNIST's pictures at 28×28×1, else random uint8 of 3 channels."""
    if size == 28:
        return data.load().train.images
    count = max(128, 2048 * 28 * 28 // size**2)
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def cores() -> int:
    """Returns how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
