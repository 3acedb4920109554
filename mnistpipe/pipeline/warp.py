"""Resampling pictures at given coordinates: one gather, SciPy's semantics.

Pictures are ``[B, H, W, C]`` of any dtype, with less than 2**31 pixels in a
batch; coordinates are float32 in pixels, (0, 0) being the centre of the first
one. Every operation compiles with XLA and follows
``scipy.ndimage.map_coordinates`` for its modes nearest, constant, reflect and
wrap and its orders 0 and 1.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

FILL_MODES = ("nearest", "constant", "reflect", "wrap")
INTERPOLATIONS = ("bilinear", "nearest")

Size = int | tf.Tensor


def sizes(images: tf.Tensor) -> tuple[Size, Size, Size]:
    """(H, W, C) of ``[B, H, W, C]``, as integers where they are known."""
    static, dynamic = images.shape, tf.shape(images)
    return tuple(
        dynamic[axis] if static[axis] is None else static[axis]
        for axis in (1, 2, 3)
    )


def _float(size: Size) -> tf.Tensor:
    return tf.cast(size, tf.float32)


def centred_grid(height: Size, width: Size) -> tuple[tf.Tensor, tf.Tensor]:
    """Row and column of each pixel from the picture's centre.

    Counting from the centre keeps a turned corner as exact as float32 can.

    Returns:
      Two float32[H·W], row-major.
    """
    pixel = tf.range(height * width)
    row = tf.cast(pixel // width, tf.float32) - (_float(height) - 1) / 2
    column = tf.cast(pixel % width, tf.float32) - (_float(width) - 1) / 2
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
    row, column = centred_grid(height, width)

    def along(axis: int, size: Size) -> tf.Tensor:
        by_row, by_column, shift = (
            matrix[:, axis, term, None] for term in range(3)
        )
        centre = (_float(size) - 1) / 2
        return by_row * row + by_column * column + (shift + centre)

    return along(0, height), along(1, width)


def _modulo(x: tf.Tensor, period: tf.Tensor) -> tf.Tensor:
    # Twice as fast under XLA as floormod. It can miss [0, period) by a
    # rounding error; every caller clamps.
    return x - period * tf.floor(x * (1 / period))


def _fold(coordinate: tf.Tensor, size: Size, fill_mode: str) -> tf.Tensor:
    """Maps a coordinate to where SciPy's mode finds the same value.

    The neighbours of the result, clamped to the picture, are the right
    ones in every mode.
    """
    last = _float(size) - 1
    if fill_mode == "nearest":
        return tf.clip_by_value(coordinate, 0.0, last)
    if fill_mode == "reflect":  # d c b a | a b c d | d c b a
        period = 2 * _float(size)
        from_edge = _modulo(coordinate + 0.5, period)
        return tf.minimum(from_edge, period - from_edge) - 0.5
    if fill_mode == "wrap":  # period n - 1: SciPy's first and last coincide
        wrapped = _modulo(coordinate, tf.maximum(last, 1.0))
        return tf.where(_inside(coordinate, size), coordinate, wrapped)
    return coordinate  # constant: what lies outside is replaced afterwards


def _inside(coordinate: tf.Tensor, size: Size) -> tf.Tensor:
    return (coordinate >= 0) & (coordinate <= _float(size) - 1)


def sample(
    images: tf.Tensor,
    row: tf.Tensor,
    column: tf.Tensor,
    *,
    fill_mode: str = "nearest",
    fill_value: float = 0.0,
    interpolation: str = "bilinear",
) -> tf.Tensor:
    """Reads pictures at coordinates.

    Args:
      images: [B, H, W, C], any dtype.
      row: float32[B, H·W], in pixels.
      column: float32[B, H·W], in pixels.
      fill_mode: one of FILL_MODES, what lies outside of the picture.
      fill_value: that of "constant".
      interpolation: "bilinear" (SciPy's order 1) or "nearest" (order 0).

    Returns:
      [B, H, W, C], float32 if bilinear, of the pictures' dtype if nearest.

    Raises:
      ValueError: 2**31 pixels or more.
    """
    height, width, channels = sizes(images)
    pixels = images.shape[:3].num_elements()
    if pixels is not None and pixels >= 2**31:
        raise ValueError(
            "Expected less than 2**31 pixels in a batch, which int32 can "
            f"count. Received: {images.shape}"
        )
    # One flat axis rather than a batched gather: on 28×28 a third faster in
    # TensorFlow 2.21, and a third slower in 2.15.
    flat = tf.reshape(images, [-1, channels])
    first = tf.range(tf.shape(images)[0])[:, None] * (height * width)
    upper, lower, down = _neighbours(row, height, fill_mode)
    left, right, across = _neighbours(column, width, fill_mode)
    upper, lower = first + upper * width, first + lower * width

    def at(line: tf.Tensor, column: tf.Tensor) -> tf.Tensor:
        return tf.gather(flat, line + column)

    if interpolation == "nearest":
        result = at(
            tf.where(down < 0.5, upper, lower),
            tf.where(across < 0.5, left, right),
        )
    else:
        corners = (at(u, v) for u in (upper, lower) for v in (left, right))
        result = _bilinear(*corners, down[..., None], across[..., None])
    if fill_mode == "constant":
        inside = _inside(row, height) & _inside(column, width)
        fill = tf.cast(np.float64(fill_value), result.dtype)
        result = tf.where(inside[..., None], result, fill)
    return tf.reshape(result, [-1, height, width, channels])


def _neighbours(
    coordinate: tf.Tensor, size: Size, fill_mode: str
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The pixels before and after a coordinate, and the way between them.

    Returns:
      int32, int32 in [0, size), and float32 in [0, 1).
    """
    folded = _fold(coordinate, size, fill_mode)
    before = tf.floor(folded)
    index = tf.cast(before, tf.int32)
    return (
        tf.clip_by_value(index, 0, size - 1),
        tf.clip_by_value(index + 1, 0, size - 1),
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
    upper_left, upper_right, lower_left, lower_right = (
        tf.cast(corner, tf.float32)
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
    height, width, _ = sizes(images)
    row, column = affine_coordinates(matrix, height, width)
    return sample(
        images,
        row,
        column,
        fill_mode=fill_mode,
        fill_value=fill_value,
        interpolation=interpolation,
    )
