"""Random erasing: paints over a rectangle of each picture."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
import tensorflow as tf

from mnistpipe.pipeline import draws, ops, warp
from mnistpipe.pipeline.transform import (
    Drawn,
    Range,
    Shape,
    Transform,
    check_in_range,
    check_interval,
)
from mnistpipe.pipeline.transforms.ranges import (
    Interval,
    between,
    bounds,
    check_value_range,
)

NOISE = "noise"


@dataclasses.dataclass(frozen=True, repr=False)
class RandomErasing(Transform):
    """Paints a rectangle over each picture.

    Zhong et al. 2017, "Random Erasing Data Augmentation", with two changes
    so that no draw has to be repeated: the logarithm of the aspect ratio is
    uniform, so that r and 1/r are equally likely, and a rectangle longer
    than the picture is cut to the picture. Every place where the rectangle
    fits is equally likely. The paper erases with a probability of 0.5.

    Attributes:
      area: part of the picture, (low, high) in [0, 1], or a number for
        a constant part.
      aspect: height over width in pixels, (low, high), or a number for a
        constant ratio.
      fill: a value for all pixels, or "noise" for independent draws per
        value, uniform in ``value_range``.
      value_range: black and white, for the noise: (0, 1) behind a
        Rescale(1 / 255).
      mask_fill: the value of masks in the rectangle. None keeps the masks,
        since hidden objects are still there.
    """

    keeps_range: ClassVar[bool] = True
    runs_in_jax: ClassVar[bool] = True

    area: Interval = (0.02, 0.4)
    aspect: Interval = (0.3, 1 / 0.3)
    fill: float | str = 0.0
    value_range: tuple[float, float] = (0.0, 255.0)
    mask_fill: int | None = None

    def __post_init__(self) -> None:
        """Checks the fields."""
        super().__post_init__()
        check_interval(self, "area", 0.0, 1.0)
        check_interval(self, "aspect", 1e-3, 1e3)
        check_value_range(self)
        if isinstance(self.fill, str) and self.fill != NOISE:
            raise ValueError(
                f"Expected RandomErasing.fill to be a number or {NOISE!r}. "
                f"Received: {self.fill!r}"
            )
        if self.fill != NOISE:
            check_in_range(self, "fill", -np.inf, np.inf)
        if self.mask_fill is not None:
            check_in_range(self, "mask_fill", -np.inf, np.inf)

    @property
    def expected_range(self) -> Range | None:
        """The range of the noise; a fill of one value has none."""
        return self.value_range if self.fill == NOISE else None

    def draw(self, rng: draws.Draws, shape: Shape) -> Drawn:
        """Draws top, left, height, width, int32[B] in pixels, and "noise"."""
        xp = ops.of(rng.keys)
        uniform = rng.uniform(4)
        area = between(uniform[:, 0], bounds(self.area))
        low, high = (float(np.log(side)) for side in bounds(self.aspect))
        # The square root of height over width.
        stretch = xp.exp(between(uniform[:, 1], (low, high)) / 2)
        total = xp.cast(shape[0], tf.float32) * xp.cast(shape[1], tf.float32)
        side = xp.sqrt(area * total)
        height = _whole(side * stretch, shape[0])
        width = _whole(side / stretch, shape[1])
        drawn = {
            "top": _place(uniform[:, 2], shape[0] - height),
            "left": _place(uniform[:, 3], shape[1] - width),
            "height": height,
            "width": width,
        }
        if self.fill == NOISE:
            noise = rng.uniform_field(shape)
            drawn["noise"] = between(noise, self.value_range)
        return drawn

    def apply(self, images: tf.Tensor, drawn: Drawn) -> tf.Tensor:
        """Paints the rectangle."""
        xp = ops.of(images)
        images = xp.cast(images, tf.float32)
        fill = drawn["noise"] if self.fill == NOISE else float(self.fill)
        return xp.where(_rectangle(images, drawn), fill, images)

    def apply_to_mask(self, mask: tf.Tensor, drawn: Drawn) -> tf.Tensor:
        """Keeps the mask, or paints mask_fill."""
        xp = ops.of(mask)
        if self.mask_fill is None:
            return mask
        fill = xp.cast(self.mask_fill, mask.dtype)
        return xp.where(_rectangle(mask, drawn), fill, mask)


def _whole(length: tf.Tensor, size: warp.Size) -> tf.Tensor:
    """The length in whole pixels, at most the picture's side."""
    xp = ops.of(length)
    return xp.minimum(xp.cast(xp.round(length), tf.int32), size)


def _place(uniform: tf.Tensor, room: tf.Tensor) -> tf.Tensor:
    """One of 0 … room, all equally likely."""
    xp = ops.of(uniform)
    place = xp.cast(uniform * xp.cast(room + 1, tf.float32), tf.int32)
    return xp.minimum(place, room)  # the product can round up to room + 1


def _rectangle(images: tf.Tensor, drawn: Drawn) -> tf.Tensor:
    """bool[B, H, W, 1], true in the rectangle."""
    xp = ops.of(images)
    height, width, _ = warp.sizes(images)

    def within(size: warp.Size, start: str, length: str) -> tf.Tensor:
        pixel = xp.range(size)
        first = drawn[start][:, None]
        return (pixel >= first) & (pixel < first + drawn[length][:, None])

    rows = within(height, "top", "height")[:, :, None, None]
    columns = within(width, "left", "width")[:, None, :, None]
    return rows & columns
