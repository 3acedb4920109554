"""Geometric transforms that bend: perspective and grid distortion."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
import tensorflow as tf

from mnistpipe.pipeline import draws, warp
from mnistpipe.pipeline.transform import (
    Drawn,
    Shape,
    check_choice,
    check_in_range,
)
from mnistpipe.pipeline.transforms.geometry import (
    Geometric,
    Position,
    Size2,
)

# For each corner, clockwise from the upper left: its place in the unit
# square, and the direction in which it moves inward.
_CORNERS_X, _INWARD_X = (0.0, 1.0, 1.0, 0.0), (1.0, -1.0, -1.0, 1.0)
_CORNERS_Y, _INWARD_Y = (0.0, 0.0, 1.0, 1.0), (1.0, 1.0, -1.0, -1.0)


def _check_filling(transform: RandomPerspective | GridDistortion) -> None:
    check_choice(transform, "fill_mode", warp.FILL_MODES)
    check_in_range(transform, "fill_value", -np.inf, np.inf)
    check_choice(transform, "interpolation", warp.INTERPOLATIONS)


def _relative(
    position: Position, size: Size2
) -> tuple[Position, tuple[tf.Tensor, tf.Tensor]]:
    """Positions with the first pixel at 0 and the last at 1, and lengths."""
    lengths = tuple(
        tf.maximum(tf.cast(side, tf.float32) - 1, 1.0) for side in size
    )
    return (position[0] / lengths[0], position[1] / lengths[1]), lengths


@dataclasses.dataclass(frozen=True, repr=False)
class RandomPerspective(Geometric):
    """Looks at the picture from aside: each corner moves inward.

    Each corner moves by up to distortion/2 of the width and of the height,
    as torchvision's RandomPerspective does, though not in whole pixels. The
    map of four points is that of Heckbert 1989, "Fundamentals of texture
    mapping and image warping", section 2.2.3.

    Attributes:
      distortion: in [0, 1); 0 changes nothing.
      fill_mode: what lies outside, as in scipy.ndimage: "nearest",
        "constant", "reflect" or "wrap".
      fill_value: that of "constant", in the pictures' range of values;
        masks get 0.
      interpolation: "bilinear" or "nearest". Masks always take "nearest".
    """

    keeps_range: ClassVar[bool] = True

    distortion: float = 0.5
    fill_mode: str = "constant"
    fill_value: float = 0.0
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        """Checks the fields."""
        super().__post_init__()
        # At 1 the corners could meet, and the map would have no inverse.
        check_in_range(self, "distortion", 0.0, 0.999)
        _check_filling(self)

    def draw(self, rng: draws.Draws, shape: Shape) -> Drawn:
        """Draws "x" and "y", float32[B, 4]: how far each corner moves.

        Parts of the width and the height; upper left, upper right, lower
        right, lower left.
        """
        del shape
        moved = rng.uniform(8) * (self.distortion / 2)
        return {"x": moved[:, :4], "y": moved[:, 4:]}

    def coordinates(
        self, position: Position, drawn: Drawn, size: Size2
    ) -> Position:
        """The inverse of the map of the unit square to the corners."""
        (row, column), lengths = _relative(position, size)
        (a, b, c), (d, e, f), (g, h, i) = _quadrilateral_to_square(drawn)
        below = g * column + h * row + i
        # What is added is exactly 0 where no corner moves.
        across = (a * column + b * row + c - column * below) / below
        down = (d * column + e * row + f - row * below) / below
        return position[0] + lengths[0] * down, position[1] + lengths[
            1
        ] * across


def _quadrilateral_to_square(drawn: Drawn) -> list[list[tf.Tensor]]:
    """The 3×3 map of (x, y, 1), each entry float32[B, 1]."""
    x = _CORNERS_X + drawn["x"] * _INWARD_X
    y = _CORNERS_Y + drawn["y"] * _INWARD_Y
    x0, x1, x2, x3 = tf.split(x, 4, axis=1)
    y0, y1, y2, y3 = tf.split(y, 4, axis=1)
    sum_x, sum_y = x0 - x1 + x2 - x3, y0 - y1 + y2 - y3
    right_x, left_x = x1 - x2, x3 - x2
    right_y, left_y = y1 - y2, y3 - y2
    determinant = right_x * left_y - left_x * right_y
    g = (sum_x * left_y - left_x * sum_y) / determinant
    h = (right_x * sum_y - sum_x * right_y) / determinant
    a, b, c = x1 - x0 + g * x1, x3 - x0 + h * x3, x0
    d, e, f = y1 - y0 + g * y1, y3 - y0 + h * y3, y0
    # The adjugate, since a homography's scale does not matter.
    return [
        [e - f * h, c * h - b, b * f - c * e],
        [f * g - d, a - c * g, c * d - a * f],
        [d * h - e * g, b * g - a * h, a * e - b * d],
    ]


@dataclasses.dataclass(frozen=True, repr=False)
class GridDistortion(Geometric):
    """Stretches some rows and columns and squeezes others.

    The picture is cut into steps×steps cells; each row and each column of
    cells gets a width in proportion to 1 + uniform in [−strength,
    strength], so that the border stays in place. Albumentations'
    GridDistortion with normalized=True.

    Attributes:
      steps: how many cells along each axis, at least 1.
      strength: in [0, 1); 0 changes nothing.
      fill_mode: as in RandomPerspective; all positions lie inside.
      fill_value: as in RandomPerspective.
      interpolation: "bilinear" or "nearest". Masks always take "nearest".
    """

    keeps_range: ClassVar[bool] = True
    separable = True

    steps: int = 5
    strength: float = 0.3
    fill_mode: str = "nearest"
    fill_value: float = 0.0
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        """Checks the fields."""
        super().__post_init__()
        check_in_range(self, "steps", 1, 1000)
        if int(self.steps) != self.steps:
            raise ValueError(
                "Expected GridDistortion.steps to be a whole number. "
                f"Received: {self.steps!r}"
            )
        check_in_range(self, "strength", 0.0, 0.999)
        _check_filling(self)

    def draw(self, rng: draws.Draws, shape: Shape) -> Drawn:
        """Draws "rows", "columns", float32[B, steps + 1].

        How far each line of the grid moves in the input, as a part of the
        height or the width.
        """
        del shape
        uniform = self.strength * (2 * rng.uniform(2 * self.steps) - 1)
        return {
            "rows": self._moved(uniform[:, : self.steps]),
            "columns": self._moved(uniform[:, self.steps :]),
        }

    def _moved(self, extra: tf.Tensor) -> tf.Tensor:
        # (i + Σᵢ)/(n + Σ) − i/n, written so that zeros stay zeros. The sums
        # are made one by one: a reduction's order may depend on the batch.
        sums = [tf.zeros_like(extra[:, 0])]
        for step in range(self.steps):
            sums.append(sums[-1] + extra[:, step])
        total, count = sums[-1], float(self.steps)
        moved = [
            (count * own - line * total) / (count * (count + total))
            for line, own in enumerate(sums)
        ]
        return tf.stack(moved, axis=1)

    def coordinates(
        self, position: Position, drawn: Drawn, size: Size2
    ) -> Position:
        """Moved as far as the lines of the grid, linearly between them."""
        relative, lengths = _relative(position, size)
        moved = []
        for axis, lines in enumerate((drawn["rows"], drawn["columns"])):
            place = relative[axis] * float(self.steps)
            by = 0.0
            for line in range(self.steps + 1):
                near = tf.maximum(1 - tf.abs(place - float(line)), 0.0)
                by = by + lines[:, line : line + 1] * near
            moved.append(position[axis] + lengths[axis] * by)
        return moved[0], moved[1]
