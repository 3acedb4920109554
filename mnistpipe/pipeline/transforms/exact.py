"""Sums that come out the same in any order.

Compilers, devices and batch sizes add floating-point numbers in different
orders, and so round differently: XLA's mean of one picture has other last
bits alone than in a batch. Numbers rounded to a common grid are integers
times a unit, and as long as their sums stay below 2**53, float64 adds them
without rounding at all.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from mnistpipe.pipeline import ops

# A float64 holds every integer up to 2**53; 28 bits a value leave room for
# 2**25 of them in a sum. float32 itself has 24.
SUM_BITS = 53
_VALUE_BITS = 28


def to_grid(values: tf.Tensor, bits: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Rounds each example's values to a grid of its own.

    Args:
      values: [B, ...], float32.
      bits: the grid has 2**bits steps up to the largest value's size.

    Returns:
      float64[B, ...] holding integers in [−2**bits, 2**bits], and the unit
      that they count, float64[B, 1, ...]. In JAX, call this function within
      ``ops.float64``.
    """
    xp = ops.of(values)
    values = xp.cast(values, tf.float64)
    axes = list(range(1, len(values.shape)))
    largest = xp.reduce_max(xp.abs(values), axes, keepdims=True)
    unit = xp.where(largest > 0, largest, 1.0) * 2.0**-bits
    return xp.round(values / unit), unit


def mean(images: tf.Tensor, axes: Sequence[int]) -> tf.Tensor:
    """The mean over some axes of [B, H, W, C], which are kept.

    The same bits for an example whatever batch it is in, up to 2**25
    values a picture.

    Returns:
      float32, each axis of ``axes`` of length 1.
    """
    xp = ops.of(images)
    with ops.float64(xp):
        counts, unit = to_grid(images, _VALUE_BITS)
        total = xp.reduce_sum(counts, axes, keepdims=True) * unit
        number = xp.reduce_prod([xp.shape(images)[axis] for axis in axes])
        return xp.cast(total / xp.cast(number, tf.float64), tf.float32)
