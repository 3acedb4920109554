"""Colour: hue, saturation, grey, and all at once as ColorJitter.

Pictures are ``[B, H, W, C]``, uint8 or float, with 3 channels (red, green,
blue) or 1 channel, and become float32. Black-and-white pictures have no
colour and stay as they are. The operations and their ranges are those of
torchvision.transforms.v2 and of Pillow, except that fractions of 8-bit
levels are kept.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import ClassVar

import numpy as np
import tensorflow as tf

from mnistpipe.pipeline import draws
from mnistpipe.pipeline.transform import (
    Drawn,
    Shape,
    Transform,
    check_interval,
    per_example,
)
from mnistpipe.pipeline.transforms import exact
from mnistpipe.pipeline.transforms.ranges import (
    Interval,
    Range,
    between,
    blend,
    check_factor,
    check_value_range,
)
from mnistpipe.pipeline.transforms.steps import Operation, apply_steps

# Weights of red, green and blue in the luma of ITU-R BT.601, as Pillow's
# conversion to "L" and torchvision's rgb_to_grayscale have them.
LUMA = (0.299, 0.587, 0.114)

# The orders in which ColorJitter applies its four operations.
_ORDERS = np.array(list(itertools.permutations(range(4))), np.int32)


def checked(images: tf.Tensor, name: str) -> tf.Tensor:
    """float32 pictures of 1 or 3 channels; unknown channels count as 3.

    Raises:
      ValueError: the pictures have another number of channels.
    """
    channels = images.shape[-1]
    if channels not in (None, 1, 3):
        raise ValueError(
            f"Expected pictures of 3 channels, or 1, for {name}. "
            f"Received: {images.shape}"
        )
    images = tf.cast(images, tf.float32)
    if channels is None:
        return tf.ensure_shape(images, [None, None, None, 3])
    return images


def grey(images: tf.Tensor) -> tf.Tensor:
    """The luma of float32 [B, H, W, 3 or 1], as [B, H, W, 1]."""
    if images.shape[-1] == 1:
        return images
    red, green, blue = tf.split(images, 3, axis=-1)
    return red * LUMA[0] + green * LUMA[1] + blue * LUMA[2]


def saturate(
    images: tf.Tensor, factor: tf.Tensor, value_range: Range
) -> tf.Tensor:
    """Blends with the grey picture: Pillow's ImageEnhance.Color.

    Args:
      images: float32 [B, H, W, 3 or 1].
      factor: float32[B]; 0 is grey, 1 changes nothing.
      value_range: black and white.
    """
    if images.shape[-1] == 1:
        return images
    return blend(grey(images), images, factor, value_range)


def stretch(
    images: tf.Tensor, factor: tf.Tensor, value_range: Range
) -> tf.Tensor:
    """Blends with the mean of the luma: Pillow's ImageEnhance.Contrast.

    Pillow rounds that mean to a whole level; here the mean is exact, as in
    torchvision's adjust_contrast on floats.

    Args:
      images: float32 [B, H, W, 3 or 1].
      factor: float32[B]; 0 is flat, 1 changes nothing.
      value_range: black and white.
    """
    mean = exact.mean(grey(images), (1, 2, 3))
    return blend(mean, images, factor, value_range)


def turn_hue(images: tf.Tensor, turn: tf.Tensor) -> tf.Tensor:
    """Turns the hue of HSV; value and saturation stay.

    With V the largest channel, c = V − the smallest and h the hue in sixths
    of a turn, a channel is V − c·clip(min(k, 4 − k), 0, 1), where k is
    (n + h) mod 6 and n is 5 for red, 3 for green and 1 for blue. The result
    stays between the smallest and the largest channel.

    Args:
      images: float32 [B, H, W, 3 or 1].
      turn: float32[B], in turns.
    """
    if images.shape[-1] == 1:
        return images
    shape = tf.shape(images)
    # A plane per channel, so that XLA vectorises: 40 % less time on a CPU.
    planes = tf.transpose(tf.reshape(images, [shape[0], -1, 3]), [0, 2, 1])
    red, green, blue = tf.split(planes, 3, axis=1)
    value = tf.maximum(tf.maximum(red, green), blue)
    chroma = value - tf.minimum(tf.minimum(red, green), blue)
    inverse = 1 / tf.where(chroma > 0, chroma, 1.0)
    sixths = tf.where(
        value == red,
        (green - blue) * inverse,
        tf.where(
            value == green,
            2 + (blue - red) * inverse,
            4 + (red - green) * inverse,
        ),
    )
    k = tf.constant([[5.0], [3.0], [1.0]]) + (sixths + 6 * turn[:, None, None])
    k -= 6 * tf.floor(k * (1 / 6))
    turned = value - chroma * tf.clip_by_value(tf.minimum(k, 4 - k), 0, 1)
    turned = tf.reshape(tf.transpose(turned, [0, 2, 1]), shape)
    # The way through HSV rounds; a turn of 0 keeps every bit.
    return tf.where(per_example(turn) == 0, images, turned)


def enhancements(value_range: Range) -> list[Operation]:
    """Brightness, contrast and saturation as functions of (images, factor).

    Args:
      value_range: black and white.
    """
    black = tf.constant(value_range[0], tf.float32)
    return [
        lambda images, factor: blend(black, images, factor, value_range),
        lambda images, factor: stretch(images, factor, value_range),
        lambda images, factor: saturate(images, factor, value_range),
    ]


@dataclasses.dataclass(frozen=True, repr=False)
class Grayscale(Transform):
    """Replaces each channel by the luma 0.299·R + 0.587·G + 0.114·B.

    The number of channels stays, as in torchvision's RandomGrayscale, which
    is ``Grayscale(probability=0.1)`` here. Without a probability nothing is
    drawn, so evaluation applies this transform too.
    """

    random: ClassVar[bool] = False
    moves_pixels: ClassVar[bool | None] = False
    keeps_range: ClassVar[bool] = True

    def apply(self, images: tf.Tensor, drawn: Drawn) -> tf.Tensor:
        """Removes the colour."""
        del drawn
        images = checked(images, "Grayscale")
        return tf.broadcast_to(grey(images), tf.shape(images))


@dataclasses.dataclass(frozen=True, repr=False)
class Saturation(Transform):
    """Blends each picture with its grey version, or away from it.

        grey + factor·(x − grey), clipped to the value range

    This is Pillow's ImageEnhance.Color and torchvision's adjust_saturation.

    Attributes:
      factor: r, for uniform in [1 − r, 1 + r], or (low, high); 0 is grey,
        1 changes nothing.
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
        """Saturates or fades the colours."""
        images = checked(images, "Saturation")
        return saturate(images, drawn["factor"], self.value_range)


