"""Tone curves: each value is replaced by a function of itself.

Pictures are ``[B, H, W, C]``, uint8 or float, and become float32. The
operations are those of Pillow's ImageOps and of torchvision.transforms.v2.
Where Pillow defines an operation by 8-bit levels, ``value_range`` is divided
into 255 steps and values count as their nearest level.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
import tensorflow as tf

from mnistpipe.pipeline import draws, warp
from mnistpipe.pipeline.transform import (
    Drawn,
    Shape,
    Transform,
    check_interval,
    per_example,
)
from mnistpipe.pipeline.transforms.ranges import (
    Interval,
    Range,
    between,
    bounds,
    check_factor,
    check_value_range,
    from_levels,
    whole_levels,
)

_LEVELS = 256


def invert(images: tf.Tensor, value_range: Range) -> tf.Tensor:
    """Low + high − x: black becomes white."""
    return (value_range[0] + value_range[1]) - images


def solarize(
    images: tf.Tensor, threshold: tf.Tensor, value_range: Range
) -> tf.Tensor:
    """Inverts the values of at least ``threshold``, float32[B]."""
    light = images >= per_example(threshold)
    return tf.where(light, invert(images, value_range), images)


def posterize(
    images: tf.Tensor, bits: tf.Tensor, value_range: Range
) -> tf.Tensor:
    """Keeps the ``bits`` highest bits, int32[B], of each 8-bit level."""
    step = per_example(tf.bitwise.left_shift(1, 8 - bits))
    levels = whole_levels(images, value_range)
    kept = tf.cast(levels // step * step, tf.float32)
    return tf.where(step == 1, images, from_levels(kept, value_range))


def autocontrast(images: tf.Tensor, value_range: Range) -> tf.Tensor:
    """Stretches each channel so that its values fill the value range."""
    low, high = value_range
    least = tf.reduce_min(images, (1, 2), keepdims=True)
    most = tf.reduce_max(images, (1, 2), keepdims=True)
    flat = most <= least
    scale = (high - low) / tf.where(flat, 1.0, most - least)
    stretched = tf.minimum(low + (images - least) * scale, high)
    return tf.where(flat, images, stretched)


def _first_bins(images: tf.Tensor) -> tf.Tensor:
    """int32[B, 1, 1, C]: where each channel's 256 levels start, in a row."""
    channels = warp.sizes(images)[2]
    channel = tf.range(tf.shape(images)[0] * channels)
    return tf.reshape(channel * _LEVELS, [-1, 1, 1, channels])


def histogram(levels: tf.Tensor) -> tf.Tensor:
    """Counts the levels of each channel: int32 in [0, 255], [B, H, W, C].

    Returns:
      int32 [B, C, 256]. A sum of integers does not depend on their order.
    """
    channels = warp.sizes(levels)[2]
    bins = tf.reshape(_first_bins(levels) + levels, [-1])
    number = tf.shape(levels)[0] * channels * _LEVELS
    counts = tf.math.unsorted_segment_sum(tf.ones_like(bins), bins, number)
    return tf.reshape(counts, [-1, channels, _LEVELS])


