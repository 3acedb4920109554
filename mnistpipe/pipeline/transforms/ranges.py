"""Fields that several transforms share: ranges of draws, ranges of values."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from mnistpipe.pipeline.transform import Transform, check_interval, per_example

Interval = float | tuple[float, float]
Range = tuple[float, float]

# 8-bit levels, in which Pillow and the papers define their operations.
LAST_LEVEL = 255.0


def check_value_range(transform: Any) -> None:
    """Raises ValueError unless value_range is (low, high), low < high."""
    check_interval(transform, "value_range", -np.inf, np.inf)
    value = transform.value_range
    if not isinstance(value, (tuple, list)) or value[0] == value[1]:
        raise ValueError(
            f"Expected {type(transform).__name__}.value_range to be (low, "
            f"high), low < high. Received: {value!r}"
        )


def check_factor(transform: Transform, name: str = "factor") -> None:
    """Raises ValueError unless a field is r in [0, 1], or (low, high) ≥ 0."""
    pair = isinstance(getattr(transform, name), (tuple, list))
    check_interval(transform, name, 0.0, np.inf if pair else 1.0)


def bounds(interval: Interval) -> tuple[float, float]:
    """(low, high) of an interval; both are the same for one number."""
    if isinstance(interval, (tuple, list)):
        low, high = interval
        return low, high
    return interval, interval


def between(
    uniform: tf.Tensor, interval: Interval, around: float = 0.0
) -> tf.Tensor:
    """Maps draws from [0, 1) to [around − r, around + r] or (low, high)."""
    if isinstance(interval, (tuple, list)):
        low, high = interval
    else:
        low, high = around - interval, around + interval
    return low + uniform * (high - low)


def blend(
    degenerate: tf.Tensor,
    images: tf.Tensor,
    factor: tf.Tensor,
    value_range: Range,
) -> tf.Tensor:
    """Degenerate + factor·(images − degenerate), clipped to the value range.

    This is Pillow's Image.blend, on which its ImageEnhance rests.

    Args:
      degenerate: the picture at factor 0, of a shape that broadcasts.
      images: float32 [B, H, W, C], the picture at factor 1.
      factor: float32[B].
      value_range: black and white.
    """
    factor = per_example(factor)
    # The picture is multiplied alone, so that a factor of 1 keeps every bit.
    blended = images * factor + degenerate * (1 - factor)
    return tf.clip_by_value(blended, *value_range)


def to_levels(
    images: tf.Tensor | float, value_range: Range
) -> tf.Tensor | float:
    """Maps the value range to [0, 255], without rounding."""
    low, high = value_range
    if (low, high) == (0, LAST_LEVEL):
        return images
    return (images - low) * (LAST_LEVEL / (high - low))


def from_levels(levels: tf.Tensor, value_range: Range) -> tf.Tensor:
    """Maps [0, 255] to the value range."""
    low, high = value_range
    if (low, high) == (0, LAST_LEVEL):
        return levels
    return low + levels * ((high - low) / LAST_LEVEL)


def whole_levels(images: tf.Tensor, value_range: Range) -> tf.Tensor:
    """int32 in [0, 255]: the nearest 8-bit level of each value."""
    levels = tf.round(to_levels(images, value_range))
    return tf.cast(tf.clip_by_value(levels, 0.0, LAST_LEVEL), tf.int32)
