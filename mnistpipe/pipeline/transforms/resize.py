"""Transforms that change the pictures' size: resize, crop, pad.

Next to other geometric transforms in a Compose they share one resampling.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from mnistpipe.pipeline import draws, warp
from mnistpipe.pipeline.transform import (
    Drawn,
    Shape,
    Transform,
    check_bool,
    check_choice,
    check_in_range,
    check_interval,
)
from mnistpipe.pipeline.transforms.geometry import (
    Geometric,
    Position,
    Size2,
    both_sides,
)
from mnistpipe.pipeline.transforms.ranges import Interval, bounds


def check_size(transform: Transform, name: str) -> tuple[int, int]:
    """Returns a field, a side or (height, width), as (height, width)."""
    value: Any = getattr(transform, name)
    pair = value if isinstance(value, (tuple, list)) else (value, value)
    whole = all(
        isinstance(side, (int, np.integer)) and not isinstance(side, bool)
        for side in pair
    )
    if len(pair) != 2 or not whole or min(pair) < 1:
        raise ValueError(
            f"Expected {type(transform).__name__}.{name} to be a side or "
            f"(height, width), of at least 1 pixel. Received: {value!r}"
        )
    return int(pair[0]), int(pair[1])


def _set_size(transform: Geometric) -> None:
    object.__setattr__(transform, "size", check_size(transform, "size"))
    check_always(transform)


def check_always(transform: Transform) -> None:
    """Raises ValueError unless all examples are transformed."""
    if transform.probability != 1.0:
        raise ValueError(
            f"Expected {type(transform).__name__}.probability to be 1, since "
            "all pictures of a batch have one size. Received: "
            f"{transform.probability!r}"
        )


def _check_room(transform: CenterCrop | RandomCrop, shape: Shape) -> None:
    size = both_sides(transform.size)
    for side, length in zip(size, shape[:2], strict=True):
        if isinstance(length, int) and length < side:
            raise ValueError(
                f"Expected pictures of at least {size} for "
                f"{type(transform).__name__}. Received: {tuple(shape[:2])}"
            )


def _float(length: Any) -> tf.Tensor:
    return tf.cast(length, tf.float32)


def _quotient(length: warp.Size, side: warp.Size) -> Any:
    """Length / side, as a number if both are known."""
    if isinstance(length, int) and isinstance(side, int):
        return length / side
    return _float(length) / _float(side)


@dataclasses.dataclass(frozen=True, repr=False)
class Resize(Geometric):
    """Stretches pictures to a size, as tf.image.resize does.

    Pixels are areas (half-pixel centres). Beyond the border lies the
    border's own value.

    Attributes:
      size: height and width of the result, or one number for both.
      interpolation: "bilinear" or "nearest". Masks always take "nearest".
      antialias: average over all that a smaller picture's pixel covers, as
        Pillow does.
      crop_to_aspect: first cut the centre out, as large as the result's
        aspect ratio allows, instead of changing the picture's.
    """

    random: ClassVar[bool] = False
    keeps_range: ClassVar[bool] = True
    separable = True

    size: int | tuple[int, int]
    interpolation: str = "bilinear"
    antialias: bool = True
    crop_to_aspect: bool = False

    def __post_init__(self) -> None:
        """Checks the fields."""
        super().__post_init__()
        _set_size(self)
        check_choice(self, "interpolation", warp.INTERPOLATIONS)
        check_bool(self, "antialias")
        check_bool(self, "crop_to_aspect")

    def output_shape(self, shape: Shape) -> Shape:
        """(*size, C)."""
        return *both_sides(self.size), shape[2]

    def most_stretch(self, size: Size2) -> Size2:
        """Input over output pixels."""
        if not self.antialias:
            return 1.0, 1.0
        return self._scale(size)

    def _scale(self, size: Size2) -> Any:
        rows, columns = map(_quotient, size, both_sides(self.size))
        if not self.crop_to_aspect:
            return rows, columns
        known = isinstance(rows, float) and isinstance(columns, float)
        least = min(rows, columns) if known else tf.minimum(rows, columns)
        return least, least

    def stretch(self, drawn: Drawn, size: Size2) -> Position:
        """Input over output pixels."""
        del drawn
        return self.most_stretch(size)

    def coordinates(
        self, position: Position, drawn: Drawn, size: Size2
    ) -> Position:
        """Scaled about the centre of the picture."""
        del drawn
        sides = both_sides(self.size)
        return tuple(
            (axis + 0.5) * scale + (_float(length) - scale * side) * 0.5 - 0.5
            for axis, length, side, scale in zip(
                position, size, sides, self._scale(size), strict=True
            )
        )


@dataclasses.dataclass(frozen=True, repr=False)
class CenterCrop(Geometric):
    """Cuts the centre out; of two middles, the upper left.

    Attributes:
      size: height and width of the result, or one number for both.
    """

    random: ClassVar[bool] = False
    keeps_range: ClassVar[bool] = True
    separable = True

    size: int | tuple[int, int]

    def __post_init__(self) -> None:
        """Checks the fields."""
        super().__post_init__()
        _set_size(self)

    def output_shape(self, shape: Shape) -> Shape:
        """(*size, C); the picture must not be smaller."""
        _check_room(self, shape)
        return *both_sides(self.size), shape[2]

    def coordinates(
        self, position: Position, drawn: Drawn, size: Size2
    ) -> Position:
        """Moved by whole pixels."""
        del drawn
        return tuple(
            axis + _float((length - side) // 2)
            for axis, length, side in zip(
                position, size, both_sides(self.size), strict=True
            )
        )


@dataclasses.dataclass(frozen=True, repr=False)
class RandomCrop(Geometric):
    """Cuts a part out, every place being as likely.

    Evaluation takes CenterCrop instead. Put a Pad before it for pictures
    that are not larger.

    Attributes:
      size: height and width of the result, or one number for both.
    """

    keeps_range: ClassVar[bool] = True
    separable = True

    size: int | tuple[int, int]

    def __post_init__(self) -> None:
        """Checks the fields."""
        super().__post_init__()
        _set_size(self)

    def output_shape(self, shape: Shape) -> Shape:
        """(*size, C); the picture must not be smaller."""
        _check_room(self, shape)
        return *both_sides(self.size), shape[2]

    def for_evaluation(self) -> Transform:
        """The centre."""
        return CenterCrop(self.size)

    def draw(self, rng: draws.Draws, shape: Shape) -> Drawn:
        """Draws "top" and "left", whole float32[B] in pixels."""
        uniform = rng.uniform(2)
        height, width = both_sides(self.size)
        return {
            "top": _place(uniform[:, 0], _float(shape[0] - height)),
            "left": _place(uniform[:, 1], _float(shape[1] - width)),
        }

    def coordinates(
        self, position: Position, drawn: Drawn, size: Size2
    ) -> Position:
        """Moved by whole pixels."""
        del size
        row, column = position
        return row + drawn["top"][:, None], column + drawn["left"][:, None]


def _place(uniform: tf.Tensor, room: tf.Tensor) -> tf.Tensor:
    """One of 0 … room, each as likely."""
    return tf.minimum(tf.floor(uniform * (room + 1)), room)


@dataclasses.dataclass(frozen=True, repr=False)
class RandomResizedCrop(Geometric):
    """Cuts a rectangle of random size out and stretches it to a size.

    Szegedy et al. 2015, "Going deeper with convolutions"; ranges as in
    torchvision. The rectangle has whole pixels. A side that would be longer
    than the picture's is cut to it, where torchvision tries again.

    Evaluation takes the largest centre of the result's aspect ratio.

    Attributes:
      size: height and width of the result, or one number for both.
      scale: area of the rectangle as a part of the picture's, (low, high)
        in (0, 1], or a number for always that.
      ratio: width over height, (low, high), uniform in its logarithm, or a
        number for always that.
      interpolation: "bilinear" or "nearest". Masks always take "nearest".
      antialias: as in Resize.
    """

    keeps_range: ClassVar[bool] = True
    separable = True

    size: int | tuple[int, int]
    scale: Interval = (0.08, 1.0)
    ratio: Interval = (3 / 4, 4 / 3)
    interpolation: str = "bilinear"
    antialias: bool = True

    def __post_init__(self) -> None:
        """Checks the fields."""
        super().__post_init__()
        _set_size(self)
        check_interval(self, "scale", 1e-6, 1.0)
        check_interval(self, "ratio", 1e-3, 1e3)
        check_choice(self, "interpolation", warp.INTERPOLATIONS)
        check_bool(self, "antialias")

    def output_shape(self, shape: Shape) -> Shape:
        """(*size, C)."""
        return *both_sides(self.size), shape[2]

    def for_evaluation(self) -> Transform:
        """The centre, of the result's aspect ratio."""
        return Resize(
            self.size, self.interpolation, self.antialias, crop_to_aspect=True
        )

    def draw(self, rng: draws.Draws, shape: Shape) -> Drawn:
        """Draws "top", "left", "height", "width", whole float32[B]."""
        uniform = rng.uniform(4)
        picture = (_float(shape[0]), _float(shape[1]))
        low, high = bounds(self.scale)
        area = (low + uniform[:, 0] * (high - low)) * picture[0] * picture[1]
        low, high = (float(np.log(bound)) for bound in bounds(self.ratio))
        # The square root of width over height.
        aspect = tf.exp((low + uniform[:, 1] * (high - low)) / 2)
        side = tf.sqrt(area)
        height = tf.clip_by_value(tf.round(side / aspect), 1.0, picture[0])
        width = tf.clip_by_value(tf.round(side * aspect), 1.0, picture[1])
        return {
            "top": _place(uniform[:, 2], picture[0] - height),
            "left": _place(uniform[:, 3], picture[1] - width),
            "height": height,
            "width": width,
        }

    def most_stretch(self, size: Size2) -> Size2:
        """That of the whole picture."""
        if not self.antialias:
            return 1.0, 1.0
        return tuple(map(_quotient, size, both_sides(self.size)))

    def stretch(self, drawn: Drawn, size: Size2) -> Position:
        """The rectangle's pixels over the result's."""
        del size
        if not self.antialias:
            return 1.0, 1.0
        return self._scale(drawn)

    def _scale(self, drawn: Drawn) -> Position:
        height, width = both_sides(self.size)
        return (
            drawn["height"][:, None] / height,
            drawn["width"][:, None] / width,
        )

    def coordinates(
        self, position: Position, drawn: Drawn, size: Size2
    ) -> Position:
        """Scaled to the rectangle."""
        del size
        firsts = (drawn["top"], drawn["left"])
        return tuple(
            (axis + 0.5) * scale - 0.5 + first[:, None]
            for axis, scale, first in zip(
                position, self._scale(drawn), firsts, strict=True
            )
        )


