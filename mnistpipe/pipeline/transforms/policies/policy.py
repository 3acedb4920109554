"""What the policies share: their fields and how they apply operations."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
import tensorflow as tf

from mnistpipe.pipeline.transform import (
    Drawn,
    Transform,
    check_choice,
    check_in_range,
)
from mnistpipe.pipeline.transforms.appearance import color
from mnistpipe.pipeline.transforms.policies import operations
from mnistpipe.pipeline.transforms.ranges import Range, check_value_range

INTERPOLATIONS = ("nearest", "bilinear")


def check_whole(transform: Transform, name: str, low: int, high: int) -> None:
    """Raises ValueError unless a field is an integer in [low, high]."""
    check_in_range(transform, name, low, high)
    value = getattr(transform, name)
    if not isinstance(value, (int, np.integer)):
        raise ValueError(
            f"Expected {type(transform).__name__}.{name} to be an integer. "
            f"Received: {value!r}"
        )


@dataclasses.dataclass(frozen=True, repr=False)
class Policy(Transform):
    """What the policies share: their range of values and their movements."""

    keeps_range: ClassVar[bool] = True

    value_range: Range = dataclasses.field(default=(0.0, 255.0), kw_only=True)
    fill: float = dataclasses.field(default=0.0, kw_only=True)
    interpolation: str = dataclasses.field(default="nearest", kw_only=True)

    def __post_init__(self) -> None:
        """Checks the fields."""
        super().__post_init__()
        check_value_range(self)
        check_in_range(self, "fill", -np.inf, np.inf)
        check_choice(self, "interpolation", INTERPOLATIONS)

    def apply(self, images: tf.Tensor, drawn: Drawn) -> tf.Tensor:
        """Applies each picture's own operations."""
        images = color.checked(images, type(self).__name__)
        return self._chain(images, drawn)

    def _chain(self, images: tf.Tensor, drawn: Drawn) -> tf.Tensor:
        return operations.apply_chain(
            images, drawn, self.value_range, self.fill, self.interpolation
        )
