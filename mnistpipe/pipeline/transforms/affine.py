"""The random affine transform: rotation, shift, shear, zoom and flips.

They are composed into one matrix per example and cost one resampling.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
import tensorflow as tf

from mnistpipe.pipeline import draws, ops, warp
from mnistpipe.pipeline.transform import (
    Drawn,
    Shape,
    Transform,
    check_bool,
    check_choice,
    check_interval,
)
from mnistpipe.pipeline.transforms.geometry import (
    Geometric,
    Position,
    Size2,
    both_sides,
)
from mnistpipe.pipeline.transforms.resize import (
    Resize,
    check_always,
    check_size,
)

AXES = ("documented", "keras")
UNITS = ("fraction", "pixels")

Interval = float | tuple[float, float]


def affine_matrix(
    drawn: Drawn, height: warp.Size, width: warp.Size, axes: str = "documented"
) -> tf.Tensor:
    """The map of output to input pixels, from the picture's centre.

    With x the column and y the row, θ the rotation and σ the shear,

        x' = zx·cosθ·x − zy·sin(θ+σ)·y + cosθ·tx − sinθ·ty
        y' = zx·sinθ·x + zy·cos(θ+σ)·y + sinθ·tx + cosθ·ty

    the closed form of the product rotation·shift·shear·zoom in Keras'
    ImageDataGenerator, after which flips act on the output.

    Args:
      drawn: float32[B] each: rotation and shear in degrees, shift_x and
        shift_y in pixels, zoom_x and zoom_y; bool[B] flip_x and flip_y.
      height: of the picture.
      width: of the picture.
      axes: "keras" turns about row W/2 − ½ and column H/2 − ½, as Keras'
        class does: the centre only where the picture is square.

    Returns:
      float32[B, 2, 3], acting on (row, column, 1).
    """
    xp = ops.of(drawn["rotation"])
    theta = drawn["rotation"] * np.float32(np.pi / 180)
    sheared = theta + drawn["shear"] * np.float32(np.pi / 180)
    cos, sin = xp.cos(theta), xp.sin(theta)
    xx, xy = drawn["zoom_x"] * cos, -drawn["zoom_y"] * xp.sin(sheared)
    yx, yy = drawn["zoom_x"] * sin, drawn["zoom_y"] * xp.cos(sheared)
    shift_x, shift_y = drawn["shift_x"], drawn["shift_y"]
    x = cos * shift_x - sin * shift_y
    y = sin * shift_x + cos * shift_y
    if axes == "keras":
        # The fixed point lies off the centre by (off, −off) in (x, y).
        off = (xp.cast(width, tf.float32) - xp.cast(height, tf.float32)) / 2
        x += xx * off - xy * off - off
        y += yx * off - yy * off + off
    flip_x = xp.where(drawn["flip_x"], -1.0, 1.0)
    flip_y = xp.where(drawn["flip_y"], -1.0, 1.0)
    rows = [yy * flip_y, yx * flip_x, y, xy * flip_y, xx * flip_x, x]
    return xp.reshape(xp.stack(rows, axis=-1), [-1, 2, 3])


@dataclasses.dataclass(frozen=True, repr=False)
class RandomAffine(Geometric):
    """Rotates, shifts, shears, zooms and flips, in one resampling.

    Each range is r, for uniform in [−r, r] (zoom: [1 − r, 1 + r]), or
    (low, high). The meanings, units and signs are those of Keras'
    ImageDataGenerator, except that shifts move along the axis that their
    name says.

    Attributes:
      rotation: degrees; positive turns the picture counter-clockwise.
      width_shift: along the columns, in ``shift_unit``; positive moves the
        picture to the left.
      height_shift: along the rows, in ``shift_unit``; positive moves the
        picture up.
      shear: degrees.
      zoom: factor of the width and the height that is looked at: above 1
        the picture shrinks. Drawn for x and y apart.
      keep_aspect: draw one zoom for both.
      horizontal_flip: mirror left and right, every other time.
      vertical_flip: mirror top and bottom, every other time.
      shift_unit: "fraction" of the width or height, or "pixels".
      fill_mode: what lies outside, as in scipy.ndimage: "nearest",
        "constant", "reflect" or "wrap".
      fill_value: that of "constant", in the pictures' range of values.
      interpolation: "bilinear" or "nearest". Masks always take "nearest".
      axes: "keras" swaps the two shifts and, on a picture that is not
        square, the centre, as ImageDataGenerator does.
      output_size: height and width, or one number for both, to which the
        result is resized within the same resampling, as by a Resize; None
        keeps the pictures' size.
    """

    keeps_range: ClassVar[bool] = True

    rotation: Interval = 0.0
    width_shift: Interval = 0.0
    height_shift: Interval = 0.0
    shear: Interval = 0.0
    zoom: Interval = 0.0
    keep_aspect: bool = False
    horizontal_flip: bool = False
    vertical_flip: bool = False
    shift_unit: str = "fraction"
    fill_mode: str = "nearest"
    fill_value: float = 0.0
    interpolation: str = "bilinear"
    axes: str = "documented"
    output_size: int | tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Checks the fields."""
        super().__post_init__()
        check_interval(self, "rotation", -360.0, 360.0)
        check_choice(self, "shift_unit", UNITS)
        # A whole width is 1: 3 is meant in pixels, as Keras' class takes it.
        most = 1.0 if self.shift_unit == "fraction" else 1e6
        check_interval(self, "width_shift", -most, most)
        check_interval(self, "height_shift", -most, most)
        check_interval(self, "shear", -89.0, 89.0)
        check_interval(self, "zoom", 0.0, 1e3)
        if self._zoom_range()[0] <= 0.0:
            raise ValueError(
                "Expected RandomAffine.zoom below 1, or (low, high) above "
                f"0. Received: {self.zoom!r}"
            )
        for name in ("keep_aspect", "horizontal_flip", "vertical_flip"):
            check_bool(self, name)
        check_choice(self, "fill_mode", warp.FILL_MODES)
        check_choice(self, "interpolation", warp.INTERPOLATIONS)
        check_choice(self, "axes", AXES)
        check_interval(self, "fill_value", -np.inf, np.inf)
        if self.output_size is not None:
            size = check_size(self, "output_size")
            object.__setattr__(self, "output_size", size)
            check_always(self)

    def _zoom_range(self) -> tuple[float, float]:
        if isinstance(self.zoom, (tuple, list)):
            low, high = self.zoom
            return low, high
        return 1.0 - self.zoom, 1.0 + self.zoom

    def draw(self, rng: draws.Draws, shape: Shape) -> Drawn:
        """Draws, per example, what ``affine_matrix`` takes."""
        xp = ops.of(rng.keys)
        height, width, _ = shape
        if self.shift_unit == "pixels":
            height = width = 1
        uniform = rng.uniform(8)
        zoom_x = _between(uniform[:, 4], self._zoom_range())
        zoom_y = _between(uniform[:, 5], self._zoom_range())
        shift_y = _between(uniform[:, 1], _range(self.height_shift))
        shift_x = _between(uniform[:, 2], _range(self.width_shift))
        shift_y *= xp.cast(height, tf.float32)
        shift_x *= xp.cast(width, tf.float32)
        if self.axes == "keras":
            shift_x, shift_y = shift_y, shift_x
        return {
            "rotation": _between(uniform[:, 0], _range(self.rotation)),
            "shift_x": shift_x,
            "shift_y": shift_y,
            "shear": _between(uniform[:, 3], _range(self.shear)),
            "zoom_x": zoom_x,
            "zoom_y": zoom_x if self.keep_aspect else zoom_y,
            "flip_x": (uniform[:, 6] < 0.5) & self.horizontal_flip,
            "flip_y": (uniform[:, 7] < 0.5) & self.vertical_flip,
        }

    @property
    def separable(self) -> bool:  # type: ignore[override]
        """Without rotation and shear, rows depend on rows only."""
        return not (np.any(self.rotation) or np.any(self.shear))

    @property
    def runs_in_jax(self) -> bool:  # type: ignore[override]
        """Whether the pictures keep their size."""
        return not self.changes_size

    def output_shape(self, shape: Shape) -> Shape:
        """The pictures' own, or (*output_size, C)."""
        if self.output_size is None:
            return shape
        return *both_sides(self.output_size), shape[2]

    @property
    def changes_size(self) -> bool:
        """Whether there is an output_size."""
        return self.output_size is not None

    def for_evaluation(self) -> Transform | None:
        """Only the change of size."""
        return self.parts()[1] if self.changes_size else None

    def parts(self) -> tuple[Geometric, ...]:
        """The affine map, and a Resize if there is an output_size."""
        if self.output_size is None:
            return (self,)
        moved = dataclasses.replace(self, output_size=None)
        return moved, Resize(self.output_size, self.interpolation)

    def coordinates(
        self, position: Position, drawn: Drawn, size: Size2
    ) -> Position:
        """The matrix, applied about the picture's centre."""
        matrix = affine_matrix(drawn, *size, self.axes)
        middle = [(tf.cast(side, tf.float32) - 1) / 2 for side in size]
        centred = [axis - m for axis, m in zip(position, middle, strict=True)]
        moved = []
        for axis in (0, 1):
            own = matrix[:, axis, axis, None] * centred[axis]
            if not self.separable:
                own += matrix[:, axis, 1 - axis, None] * centred[1 - axis]
            moved.append(own + (matrix[:, axis, 2, None] + middle[axis]))
        return moved[0], moved[1]

    def apply(self, images: tf.Tensor, drawn: Drawn) -> tf.Tensor:
        """Moves pictures [B, H, W, C] by the drawn parameters."""
        xp = ops.of(images)
        if self.changes_size:
            return super().apply(images, drawn)
        moved = self._warp(images, drawn, self.fill_value, self.interpolation)
        return xp.cast(moved, tf.float32)

    def apply_to_mask(self, mask: tf.Tensor, drawn: Drawn) -> tf.Tensor:
        """Moves a mask, its dtype kept; "constant" fills it with 0."""
        if self.changes_size:
            return super().apply_to_mask(mask, drawn)
        return self._warp(mask, drawn, 0.0, "nearest")

    def _warp(
        self,
        images: tf.Tensor,
        drawn: Drawn,
        fill_value: float,
        interpolation: str,
    ) -> tf.Tensor:
        height, width, _ = warp.sizes(images)
        return warp.affine(
            images,
            affine_matrix(drawn, height, width, self.axes),
            fill_mode=self.fill_mode,
            fill_value=fill_value,
            interpolation=interpolation,
        )


def _range(interval: Interval) -> tuple[float, float]:
    if isinstance(interval, (tuple, list)):
        low, high = interval
        return low, high
    return -interval, interval


def _between(uniform: tf.Tensor, bounds: tuple[float, float]) -> tf.Tensor:
    low, high = bounds
    return low + uniform * (high - low)
