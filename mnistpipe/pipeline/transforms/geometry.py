"""Geometric transforms, and several of them in one resampling.

A geometric transform says where each output pixel lies in its input. Several
in a row are followed backwards, from the last output to the first input, and
the first input is read once: the result is that of one transform after the
other, without the blur of interpolating each time. What lies outside of a
transform's input is filled as that transform says.

Where the picture shrinks, each output pixel is a mean of the input pixels
under a triangle that is as wide as the shrinking, as in Pillow and in
tf.image.resize(antialias=True). If rows depend on rows only, and columns on
columns, the mean is taken along each axis and is that of these libraries;
otherwise it is a mean of bilinear samples within the triangle.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import cast

import tensorflow as tf

from mnistpipe.pipeline import warp
from mnistpipe.pipeline.transform import Drawn, Shape, Transform, applied

Size2 = tuple[warp.Size, warp.Size]
Position = tuple[tf.Tensor, tf.Tensor]  # rows and columns, float32[B or 1, n]


@dataclasses.dataclass(frozen=True, repr=False)
class Geometric(Transform):
    """A transform that is given by where its output pixels lie.

    A subclass overrides ``coordinates``; ``output_shape`` and ``stretch`` if
    it changes the size.
    """

    # Plain attributes, which a subclass may replace by fields of its own.
    fill_mode = "nearest"
    fill_value = 0.0
    # None leaves the interpolation to the others: only whole pixels move.
    # An annotation in place of the cast would make a field of this.
    interpolation = cast("str | None", None)
    # Whether rows depend on rows only, and columns on columns.
    separable = False

    def coordinates(
        self, position: Position, drawn: Drawn, size: Size2
    ) -> Position:
        """Where positions of the output lie in the input.

        Args:
          position: rows and columns, in pixels from the first output
            pixel's centre. If the transform is separable, there may be
            another number of rows than of columns.
          drawn: what ``draw`` returned.
          size: (H, W) of the input.

        Returns:
          Rows and columns, from the first input pixel's centre.
        """
        raise NotImplementedError(
            f"Expected {type(self).__name__} to define coordinates. "
            "Received: a subclass of Geometric without it"
        )

    def stretch(self, drawn: Drawn, size: Size2) -> Position:
        """How many input pixels an output pixel covers, for antialiasing.

        Returns:
          Two float32[B, 1] or numbers, for rows and columns.
        """
        del drawn, size
        return 1.0, 1.0

    def most_stretch(self, size: Size2) -> Size2:
        """The largest that ``stretch`` can be, as numbers if known."""
        del size
        return 1.0, 1.0

    def parts(self) -> tuple[Geometric, ...]:
        """The steps it consists of; the first takes what is drawn."""
        return (self,)

    @property
    def changes_size(self) -> bool:
        """Whether the output may have another size than the input."""
        return type(self).output_shape is not Transform.output_shape

    def apply(self, images: tf.Tensor, drawn: Drawn) -> tf.Tensor:
        """Moves pictures [B, H, W, C]."""
        return resample(images, [self], [drawn])

    def apply_to_mask(self, mask: tf.Tensor, drawn: Drawn) -> tf.Tensor:
        """Moves a mask by nearest neighbour; "constant" fills it with 0."""
        return resample(mask, [self], [drawn], mask=True)


def both_sides(size: int | tuple[int, int]) -> tuple[int, int]:
    """(height, width) of a size that may be given as one number."""
    return size if isinstance(size, tuple) else (size, size)


def groups(transforms: Sequence[Transform]) -> list[list[int]]:
    """The places of transforms, those in one list sharing a resampling.

    Neighbours share it if both are geometric and interpolate alike.
    """
    result: list[list[int]] = []
    kind, before = None, False
    for place, step in enumerate(transforms):
        geometric = isinstance(step, Geometric)
        own = step.interpolation if isinstance(step, Geometric) else None
        if geometric and before and (None in (kind, own) or kind == own):
            result[-1].append(place)
            kind = kind or own
        else:
            result.append([place])
            kind = own
        before = geometric
    return result


def resample(
    images: tf.Tensor,
    steps: Sequence[Geometric],
    drawn: Sequence[Drawn],
    *,
    mask: bool = False,
) -> tf.Tensor:
    """Follows steps backwards and reads the pictures once.

    Args:
      images: [B, H, W, C], any dtype.
      steps: in the order in which they are applied.
      drawn: what each step drew.
      mask: whether this is a mask, read by nearest neighbour and filled
        with 0.

    Returns:
      [B, H', W', C], float32; a mask in its own dtype.
    """
    pairs = [
        (part, own if number == 0 else {})
        for step, own in zip(steps, drawn, strict=True)
        for number, part in enumerate(step.parts())
    ]
    shapes = [warp.sizes(images)]
    for step, _ in pairs:
        shapes.append(step.output_shape(shapes[-1]))
    kinds = {step.interpolation for step, _ in pairs} - {None}
    nearest = mask or kinds in (set(), {"nearest"})
    separable = all(step.separable for step, _ in pairs)
    read = _by_axis if separable else _by_pixel
    return read(images, _Chain(pairs, shapes, mask), nearest)


@dataclasses.dataclass(frozen=True)
class _Chain:
    """Steps with what each drew, and the shape before each of them."""

    pairs: list[tuple[Geometric, Drawn]]
    shapes: list[Shape]
    mask: bool

    def follow(self, position: Position) -> tuple[Position, list]:
        """From the output back to the first input.

        Returns:
          Positions in the input; and for every step that fills with a
          constant, from the last to the first, whether rows and columns
          are inside of its input, and the constant.
        """
        fills = []
        for (step, drawn), shape in zip(
            reversed(self.pairs), reversed(self.shapes[:-1]), strict=True
        ):
            size = shape[:2]
            position = _where_applied(step, drawn, position, size)
            if step.fill_mode == "constant":
                inside = tuple(map(warp.inside, position, size))
                fills.append((*inside, 0.0 if self.mask else step.fill_value))
            mode = step.fill_mode if step.fill_mode != "constant" else "nearest"
            position = tuple(
                warp.fold(axis, length, mode)
                for axis, length in zip(position, size, strict=True)
            )
        return position, fills

    def stretch(self) -> Position:
        """Of all steps together, at least 1 input pixel."""
        rows, columns = 1.0, 1.0
        for (step, drawn), shape in zip(self.pairs, self.shapes, strict=False):
            own = step.stretch(drawn, shape[:2])
            rows, columns = rows * own[0], columns * own[1]
        return tf.maximum(rows, 1.0), tf.maximum(columns, 1.0)

    def most_stretch(self) -> Size2:
        """The largest stretch for each axis, as numbers if known."""
        result = []
        for axis in (0, 1):
            most = 1.0
            for (step, _), shape in zip(self.pairs, self.shapes, strict=False):
                most = most * step.most_stretch(shape[:2])[axis]
            known = isinstance(most, (int, float))
            result.append(max(most, 1.0) if known else tf.maximum(most, 1.0))
        return result[0], result[1]

    def windows(self) -> Position:
        """The edges of what may be read, float32[B or 1, 2] per axis."""
        height, width, _ = self.shapes[-1]
        edges = (_edges(height), _edges(width))
        for (step, drawn), shape in zip(
            reversed(self.pairs), reversed(self.shapes[:-1]), strict=True
        ):
            moved = _where_applied(step, drawn, edges, shape[:2])
            edges = tuple(
                _edges(length)
                if step.fill_mode in ("reflect", "wrap")
                else _sorted(axis, length)
                for axis, length in zip(moved, shape[:2], strict=True)
            )
        return edges


def _edges(length: warp.Size) -> tf.Tensor:
    return tf.stack([-0.5, tf.cast(length, tf.float32) - 0.5])[None]


def _sorted(edges: tf.Tensor, length: warp.Size) -> tf.Tensor:
    low = tf.reduce_min(edges, axis=1, keepdims=True)
    high = tf.reduce_max(edges, axis=1, keepdims=True)
    last = tf.cast(length, tf.float32) - 0.5
    return tf.clip_by_value(tf.concat([low, high], axis=1), -0.5, last)


def _where_applied(
    step: Geometric, drawn: Drawn, position: Position, size: Size2
) -> Position:
    moved = step.coordinates(position, drawn, size)
    chosen = applied(drawn)
    if chosen is None:
        return moved
    return tuple(
        tf.where(chosen[:, None], new, old)
        for new, old in zip(moved, position, strict=True)
    )


def _pixels(length: warp.Size) -> tf.Tensor:
    return tf.cast(tf.range(length), tf.float32)[None]


def _by_axis(images: tf.Tensor, chain: _Chain, nearest: bool) -> tf.Tensor:
    """Reads rows, then columns."""
    height, width, _ = chain.shapes[-1]
    position, fills = chain.follow((_pixels(height), _pixels(width)))
    if nearest:
        for axis in (0, 1):
            images = warp.take_nearest(images, axis, position[axis])
    else:
        stretch, most = chain.stretch(), chain.most_stretch()
        windows = chain.windows()
        for axis in (0, 1):
            images = warp.average(
                images,
                axis,
                position[axis],
                stretch[axis],
                most[axis],
                windows[axis],
            )
    images = images if chain.mask else tf.cast(images, tf.float32)
    for rows, columns, value in reversed(fills):
        inside = rows[:, :, None, None] & columns[:, None, :, None]
        images = tf.where(inside, images, tf.cast(value, images.dtype))
    return images


def _by_pixel(images: tf.Tensor, chain: _Chain, nearest: bool) -> tf.Tensor:
    """Reads every output pixel for itself."""
    height, width, _ = chain.shapes[-1]
    pixel = tf.range(height * width)[None]
    row = tf.cast(pixel // width, tf.float32)
    column = tf.cast(pixel % width, tf.float32)

    def read(down: tf.Tensor | float, across: tf.Tensor | float) -> tf.Tensor:
        position, fills = chain.follow((row + down, column + across))
        result = warp.sample(
            images,
            *position,
            interpolation="nearest" if nearest else "bilinear",
            output_size=(height, width),
        )
        result = result if chain.mask else tf.cast(result, tf.float32)
        for rows, columns, value in reversed(fills):
            inside = tf.reshape(rows & columns, [-1, height, width, 1])
            result = tf.where(inside, result, tf.cast(value, result.dtype))
        return result

    most = chain.most_stretch()
    if nearest or most == (1.0, 1.0):
        return read(0.0, 0.0)
    counts = [warp.ceiling(side) for side in most]
    if not all(isinstance(count, int) for count in counts):
        raise ValueError(
            "Expected pictures of a known height and width, to shrink and "
            f"turn them in one resampling. Received: {images.shape}"
        )
    offsets = [
        _offsets(c, s) for c, s in zip(counts, chain.stretch(), strict=True)
    ]
    result = None
    for (down, share), (across, other) in itertools.product(*offsets):
        term = (share * other) * read(down, across)
        result = term if result is None else result + term
    return result


def _offsets(count: int, stretch: tf.Tensor) -> list[tuple[tf.Tensor, float]]:
    """Samples under a triangle, in output pixels, and their weights.

    A bilinear sample is itself a triangle of one input pixel. The triangle
    of samples is so much narrower than the output pixel's that the
    variances of both add up to the variance of the wanted one.
    """
    width = tf.sqrt(tf.maximum(1 - 1 / tf.square(stretch), 0.0))
    return [
        (width * (number / count), (count - abs(number)) / count**2)
        for number in range(1 - count, count)
    ]
