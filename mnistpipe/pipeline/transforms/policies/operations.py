"""The fourteen operations from which the policies choose.

    place  operation     strength                     Pillow's definition
      0    Identity      none                         none
      1    ShearX        tangent                      transform(AFFINE)
      2    ShearY        tangent                      transform(AFFINE)
      3    TranslateX    pixels to the right          transform(AFFINE)
      4    TranslateY    pixels down                  transform(AFFINE)
      5    Rotate        degrees counter-clockwise    rotate
      6    Brightness    factor − 1                   ImageEnhance.Brightness
      7    Color         factor − 1                   ImageEnhance.Color
      8    Contrast      factor − 1                   ImageEnhance.Contrast
      9    Sharpness     factor − 1                   ImageEnhance.Sharpness
     10    Posterize     bits that are kept           ImageOps.posterize
     11    Solarize      threshold in [0, 255]        ImageOps.solarize
     12    AutoContrast  none                         ImageOps.autocontrast
     13    Equalize      none                         ImageOps.equalize

As in torchvision, shears fix the upper left corner, rotations the centre,
translations are by whole pixels, and what was outside of the picture is
``fill``. Fractions of 8-bit levels are kept between operations, where Pillow
cuts them off.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from mnistpipe.pipeline import warp
from mnistpipe.pipeline.transform import Drawn, Shape, per_example
from mnistpipe.pipeline.transforms.appearance import color, filters, tone
from mnistpipe.pipeline.transforms.ranges import (
    LAST_LEVEL,
    from_levels,
    to_levels,
)
from mnistpipe.pipeline.transforms.steps import Operation, apply_steps

OPERATIONS = (
    "Identity",
    "ShearX",
    "ShearY",
    "TranslateX",
    "TranslateY",
    "Rotate",
    "Brightness",
    "Color",
    "Contrast",
    "Sharpness",
    "Posterize",
    "Solarize",
    "AutoContrast",
    "Equalize",
)
PLACES = {name: place for place, name in enumerate(OPERATIONS)}

# All movements are one branch: one resampling with different matrices.
_MOVEMENT = 1
_BRANCHES = np.array([0, 1, 1, 1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9], np.int32)

_LEVELS = (0.0, LAST_LEVEL)


@dataclasses.dataclass(frozen=True)
class Space:
    """The operations of a policy, and how strong they are.

    Attributes:
      strongest: the strength at the highest level, by operation, None where
        there is none; at level 0 nothing changes. Translations are in
        ``translate_unit``.
      translate_unit: "fraction" of the width or height, or "pixels".
      most_bits: what Posterize keeps at level 0.
    """

    strongest: dict[str, float | None]
    translate_unit: str = "fraction"
    most_bits: int = 8

    @property
    def places(self) -> np.ndarray:
        """The operations' places among OPERATIONS, int32."""
        return np.array([PLACES[name] for name in self.strongest], np.int32)

    def choose(self, uniform: tf.Tensor) -> tf.Tensor:
        """int32 places among OPERATIONS, equally likely, from [0, 1)."""
        last = len(self.places) - 1
        place = tf.cast(uniform * (last + 1), tf.int32)
        return tf.gather(self.places, tf.minimum(place, last))

    def strengths(
        self,
        operation: tf.Tensor,
        level: tf.Tensor,
        negative: tf.Tensor,
        shape: Shape,
    ) -> tf.Tensor:
        """What each operation is given.

        Args:
          operation: int32[B, S], places among OPERATIONS.
          level: float32[B, S] in [0, 1].
          negative: bool[B, S], to be used where an operation has a sign.
          shape: (H, W, C) of the pictures.

        Returns:
          float32[B, S], in the units of the table of this module.
        """
        largest = [self.strongest.get(name) or 0.0 for name in OPERATIONS]
        strength = level * tf.gather(np.array(largest, np.float32), operation)
        strength = tf.where(negative, -strength, strength)

        def at(name: str) -> tf.Tensor:
            return operation == PLACES[name]

        if self.translate_unit == "fraction":
            height, width = (tf.cast(size, tf.float32) for size in shape[:2])
            strength *= tf.where(at("TranslateX"), width, 1.0)
            strength *= tf.where(at("TranslateY"), height, 1.0)
        # torchvision's int(): translations lose their fraction.
        moved = at("TranslateX") | at("TranslateY")
        whole = tf.sign(strength) * tf.floor(tf.abs(strength))
        strength = tf.where(moved, whole, strength)
        fewer = self.most_bits - (self.strongest.get("Posterize") or 0)
        bits = self.most_bits - tf.round(level * fewer)
        strength = tf.where(at("Posterize"), bits, strength)
        threshold = LAST_LEVEL * (1 - level)
        return tf.where(at("Solarize"), threshold, strength)


