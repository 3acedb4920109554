"""Resampling pictures at given coordinates: one gather, SciPy's semantics.

Pictures are ``[B, H, W, C]`` of any dtype, with less than 2**31 pixels in a
batch; coordinates are float32 in pixels, (0, 0) being the centre of the first
one. Every operation compiles with XLA and follows
``scipy.ndimage.map_coordinates`` for its modes nearest, constant, reflect and
wrap and its orders 0 and 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from mnistpipe.pipeline import ops

FILL_MODES = ("nearest", "constant", "reflect", "wrap")
INTERPOLATIONS = ("bilinear", "nearest")

Size: TypeAlias = int | tf.Tensor

# Of a weight in ``average``; with a uint8 value's 8 bits, sums are exact.
_WEIGHT_BITS = 24


def sizes(images: tf.Tensor) -> tuple[Size, Size, Size]:
    """(H, W, C) of ``[B, H, W, C]``, as integers where they are known."""
    if ops.is_jax(images):
        return images.shape[1:4]
    static, dynamic = images.shape, tf.shape(images)
    height, width, channels = (
        dynamic[axis] if static[axis] is None else static[axis]
        for axis in (1, 2, 3)
    )
    return height, width, channels


def _float(xp: Any, size: Size) -> tf.Tensor:
    return xp.cast(size, tf.float32)


def centred_grid(
    height: Size, width: Size, xp: Any = tf
) -> tuple[tf.Tensor, tf.Tensor]:
    """Row and column of each pixel from the picture's centre.

    Counting from the centre keeps a turned corner as exact as float32 can.

    Args:
      height: of the picture.
      width: of the picture.
      xp: the operations, from ``ops.of``.

    Returns:
      Two float32[H·W], row-major.
    """
    pixel = xp.range(height * width)
    row = xp.cast(pixel // width, tf.float32) - (_float(xp, height) - 1) / 2
    column = xp.cast(pixel % width, tf.float32) - (_float(xp, width) - 1) / 2
    return row, column


def affine_coordinates(
    matrix: tf.Tensor, height: Size, width: Size
) -> tuple[tf.Tensor, tf.Tensor]:
    """Where each output pixel is sampled.

    Args:
      matrix: float32[B, 2, 3], output → input, acting on (row, column, 1)
        as counted from the picture's centre.
      height: of the picture.
      width: of the picture.

    Returns:
      Row and column in the input, float32[B, H·W] each, counted from the
      first pixel.
    """
    xp = ops.of(matrix)
    row, column = centred_grid(height, width, xp)

    def along(axis: int, size: Size) -> tf.Tensor:
        by_row, by_column, shift = (
            matrix[:, axis, term, None] for term in range(3)
        )
        centre = (_float(xp, size) - 1) / 2
        return by_row * row + by_column * column + (shift + centre)

    return along(0, height), along(1, width)


def _modulo(x: tf.Tensor, period: tf.Tensor) -> tf.Tensor:
    # Twice as fast under XLA as floormod. It can miss [0, period) by a
    # rounding error; every caller clamps.
    xp = ops.of(x)
    return x - period * xp.floor(x * (1 / period))


def fold(coordinate: tf.Tensor, size: Size, fill_mode: str) -> tf.Tensor:
    """Maps a coordinate to where SciPy's mode finds the same value.

    The neighbours of the result, clamped to the picture, are the right
    ones in every mode.
    """
    xp = ops.of(coordinate)
    last = _float(xp, size) - 1
    if fill_mode == "nearest":
        return xp.clip_by_value(coordinate, 0.0, last)
    if fill_mode == "reflect":  # d c b a | a b c d | d c b a
        period = 2 * _float(xp, size)
        from_edge = _modulo(coordinate + 0.5, period)
        return xp.minimum(from_edge, period - from_edge) - 0.5
    if fill_mode == "wrap":  # period n - 1: SciPy's first and last coincide
        wrapped = _modulo(coordinate, xp.maximum(last, 1.0))
        return xp.where(inside(coordinate, size), coordinate, wrapped)
    return coordinate  # constant: what lies outside is replaced afterwards


def inside(coordinate: tf.Tensor, size: Size) -> tf.Tensor:
    """Whether a coordinate lies between the first and the last pixel."""
    xp = ops.of(coordinate)
    return (coordinate >= 0) & (coordinate <= _float(xp, size) - 1)


def sample(
    images: tf.Tensor,
    row: tf.Tensor,
    column: tf.Tensor,
    *,
    fill_mode: str = "nearest",
    fill_value: float = 0.0,
    interpolation: str = "bilinear",
    output_size: tuple[Size, Size] | None = None,
) -> tf.Tensor:
    """Reads pictures at coordinates.

    Args:
      images: [B, H, W, C], any dtype.
      row: float32[B or 1, H'·W'], in pixels.
      column: float32[B or 1, H'·W'], in pixels.
      fill_mode: one of FILL_MODES, what lies outside of the picture.
      fill_value: that of "constant".
      interpolation: "bilinear" (SciPy's order 1) or "nearest" (order 0).
      output_size: (H', W'), the pictures' own if None.

    Returns:
      [B, H', W', C], float32 if bilinear, of the pictures' dtype if nearest.

    Raises:
      ValueError: 2**31 pixels or more.
    """
    xp = ops.of(images)
    height, width, channels = sizes(images)
    pixels = tf.TensorShape(images.shape[:3]).num_elements()
    if pixels is not None and pixels >= 2**31:
        raise ValueError(
            "Expected less than 2**31 pixels in a batch, which int32 can "
            f"count. Received: {images.shape}"
        )
    # One flat axis rather than a batched gather: on 28×28 a third faster in
    # TensorFlow 2.21, and a third slower in 2.15.
    flat = xp.reshape(images, [-1, channels])
    first = xp.range(xp.shape(images)[0])[:, None] * (height * width)
    upper, lower, down = _neighbours(row, height, fill_mode)
    left, right, across = _neighbours(column, width, fill_mode)
    upper, lower = first + upper * width, first + lower * width

    def at(line: tf.Tensor, column: tf.Tensor) -> tf.Tensor:
        return xp.gather(flat, line + column)

    if interpolation == "nearest":
        result = at(
            xp.where(down < 0.5, upper, lower),
            xp.where(across < 0.5, left, right),
        )
    else:
        upper_left, upper_right, lower_left, lower_right = (
            at(u, v) for u in (upper, lower) for v in (left, right)
        )
        result = _bilinear(
            upper_left,
            upper_right,
            lower_left,
            lower_right,
            down[..., None],
            across[..., None],
        )
    if fill_mode == "constant":
        within = inside(row, height) & inside(column, width)
        fill = xp.cast(np.float64(fill_value), result.dtype)
        result = xp.where(within[..., None], result, fill)
    return xp.reshape(result, [-1, *(output_size or (height, width)), channels])


def _neighbours(
    coordinate: tf.Tensor, size: Size, fill_mode: str
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The pixels before and after a coordinate, and the way between them.

    Returns:
      int32, int32 in [0, size), and float32 in [0, 1).
    """
    xp = ops.of(coordinate)
    folded = fold(coordinate, size, fill_mode)
    before = xp.floor(folded)
    index = xp.cast(before, tf.int32)
    return (
        xp.clip_by_value(index, 0, size - 1),
        xp.clip_by_value(index + 1, 0, size - 1),
        folded - before,
    )


def _bilinear(
    upper_left: tf.Tensor,
    upper_right: tf.Tensor,
    lower_left: tf.Tensor,
    lower_right: tf.Tensor,
    down: tf.Tensor,
    across: tf.Tensor,
) -> tf.Tensor:
    xp = ops.of(upper_left)
    upper_left, upper_right, lower_left, lower_right = (
        xp.cast(corner, tf.float32)
        for corner in (upper_left, upper_right, lower_left, lower_right)
    )
    above = upper_left + across * (upper_right - upper_left)
    below = lower_left + across * (lower_right - lower_left)
    return above + down * (below - above)


def affine(
    images: tf.Tensor,
    matrix: tf.Tensor,
    *,
    fill_mode: str = "nearest",
    fill_value: float = 0.0,
    interpolation: str = "bilinear",
) -> tf.Tensor:
    """Moves each picture by its own affine map, in one resampling.

    Args:
      images: [B, H, W, C], any dtype.
      matrix: float32[B, 2, 3], output pixel → input pixel, acting on (row,
        column, 1) as counted from the picture's centre.
      fill_mode: as in ``sample``.
      fill_value: as in ``sample``.
      interpolation: as in ``sample``.

    Returns:
      [B, H, W, C], float32 if bilinear, of the pictures' dtype if nearest.
    """
    height, width, channels = sizes(images)
    in_jax = ops.is_jax(images) and channels > 1
    if in_jax:
        # JAX rounds the coordinates of several channels in another order than
        # TensorFlow, and those of pictures of one channel in the same order.
        xp = ops.of(images)
        images = xp.reshape(
            xp.transpose(images, (0, 3, 1, 2)), (-1, height, width, 1)
        )
        matrix = xp.repeat(matrix, channels, axis=0)
    row, column = affine_coordinates(matrix, height, width)
    moved = sample(
        images,
        row,
        column,
        fill_mode=fill_mode,
        fill_value=fill_value,
        interpolation=interpolation,
    )
    if in_jax:
        moved = xp.reshape(moved, (-1, channels, height, width))
        moved = xp.transpose(moved, (0, 2, 3, 1))
    return moved


def take_nearest(images: tf.Tensor, axis: int, centre: tf.Tensor) -> tf.Tensor:
    """Reads the nearest rows (axis 0) or columns (axis 1) of pictures.

    Args:
      images: [B, H, W, C], any dtype.
      axis: 0 or 1.
      centre: float32[B or 1, n], in pixels.

    Returns:
      The same with n rows or columns, its dtype kept.
    """
    # As ``sample`` does: half way goes to the pixel after.
    before = tf.floor(centre)
    index = tf.where(centre - before < 0.5, before, before + 1)
    last = sizes(images)[axis] - 1
    index = tf.clip_by_value(tf.cast(index, tf.int32), 0, last)
    return _take(images, index, axis)


def _take(images: tf.Tensor, index: tf.Tensor, axis: int) -> tf.Tensor:
    """Rows or columns of each picture, by int32[B or 1, n]."""
    if index.shape[0] == 1:
        return tf.gather(images, index[0], axis=axis + 1)
    # Flat, since a gather with batch axes is slower.
    height, width, channels = sizes(images)
    batch = tf.range(tf.shape(images)[0])[:, None]
    count = tf.shape(index)[1] if index.shape[1] is None else index.shape[1]
    if axis == 0:
        flat = tf.reshape(images, [-1, width, channels])
        rows = tf.gather(flat, batch * height + index)
        return tf.reshape(rows, [-1, count, width, channels])
    return tf.gather(images, index, axis=2, batch_dims=1)


def average(
    images: tf.Tensor,
    axis: int,
    centre: tf.Tensor,
    stretch: tf.Tensor,
    most: Size | float,
    window: tf.Tensor,
) -> tf.Tensor:
    """Means along an axis under triangles, 2·stretch pixels wide.

    Args:
      images: [B, H, W, C], any dtype.
      axis: 0 for rows, 1 for columns.
      centre: float32[B or 1, n], in pixels.
      stretch: half the triangles' width, at least 1 (then it interpolates
        linearly), float32[B, 1] or a scalar.
      most: the largest stretch, as a number if known.
      window: float32[B or 1, 2], the edges of what may be read.

    Returns:
      float32, with n rows or columns.
    """
    length = sizes(images)[axis]
    first = tf.floor(centre - stretch) + 1

    def weight(tap: tf.Tensor | int) -> tuple[tf.Tensor, tf.Tensor]:
        pixel = first + tf.cast(tap, tf.float32)
        distance = tf.abs(pixel - centre)
        inside = (pixel > window[:, :1]) & (pixel < window[:, 1:])
        used = (inside | (distance <= 0.5)) & (pixel >= 0)
        used &= pixel <= tf.cast(length, tf.float32) - 1
        height = tf.maximum(1 - distance / stretch, 0.0)
        return pixel, tf.where(used, height, 0.0)

    taps = ceiling(2 * most)
    total = _sum(taps, lambda tap: weight(tap)[1])

    def share(tap: tf.Tensor | int) -> tf.Tensor:
        pixel, own = weight(tap)
        index = tf.clip_by_value(tf.cast(pixel, tf.int32), 0, length - 1)
        # Weights on a grid, and products in float64, which adds them almost
        # without rounding: the bits do not depend on the batch.
        own = tf.round(tf.cast(own / total, tf.float64) * 2.0**_WEIGHT_BITS)
        own = own * 2.0**-_WEIGHT_BITS
        own = own[:, :, None, None] if axis == 0 else own[:, None, :, None]
        return own * tf.cast(_take(images, index, axis), tf.float64)

    return tf.cast(_sum(taps, share), tf.float32)


def ceiling(number: Size | float) -> Size:
    """The least whole number that is not below one, but for rounding."""
    if isinstance(number, (int, float)):
        return math.ceil(number - 1e-6)
    return tf.cast(tf.math.ceil(number - 1e-6), tf.int32)


def _sum(
    count: Size,
    term: Callable[[tf.Tensor | int], tf.Tensor],
) -> tf.Tensor:
    """The sum of term(0) … term(count − 1), one after the other.

    In this order, so that the bits do not depend on the batch.
    """
    result = term(0)
    if isinstance(count, int):
        for number in range(1, count):
            result = result + term(number)
        return result
    return tf.while_loop(
        lambda number, _: number < count,
        lambda number, total: (number + 1, total + term(number)),
        (tf.constant(1), result),
        shape_invariants=(tf.TensorShape([]), result.shape),
    )[1]
