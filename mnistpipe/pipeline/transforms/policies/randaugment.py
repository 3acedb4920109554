"""RandAugment and TrivialAugmentWide: operations at one level of strength."""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf

from mnistpipe.pipeline import draws
from mnistpipe.pipeline.transform import Drawn, Shape, check_in_range
from mnistpipe.pipeline.transforms.policies import operations
from mnistpipe.pipeline.transforms.policies.policy import Policy, check_whole

# torchvision divides strengths into 31 levels, 0 to 30.
HIGHEST_LEVEL = 30
_MOST_STEPS = 20

RAND_AUGMENT = operations.Space(
    {
        "Identity": None,
        "ShearX": 0.3,
        "ShearY": 0.3,
        "TranslateX": 150 / 331,
        "TranslateY": 150 / 331,
        "Rotate": 30.0,
        "Brightness": 0.9,
        "Color": 0.9,
        "Contrast": 0.9,
        "Sharpness": 0.9,
        "Posterize": 4,
        "Solarize": None,
        "AutoContrast": None,
        "Equalize": None,
    }
)
TRIVIAL_AUGMENT_WIDE = operations.Space(
    {
        "Identity": None,
        "ShearX": 0.99,
        "ShearY": 0.99,
        "TranslateX": 32.0,
        "TranslateY": 32.0,
        "Rotate": 135.0,
        "Brightness": 0.99,
        "Color": 0.99,
        "Contrast": 0.99,
        "Sharpness": 0.99,
        "Posterize": 2,
        "Solarize": None,
        "AutoContrast": None,
        "Equalize": None,
    },
    translate_unit="pixels",
)


@dataclasses.dataclass(frozen=True, repr=False)
class RandAugment(Policy):
    """Applies ``n`` operations, chosen at random, at one magnitude.

    Cubuk et al. 2020, "RandAugment: Practical automated data augmentation
    with a reduced search space". Each of the 14 operations is equally likely
    at each step. The strengths are those of torchvision's RandAugment:

        operation                 at magnitude 0     at magnitude 30
        Identity
        ShearX, ShearY            0                  ±0.3 (tangent)
        TranslateX, TranslateY    0                  ±150/331 of the side
        Rotate                    0                  ±30 degrees
        Brightness, Color,
        Contrast, Sharpness       factor 1           factor 1 ± 0.9
        Posterize                 8 bits             4 bits
        Solarize                  from white on      from black on
        AutoContrast, Equalize    the same at every magnitude

    Masks move with the pictures, by nearest neighbour and filled with 0.

    Attributes:
      n: operations per picture, in [0, 20]; 0 changes nothing.
      magnitude: in [0, 30].
      value_range: black and white: (0, 1) behind a Rescale(1 / 255).
      fill: the value of what was outside of the picture.
      interpolation: "nearest", torchvision's default, or "bilinear".
    """

    n: int = 2
    magnitude: float = 9.0

    def __post_init__(self) -> None:
        """Checks the fields."""
        super().__post_init__()
        check_whole(self, "n", 0, _MOST_STEPS)
        check_in_range(self, "magnitude", 0.0, HIGHEST_LEVEL)

    def draw(self, rng: draws.Draws, shape: Shape) -> Drawn:
        """Draws "operation", int32[B, n], and "strength", float32[B, n].

        The operations are numbered as in ``policies.operations``, which also
        has the units of the strengths.
        """
        uniform = rng.uniform(2 * max(self.n, 1))[:, : 2 * self.n]
        level = tf.zeros_like(uniform[:, : self.n])
        level += np.float32(self.magnitude / HIGHEST_LEVEL)
        return operations.draw_steps(uniform, RAND_AUGMENT, level, shape)

    def apply_to_mask(self, mask: tf.Tensor, drawn: Drawn) -> tf.Tensor:
        """Moves a mask by the movements among the operations."""
        return operations.move_mask(mask, drawn)


@dataclasses.dataclass(frozen=True, repr=False)
class TrivialAugmentWide(Policy):
    """Applies one operation, chosen at random, at a random magnitude.

    Müller and Hutter 2021, "TrivialAugment: Tuning-free Yet State-of-the-Art
    Data Augmentation", the space "Wide". Each of the 14 operations and each
    of the 31 magnitudes is equally likely. The strengths are those of
    torchvision's TrivialAugmentWide:

        operation                 at magnitude 0     at magnitude 30
        Identity
        ShearX, ShearY            0                  ±0.99 (tangent)
        TranslateX, TranslateY    0                  ±32 pixels
        Rotate                    0                  ±135 degrees
        Brightness, Color,
        Contrast, Sharpness       factor 1           factor 1 ± 0.99
        Posterize                 8 bits             2 bits
        Solarize                  from white on      from black on
        AutoContrast, Equalize    the same at every magnitude

    Masks move with the pictures, by nearest neighbour and filled with 0.

    Attributes:
      value_range: black and white: (0, 1) behind a Rescale(1 / 255).
      fill: the value of what was outside of the picture.
      interpolation: "nearest", torchvision's default, or "bilinear".
    """

    def draw(self, rng: draws.Draws, shape: Shape) -> Drawn:
        """Draws "operation", int32[B, 1], and "strength", float32[B, 1].

        The operations are numbered as in ``policies.operations``, which also
        has the units of the strengths.
        """
        uniform = rng.uniform(3)
        magnitude = tf.floor(uniform[:, 2:] * (HIGHEST_LEVEL + 1))
        level = tf.minimum(magnitude, HIGHEST_LEVEL) / HIGHEST_LEVEL
        return operations.draw_steps(
            uniform[:, :2], TRIVIAL_AUGMENT_WIDE, level, shape
        )

    def apply_to_mask(self, mask: tf.Tensor, drawn: Drawn) -> tf.Tensor:
        """Moves a mask if the operation is a movement."""
        return operations.move_mask(mask, drawn)