@dataclasses.dataclass(frozen=True, repr=False)
class Pad(Geometric):
    """Adds pixels around the pictures.

    Attributes:
      amount: pixels on every side, or (top, bottom, left, right).
      fill_mode: what is added, as in scipy.ndimage: "constant", "nearest",
        "reflect" or "wrap".
      fill_value: that of "constant", in the pictures' range of values;
        masks get 0.
    """

    random: ClassVar[bool] = False
    keeps_range: ClassVar[bool] = True
    separable = True

    amount: int | tuple[int, int, int, int]
    fill_mode: str = "constant"
    fill_value: float = 0.0

    def __post_init__(self) -> None:
        """Checks the fields."""
        super().__post_init__()
        given = self.amount
        sides = tuple(given) if isinstance(given, (tuple, list)) else (given,)
        sides = sides * 4 if len(sides) == 1 else sides
        whole = all(
            isinstance(side, (int, np.integer)) and not isinstance(side, bool)
            for side in sides
        )
        if len(sides) != 4 or not whole or min(sides) < 0:
            raise ValueError(
                "Expected Pad.amount to be pixels, or (top, bottom, left, "
                f"right), of at least 0. Received: {given!r}"
            )
        object.__setattr__(self, "amount", tuple(int(side) for side in sides))
        check_choice(self, "fill_mode", warp.FILL_MODES)
        check_in_range(self, "fill_value", -np.inf, np.inf)
        check_always(self)

    def output_shape(self, shape: Shape) -> Shape:
        """(H + top + bottom, W + left + right, C)."""
        sides: Any = self.amount  # four, since __post_init__
        top, bottom, left, right = sides
        return shape[0] + top + bottom, shape[1] + left + right, shape[2]

    def coordinates(
        self, position: Position, drawn: Drawn, size: Size2
    ) -> Position:
        """Moved by whole pixels."""
        del drawn, size
        sides: Any = self.amount
        top, _, left, _ = sides
        return position[0] - top, position[1] - left