def draw_steps(
    rng_uniform: tf.Tensor,
    space: Space,
    level: tf.Tensor,
    shape: Shape,
) -> Drawn:
    """Chooses operations and signs.

    Args:
      rng_uniform: float32[B, 2·S] in [0, 1).
      space: of the policy.
      level: float32[B, S] in [0, 1].
      shape: (H, W, C) of the pictures.

    Returns:
      "operation", int32[B, S], places among OPERATIONS, and "strength",
      float32[B, S].
    """
    choice, sign = tf.split(rng_uniform, 2, axis=1)
    operation = space.choose(choice)
    return {
        "operation": operation,
        "strength": space.strengths(operation, level, sign < 0.5, shape),
    }


def matrices(
    operation: tf.Tensor, strength: tf.Tensor, height: Any, width: Any
) -> tf.Tensor:
    """The map of output to input pixels of each movement.

    Args:
      operation: int32[...], places among OPERATIONS.
      strength: float32[...].
      height: of the pictures.
      width: of the pictures.

    Returns:
      float32[..., 2, 3], acting on (row, column, 1) as counted from the
      picture's centre; the identity where nothing moves.
    """

    def at(name: str) -> tf.Tensor:
        return tf.where(operation == PLACES[name], strength, 0.0)

    angle = at("Rotate") * np.float32(np.pi / 180)
    cosine, sine = tf.cos(angle), tf.sin(angle)
    shear_x, shear_y = at("ShearX"), at("ShearY")
    down = shear_y * (tf.cast(width, tf.float32) / 2) - at("TranslateY")
    right = shear_x * (tf.cast(height, tf.float32) / 2) - at("TranslateX")
    rows = [cosine, sine + shear_y, down, shear_x - sine, cosine, right]
    stacked = tf.stack(rows, axis=-1)
    return tf.reshape(stacked, tf.concat([tf.shape(operation), [2, 3]], 0))


def move(
    images: tf.Tensor,
    matrix: tf.Tensor,
    fill: float,
    interpolation: str = "nearest",
) -> tf.Tensor:
    """Moves pictures; an outside pixel is one whose centre is outside.

    That is Pillow's rule. ``warp`` follows SciPy, for which also the outer
    half of the border's pixels is outside.

    Args:
      images: [B, H, W, C], any dtype.
      matrix: float32[B, 2, 3], as ``matrices`` gives it.
      fill: what is outside.
      interpolation: "nearest" or "bilinear".
    """
    height, width, _ = warp.sizes(images)
    row, column = warp.affine_coordinates(matrix, height, width)
    moved = warp.sample(images, row, column, interpolation=interpolation)

    def inside(place: tf.Tensor, size: warp.Size) -> tf.Tensor:
        within = (place >= -0.5) & (place < tf.cast(size, tf.float32) - 0.5)
        return tf.reshape(within, [-1, height, width, 1])

    kept = inside(row, height) & inside(column, width)
    return tf.where(kept, moved, tf.cast(np.float64(fill), moved.dtype))


def _branches(fill: float, interpolation: str) -> list[Operation]:
    """The functions to which _BRANCHES points, on pictures in [0, 255]."""
    brighten, stretch, saturate = color.enhancements(_LEVELS)

    def by_factor(function: Operation) -> Operation:
        return lambda images, given: function(images, 1 + given[0])

    return [
        lambda images, _: images,
        lambda images, given: move(images, given[1], fill, interpolation),
        by_factor(brighten),
        by_factor(saturate),
        by_factor(stretch),
        by_factor(lambda x, factor: filters.sharpen(x, factor, _LEVELS)),
        lambda images, given: tone.posterize(
            images, tf.cast(given[0], tf.int32), _LEVELS
        ),
        lambda images, given: tone.solarize(images, given[0], _LEVELS),
        lambda images, _: tone.autocontrast(images, _LEVELS),
        lambda images, _: tone.equalize(images, _LEVELS),
    ]


def apply_chain(
    images: tf.Tensor,
    drawn: Drawn,
    value_range: tuple[float, float],
    fill: float,
    interpolation: str,
) -> tf.Tensor:
    """Applies each picture's own operations, in order.

    Args:
      images: float32 [B, H, W, C], with 1 or 3 channels.
      drawn: "operation" and "strength", as from ``draw_steps``.
      value_range: black and white.
      fill: what is outside after a movement, in the value range.
      interpolation: "nearest" or "bilinear".
    """
    height, width, _ = warp.sizes(images)
    operation, strength = drawn["operation"], drawn["strength"]
    changed = apply_steps(
        to_levels(images, value_range),
        tf.gather(_BRANCHES, operation),
        (strength, matrices(operation, strength, height, width)),
        _branches(to_levels(float(fill), value_range), interpolation),
    )
    # The way to levels and back rounds; no operation at all keeps every bit.
    idle = per_example(tf.reduce_all(operation == PLACES["Identity"], axis=1))
    return tf.where(idle, images, from_levels(changed, value_range))


def move_mask(mask: tf.Tensor, drawn: Drawn) -> tf.Tensor:
    """Moves masks as ``apply_chain`` moves pictures; outside is 0."""
    height, width, _ = warp.sizes(mask)
    operation, strength = drawn["operation"], drawn["strength"]
    matrix = matrices(operation, strength, height, width)
    for step in range(operation.shape[1]):
        mask = move(mask, matrix[:, step], 0.0)
    return mask