def equalize(images: tf.Tensor, value_range: Range) -> tf.Tensor:
    """Makes each channel's levels about equally frequent.

    Pillow's ImageOps.equalize: with h the histogram and s = (pixels − count
    of the highest level) // 255, level i becomes (s // 2 + Σ_{j<i} h_j) // s.
    A channel with s = 0 stays.
    """
    levels = whole_levels(images, value_range)
    counts = histogram(levels)
    channels = warp.sizes(images)[2]
    number = tf.range(_LEVELS)
    highest = tf.reduce_max(
        tf.where(counts > 0, number, 0), axis=2, keepdims=True
    )
    count_of_highest = tf.reduce_sum(
        tf.where(number == highest, counts, 0), axis=2, keepdims=True
    )
    pixels = tf.reduce_sum(counts, axis=2, keepdims=True)
    step = (pixels - count_of_highest) // 255
    before = tf.cumsum(counts, axis=2, exclusive=True)
    table = (step // 2 + before) // tf.maximum(step, 1)
    table = tf.reshape(tf.minimum(table, _LEVELS - 1), [-1])
    place = _first_bins(images) + levels
    equal = tf.cast(tf.gather(table, place), tf.float32)
    flat = tf.reshape(step == 0, [-1, 1, 1, channels])
    return tf.where(flat, images, from_levels(equal, value_range))


@dataclasses.dataclass(frozen=True, repr=False)
class Gamma(Transform):
    """Raises values to a power, black being 0 and white 1.

    This is torchvision's adjust_gamma with a gain of 1.

    Attributes:
      gamma: r, for uniform in [1 − r, 1 + r], or (low, high); below 1 dark
        parts get lighter, 1 changes nothing.
      value_range: black and white: (0, 1) behind a Rescale(1 / 255). Values
        beyond the range are clipped first.
    """

    moves_pixels: ClassVar[bool | None] = False
    keeps_range: ClassVar[bool] = True

    gamma: Interval
    value_range: Range = (0.0, 255.0)

    def __post_init__(self) -> None:
        """Checks the fields."""
        super().__post_init__()
        check_factor(self, "gamma")
        check_value_range(self)

    def draw(self, rng: draws.Draws, shape: Shape) -> Drawn:
        """Draws "gamma", float32[B]."""
        del shape
        return {"gamma": between(rng.uniform(1)[:, 0], self.gamma, 1.0)}

    def apply(self, images: tf.Tensor, drawn: Drawn) -> tf.Tensor:
        """Lightens or darkens the middle of the range."""
        low, high = self.value_range
        images = tf.clip_by_value(tf.cast(images, tf.float32), low, high)
        gamma = per_example(drawn["gamma"])
        part = (images - low) * (1 / (high - low))
        curved = low + tf.pow(part, gamma) * (high - low)
        # Scaling rounds; a gamma of 1 keeps every bit.
        return tf.where(gamma == 1, images, curved)


@dataclasses.dataclass(frozen=True, repr=False)
class Invert(Transform):
    """Exchanges black and white: low + high − x.

    torchvision's RandomInvert is ``Invert(probability=0.5)``. Without a
    probability nothing is drawn, so evaluation applies this transform too.

    Attributes:
      value_range: black and white: (0, 1) behind a Rescale(1 / 255).
    """

    random: ClassVar[bool] = False
    moves_pixels: ClassVar[bool | None] = False
    keeps_range: ClassVar[bool] = True

    value_range: Range = (0.0, 255.0)

    def __post_init__(self) -> None:
        """Checks the fields."""
        super().__post_init__()
        check_value_range(self)

    def apply(self, images: tf.Tensor, drawn: Drawn) -> tf.Tensor:
        """Inverts [B, H, W, C]."""
        del drawn
        return invert(tf.cast(images, tf.float32), self.value_range)


@dataclasses.dataclass(frozen=True, repr=False)
class Solarize(Transform):
    """Inverts the values of at least a threshold.

    torchvision's RandomSolarize is ``Solarize(t, probability=0.5)``.

    Attributes:
      threshold: a number for a constant threshold, or (low, high), in the
        pictures' range of values. A threshold above white changes nothing.
      value_range: black and white: (0, 1) behind a Rescale(1 / 255).
    """

    moves_pixels: ClassVar[bool | None] = False
    keeps_range: ClassVar[bool] = True

    threshold: Interval
    value_range: Range = (0.0, 255.0)

    def __post_init__(self) -> None:
        """Checks the fields."""
        super().__post_init__()
        check_interval(self, "threshold", -np.inf, np.inf)
        check_value_range(self)

    def draw(self, rng: draws.Draws, shape: Shape) -> Drawn:
        """Draws "threshold", float32[B]."""
        del shape
        low, high = bounds(self.threshold)
        return {"threshold": between(rng.uniform(1)[:, 0], (low, high))}

    def apply(self, images: tf.Tensor, drawn: Drawn) -> tf.Tensor:
        """Inverts light values."""
        images = tf.cast(images, tf.float32)
        return solarize(images, drawn["threshold"], self.value_range)


@dataclasses.dataclass(frozen=True, repr=False)
class Posterize(Transform):
    """Keeps the highest bits of each 8-bit level and sets the others to 0.

    torchvision's RandomPosterize is ``Posterize(bits, probability=0.5)``.

    Attributes:
      bits: a whole number in [0, 8] for a constant number, or (low,
        high), of which every whole number is equally likely. 8 changes
        nothing, 0 is black.
      value_range: black and white: (0, 1) behind a Rescale(1 / 255).
    """

    moves_pixels: ClassVar[bool | None] = False
    keeps_range: ClassVar[bool] = True

    bits: int | tuple[int, int]
    value_range: Range = (0.0, 255.0)

    def __post_init__(self) -> None:
        """Checks the fields."""
        super().__post_init__()
        check_interval(self, "bits", 0, 8)
        if any(bits != int(bits) for bits in bounds(self.bits)):
            raise ValueError(
                "Expected Posterize.bits to be a whole number or two of "
                f"them. Received: {self.bits!r}"
            )
        check_value_range(self)

    def draw(self, rng: draws.Draws, shape: Shape) -> Drawn:
        """Draws "bits", int32[B]."""
        del shape
        low, high = (int(bits) for bits in bounds(self.bits))
        more = tf.cast(rng.uniform(1)[:, 0] * (high - low + 1), tf.int32)
        return {"bits": low + tf.minimum(more, high - low)}

    def apply(self, images: tf.Tensor, drawn: Drawn) -> tf.Tensor:
        """Reduces the number of levels."""
        images = tf.cast(images, tf.float32)
        return posterize(images, drawn["bits"], self.value_range)


@dataclasses.dataclass(frozen=True, repr=False)
class AutoContrast(Transform):
    """Stretches each channel so that its values fill the value range.

    This is Pillow's ImageOps.autocontrast without a cutoff, and torchvision's
    RandomAutocontrast is ``AutoContrast(probability=0.5)``. A channel of one
    value stays. Without a probability nothing is drawn, so evaluation
    applies this transform too.

    Attributes:
      value_range: black and white: (0, 1) behind a Rescale(1 / 255).
    """

    random: ClassVar[bool] = False
    moves_pixels: ClassVar[bool | None] = False
    keeps_range: ClassVar[bool] = True

    value_range: Range = (0.0, 255.0)

    def __post_init__(self) -> None:
        """Checks the fields."""
        super().__post_init__()
        check_value_range(self)

    def apply(self, images: tf.Tensor, drawn: Drawn) -> tf.Tensor:
        """Stretches [B, H, W, C]."""
        del drawn
        return autocontrast(tf.cast(images, tf.float32), self.value_range)


@dataclasses.dataclass(frozen=True, repr=False)
class Equalize(Transform):
    """Makes the 8-bit levels of each channel about equally frequent.

    This is Pillow's ImageOps.equalize, level for level, and torchvision's
    RandomEqualize is ``Equalize(probability=0.5)``. Without a probability
    nothing is drawn, so evaluation applies this transform too.

    Attributes:
      value_range: black and white: (0, 1) behind a Rescale(1 / 255).
    """

    random: ClassVar[bool] = False
    moves_pixels: ClassVar[bool | None] = False
    keeps_range: ClassVar[bool] = True

    value_range: Range = (0.0, 255.0)

    def __post_init__(self) -> None:
        """Checks the fields."""
        super().__post_init__()
        check_value_range(self)

    def apply(self, images: tf.Tensor, drawn: Drawn) -> tf.Tensor:
        """Equalizes [B, H, W, C]."""
        del drawn
        return equalize(tf.cast(images, tf.float32), self.value_range)
