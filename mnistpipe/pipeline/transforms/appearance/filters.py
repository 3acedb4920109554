"""Neighbourhood filters: sharpness and Gaussian blur.

Pictures are ``[B, H, W, C]``, uint8 or float, and become float32. No pixel
changes its place, so masks stay as they are.
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
    blend,
    bounds,
    check_factor,
    check_value_range,
)

# The kernel is cut off at this many standard deviations.
_TRUNCATE = 3.0
_LARGEST_SIGMA = 50.0
_LARGEST_KERNEL = 301


def smooth(images: tf.Tensor) -> tf.Tensor:
    """Pillow's ImageFilter.SMOOTH on float32 [B, H, W, C].

    Each pixel becomes the mean of its 3×3 neighbourhood, in which the pixel
    itself counts five times. Pixels at the border stay.
    """
    height, width, _ = warp.sizes(images)
    padded = tf.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]])
    total = 4 * images
    for row in range(3):
        for column in range(3):
            total += padded[:, row : row + height, column : column + width]
    inside = _inner(height)[:, None, None] & _inner(width)[:, None]
    return tf.where(inside, total * (1 / 13), images)


def _inner(size: warp.Size) -> tf.Tensor:
    """bool[size], false at both ends."""
    place = tf.range(size)
    return (place > 0) & (place < size - 1)


def sharpen(
    images: tf.Tensor, factor: tf.Tensor, value_range: Range
) -> tf.Tensor:
    """Blends with the smooth picture: Pillow's ImageEnhance.Sharpness.

    Args:
      images: float32 [B, H, W, C].
      factor: float32[B]; 0 is smooth, 1 changes nothing, 2 is sharp.
      value_range: black and white.
    """
    return blend(smooth(images), images, factor, value_range)


@dataclasses.dataclass(frozen=True, repr=False)
class Sharpness(Transform):
    """Blends each picture with its smooth version, or away from it.

        smooth + factor·(x − smooth), clipped to the value range

    This is Pillow's ImageEnhance.Sharpness and torchvision's
    adjust_sharpness: the smooth picture is that of ``smooth``.

    Attributes:
      factor: r, for uniform in [1 − r, 1 + r], or (low, high); 0 is smooth,
        1 changes nothing, 2 is sharp.
      value_range: black and white: (0, 1) behind a Rescale(1 / 255). Values
        beyond the range are clipped.
    """

    moves_pixels: ClassVar[bool | None] = False
    keeps_range: ClassVar[bool] = True

    factor: Interval
    value_range: Range = (0.0, 255.0)

    def __post_init__(self) -> None:
        """Checks the fields."""
        super().__post_init__()
        check_factor(self)
        check_value_range(self)

    def draw(self, rng: draws.Draws, shape: Shape) -> Drawn:
        """Draws "factor", float32[B]."""
        del shape
        return {"factor": between(rng.uniform(1)[:, 0], self.factor, 1.0)}

    def apply(self, images: tf.Tensor, drawn: Drawn) -> tf.Tensor:
        """Smooths or sharpens."""
        images = tf.cast(images, tf.float32)
        return sharpen(images, drawn["factor"], self.value_range)


@dataclasses.dataclass(frozen=True, repr=False)
class GaussianBlur(Transform):
    """Convolves each picture with a Gaussian of a random deviation.

    As in torchvision's GaussianBlur, the kernel is exp(−x²/2σ²) at whole
    pixels, divided by its sum, along rows and columns; the picture is
    continued by reflection without a second edge pixel (d c b | a b c d).

    Attributes:
      sigma: standard deviation in pixels: a number for a constant one, or
        (low, high). 0 changes nothing.
      kernel_size: odd width of the kernel in pixels, or None for three
        standard deviations, of the largest sigma, on either side.
    """

    moves_pixels: ClassVar[bool | None] = False
    keeps_range: ClassVar[bool] = True

    sigma: Interval = (0.1, 2.0)
    kernel_size: int | None = None

    def __post_init__(self) -> None:
        """Checks the fields."""
        super().__post_init__()
        check_interval(self, "sigma", 0.0, _LARGEST_SIGMA)
        size = self.kernel_size
        if size is not None and (
            isinstance(size, bool)
            or not isinstance(size, (int, np.integer))
            or not 1 <= size <= _LARGEST_KERNEL
            or size % 2 == 0
        ):
            raise ValueError(
                "Expected GaussianBlur.kernel_size to be an odd integer in "
                f"[1, {_LARGEST_KERNEL}] or None. Received: {size!r}"
            )

    def draw(self, rng: draws.Draws, shape: Shape) -> Drawn:
        """Draws "sigma", float32[B], in pixels."""
        del shape
        return {"sigma": between(rng.uniform(1)[:, 0], bounds(self.sigma))}

    def apply(self, images: tf.Tensor, drawn: Drawn) -> tf.Tensor:
        """Blurs along the columns, then along the rows."""
        half = int(np.ceil(_TRUNCATE * bounds(self.sigma)[1]))
        if self.kernel_size is not None:
            half = self.kernel_size // 2
        images = tf.cast(images, tf.float32)
        if half == 0:
            return images
        # So small a variance leaves the middle weight only, which is 1.
        variance = tf.maximum(tf.square(drawn["sigma"]), 1e-12)
        weights = [
            tf.exp(np.float32(-0.5 * x * x) / variance) for x in range(half + 1)
        ]
        total = weights[0] + 2 * tf.add_n(weights[1:])
        weights = [per_example(weight / total) for weight in weights]
        return _convolve(_convolve(images, weights, 1), weights, 2)


def _convolve(
    images: tf.Tensor, weights: list[tf.Tensor], axis: int
) -> tf.Tensor:
    """Convolves along an axis.

    Args:
      images: float32 [B, H, W, C].
      weights: float32[B, 1, 1, 1] each, from the middle outwards.
      axis: 1 or 2.
    """
    half = len(weights) - 1
    size = warp.sizes(images)[axis - 1]
    # Reflected places; pictures smaller than the kernel are reflected again.
    period = tf.maximum(2 * (size - 1), 1)
    place = tf.range(-half, size + half) % period
    place = tf.minimum(tf.minimum(place, period - place), size - 1)
    longer = tf.gather(images, place, axis=axis)

    def moved(offset: int) -> tf.Tensor:
        part = slice(half + offset, half + offset + size)
        return longer[:, part] if axis == 1 else longer[:, :, part]

    result = weights[0] * images
    for offset in range(1, half + 1):
        result += weights[offset] * (moved(-offset) + moved(offset))
    return result