@dataclasses.dataclass(frozen=True, repr=False)
class Hue(Transform):
    """Turns the hue of HSV, as torchvision's adjust_hue.

    The range of values does not matter, since the hue depends on ratios of
    differences between channels only.

    Attributes:
      shift: r, for uniform in [−r, r], or (low, high), in turns within
        [−0.5, 0.5]; 0 changes nothing, 1/3 makes red green.
    """

    moves_pixels: ClassVar[bool | None] = False
    keeps_range: ClassVar[bool] = True

    shift: Interval

    def __post_init__(self) -> None:
        """Checks the fields."""
        super().__post_init__()
        check_interval(self, "shift", -0.5, 0.5)

    def draw(self, rng: draws.Draws, shape: Shape) -> Drawn:
        """Draws "shift", float32[B], in turns."""
        del shape
        return {"shift": between(rng.uniform(1)[:, 0], self.shift)}

    def apply(self, images: tf.Tensor, drawn: Drawn) -> tf.Tensor:
        """Turns the hue."""
        return turn_hue(checked(images, "Hue"), drawn["shift"])


@dataclasses.dataclass(frozen=True, repr=False)
class ColorJitter(Transform):
    """Changes brightness, contrast, saturation and hue in a random order.

    Each picture has its own factors and its own order, as in torchvision's
    ColorJitter. The contrast is that of Pillow and torchvision, around the
    mean of the grey picture (``Contrast`` takes each channel's mean).

    Attributes:
      brightness: r, for a factor uniform in [1 − r, 1 + r], or (low, high).
      contrast: likewise.
      saturation: likewise.
      hue: r, for uniform in [−r, r], or (low, high), in turns within
        [−0.5, 0.5].
      value_range: black and white: (0, 1) behind a Rescale(1 / 255). Values
        beyond the range are clipped.
    """

    moves_pixels: ClassVar[bool | None] = False
    keeps_range: ClassVar[bool] = True

    brightness: Interval = 0.0
    contrast: Interval = 0.0
    saturation: Interval = 0.0
    hue: Interval = 0.0
    value_range: Range = (0.0, 255.0)

    def __post_init__(self) -> None:
        """Checks the fields."""
        super().__post_init__()
        for name in ("brightness", "contrast", "saturation"):
            check_factor(self, name)
        check_interval(self, "hue", -0.5, 0.5)
        check_value_range(self)

    def draw(self, rng: draws.Draws, shape: Shape) -> Drawn:
        """Draws the four strengths, float32[B], and "order", int32[B, 4].

        The order numbers the operations as the fields: 0 is brightness.
        """
        del shape
        uniform = rng.uniform(5)
        place = tf.cast(uniform[:, 4] * len(_ORDERS), tf.int32)
        return {
            "brightness": between(uniform[:, 0], self.brightness, 1.0),
            "contrast": between(uniform[:, 1], self.contrast, 1.0),
            "saturation": between(uniform[:, 2], self.saturation, 1.0),
            "hue": between(uniform[:, 3], self.hue),
            "order": tf.gather(_ORDERS, tf.minimum(place, len(_ORDERS) - 1)),
        }

    def apply(self, images: tf.Tensor, drawn: Drawn) -> tf.Tensor:
        """Changes the colours."""
        images = checked(images, "ColorJitter")
        names = ("brightness", "contrast", "saturation", "hue")
        strengths = tf.stack([drawn[name] for name in names], axis=1)
        order = drawn["order"]
        return apply_steps(
            images,
            order,
            tf.gather(strengths, order, batch_dims=1),
            [*enhancements(self.value_range), turn_hue],
        )
