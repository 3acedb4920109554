"""Morphology: the strokes of digits and documents get thicker or thinner."""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf

from mnistpipe.pipeline import draws, warp
from mnistpipe.pipeline.transform import (
    Drawn,
    Shape,
    Transform,
    check_choice,
    check_interval,
    per_example,
)
from mnistpipe.pipeline.transforms.ranges import Interval, between

# A disk of this radius has 317 pixels, each of which is a step of the program.
_LARGEST_RADIUS = 10.0

STROKES = ("light", "dark")


@dataclasses.dataclass(frozen=True, repr=False)
class StrokeThickness(Transform):
    """Thickens or thins strokes by a number of pixels on each side.

    Light strokes are thickened by the grey dilation and thinned by the grey
    erosion with a disk (scipy.ndimage.grey_dilation and grey_erosion with
    the footprint x² + y² ≤ r²); what lies outside of the picture does not
    count. Between two whole radii the results are interpolated linearly.

    Attributes:
      thickness: r, for uniform in [−r, r], or (low, high), in pixels added
        on each side of a stroke, within [−10, 10]; negative thins, 0
        changes nothing.
      stroke: "light" strokes on a dark ground, as MNIST's, or "dark" ones,
        as on paper.

    A mask is thickened or thinned by the nearest whole radius; its greater
    labels are the strokes.
    """

    thickness: Interval
    stroke: str = "light"

    def __post_init__(self) -> None:
        """Checks the fields."""
        super().__post_init__()
        check_interval(self, "thickness", -_LARGEST_RADIUS, _LARGEST_RADIUS)
        check_choice(self, "stroke", STROKES)

    def draw(self, rng: draws.Draws, shape: Shape) -> Drawn:
        """Draws "thickness", float32[B], in pixels."""
        del shape
        return {"thickness": between(rng.uniform(1)[:, 0], self.thickness)}

    def apply(self, images: tf.Tensor, drawn: Drawn) -> tf.Tensor:
        """Thickens or thins the strokes of [B, H, W, C]."""
        thickness = drawn["thickness"]
        if self.stroke == "dark":
            thickness = -thickness
        return self._grow(tf.cast(images, tf.float32), thickness)

    def apply_to_mask(self, mask: tf.Tensor, drawn: Drawn) -> tf.Tensor:
        """Thickens or thins the greater labels, by whole pixels."""
        thickness = drawn["thickness"]
        whole = tf.sign(thickness) * tf.floor(tf.abs(thickness) + 0.5)
        # float64 holds every label of up to 32 bits.
        return tf.cast(self._grow(tf.cast(mask, tf.float64), whole), mask.dtype)

    def _grow(self, images: tf.Tensor, radius: tf.Tensor) -> tf.Tensor:
        """Dilates by radius[B], or erodes where that is negative."""
        radius = per_example(tf.cast(radius, images.dtype))
        # Erosion is dilation with light and dark exchanged.
        sign = tf.where(radius < 0, tf.cast(-1, images.dtype), 1)
        radius = tf.abs(radius)
        smaller = result = images * sign
        for whole, larger in enumerate(self._dilations(smaller)):
            part = tf.clip_by_value(radius - whole, 0, 1)
            # Both ends are exact: a product with 0 or 1 rounds nothing.
            between_both = smaller * (1 - part) + larger * part
            result = tf.where(radius > whole, between_both, result)
            smaller = larger
        return result * sign

    def _dilations(self, images: tf.Tensor) -> list[tf.Tensor]:
        """The dilations by disks of radius 1, 2, … up to the largest."""
        bounds = np.atleast_1d(np.asarray(self.thickness, np.float64))
        largest = int(np.ceil(np.abs(bounds).max()))
        height, width, _ = warp.sizes(images)
        edge = [[0, 0], [largest, largest], [largest, largest], [0, 0]]
        lowest = tf.constant(-np.inf, images.dtype)
        padded = tf.pad(images, edge, constant_values=lowest)
        result, dilations = images, []
        for radius in range(1, largest + 1):
            for row, column in _ring(radius):
                rows = slice(largest + row, largest + row + height)
                columns = slice(largest + column, largest + column + width)
                result = tf.maximum(result, padded[:, rows, columns])
            dilations.append(result)
        return dilations


def _ring(radius: int) -> list[tuple[int, int]]:
    """The offsets of a disk that the next smaller disk lacks."""
    side = range(-radius, radius + 1)
    squares = {(x, y): x * x + y * y for x in side for y in side}
    return [
        offset
        for offset, square in squares.items()
        if (radius - 1) ** 2 < square <= radius**2
    ]
