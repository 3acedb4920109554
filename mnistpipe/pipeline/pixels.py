"""Transforms of the values of pixels, which move none of them."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
import tensorflow as tf

from mnistpipe.pipeline import draws
from mnistpipe.pipeline.transform import (
    Drawn,
    Shape,
    Transform,
    check_in_range,
)


@dataclasses.dataclass(frozen=True, repr=False)
class GaussianNoise(Transform):
    """Adds independent normal noise to every value; nothing is clipped.

    Attributes:
      stddev: standard deviation, in the pictures' range of values.
    """

    stddev: float

    def __post_init__(self) -> None:
        """Checks the fields."""
        super().__post_init__()
        check_in_range(self, "stddev", 0.0, np.inf)

    def draw(self, rng: draws.Draws, shape: Shape) -> Drawn:
        """Draws standard normals, float32[B, H, W, C]."""
        return {"noise": rng.normal_field(shape)}

    def apply(self, images: tf.Tensor, drawn: Drawn) -> tf.Tensor:
        """Adds stddev times the noise."""
        return tf.cast(images, tf.float32) + self.stddev * drawn["noise"]


@dataclasses.dataclass(frozen=True, repr=False)
class Rescale(Transform):
    """Multiplies, then adds: 1/255 brings uint8's range to [0, 1].

    Attributes:
      scale: factor.
      offset: added to the product.
    """

    random: ClassVar[bool] = False

    scale: float
    offset: float = 0.0

    def __post_init__(self) -> None:
        """Checks the fields."""
        super().__post_init__()
        check_in_range(self, "scale", -np.inf, np.inf)
        check_in_range(self, "offset", -np.inf, np.inf)

    def apply(self, images: tf.Tensor, drawn: Drawn) -> tf.Tensor:
        """scale·images + offset."""
        del drawn
        return tf.cast(images, tf.float32) * self.scale + self.offset
