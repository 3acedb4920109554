"""The names of keras.preprocessing.image: change the import, keep the code.

    from mnistpipe.pipeline import image

    x = image.img_to_array(image.load_img("cat.png", target_size=(224, 224)))
    x = image.random_rotation(x, 20, row_axis=0, col_axis=1, channel_axis=2)

The functions keep their arguments, meanings and errors. They draw from
NumPy's global generator in Keras' order, so the same ``np.random.seed`` gives
the same images. Images are NumPy arrays of rank 3; axis 0 holds the channels
unless an argument says otherwise. Angles are in degrees, ``tx`` moves columns
and ``ty`` moves rows.

Differences from Keras' functions: coordinates are float32, so values agree
within 1e-3 of their range; ``fill_mode`` is nearest, constant, reflect or
wrap; ``order`` and ``interpolation_order`` are 0 or 1.

``load_img``, ``img_to_array``, ``array_to_img``, ``save_img`` and
``smart_resize`` are the functions of the installed Keras.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from PIL import ImageEnhance

from mnistpipe.pipeline import warp
from mnistpipe.pipeline.generator import (
    DataFrameIterator,
    DirectoryIterator,
    ImageDataGenerator,
    Iterator,
    NumpyArrayIterator,
    array_to_img,
    img_to_array,
    load_img,
)
from mnistpipe.pipeline.generator.arguments import choice, number
from mnistpipe.pipeline.generator.augmentation import (
    LegacyAugmentation,
    apply_one,
)
from mnistpipe.pipeline.generator.transformer import INTERPOLATIONS

save_img = keras.utils.save_img
smart_resize = keras.preprocessing.image.smart_resize

__all__ = [
    "DataFrameIterator",
    "DirectoryIterator",
    "ImageDataGenerator",
    "Iterator",
    "NumpyArrayIterator",
    "apply_affine_transform",
    "apply_brightness_shift",
    "apply_channel_shift",
    "array_to_img",
    "img_to_array",
    "load_img",
    "random_brightness",
    "random_channel_shift",
    "random_rotation",
    "random_shear",
    "random_shift",
    "random_zoom",
    "save_img",
    "smart_resize",
]


def random_rotation(
    x: np.ndarray,
    rg: float,
    row_axis: int = 1,
    col_axis: int = 2,
    channel_axis: int = 0,
    fill_mode: str = "nearest",
    cval: float = 0.0,
    interpolation_order: int = 1,
) -> np.ndarray:
    """Rotates an image by an angle in [−rg, rg] degrees."""
    return apply_affine_transform(
        x,
        theta=np.random.uniform(-rg, rg),
        row_axis=row_axis,
        col_axis=col_axis,
        channel_axis=channel_axis,
        fill_mode=fill_mode,
        cval=cval,
        order=interpolation_order,
    )


def random_shift(
    x: np.ndarray,
    wrg: float,
    hrg: float,
    row_axis: int = 1,
    col_axis: int = 2,
    channel_axis: int = 0,
    fill_mode: str = "nearest",
    cval: float = 0.0,
    interpolation_order: int = 1,
) -> np.ndarray:
    """Moves the columns by ± hrg of the height, the rows by ± wrg of the width.

    The axes are swapped, as in Keras' function.
    """
    return apply_affine_transform(
        x,
        tx=np.random.uniform(-hrg, hrg) * x.shape[row_axis],
        ty=np.random.uniform(-wrg, wrg) * x.shape[col_axis],
        row_axis=row_axis,
        col_axis=col_axis,
        channel_axis=channel_axis,
        fill_mode=fill_mode,
        cval=cval,
        order=interpolation_order,
    )


def random_shear(
    x: np.ndarray,
    intensity: float,
    row_axis: int = 1,
    col_axis: int = 2,
    channel_axis: int = 0,
    fill_mode: str = "nearest",
    cval: float = 0.0,
    interpolation_order: int = 1,
) -> np.ndarray:
    """Shears an image by an angle in [−intensity, intensity] degrees."""
    return apply_affine_transform(
        x,
        shear=np.random.uniform(-intensity, intensity),
        row_axis=row_axis,
        col_axis=col_axis,
        channel_axis=channel_axis,
        fill_mode=fill_mode,
        cval=cval,
        order=interpolation_order,
    )


def random_zoom(
    x: np.ndarray,
    zoom_range: Sequence[float],
    row_axis: int = 1,
    col_axis: int = 2,
    channel_axis: int = 0,
    fill_mode: str = "nearest",
    cval: float = 0.0,
    interpolation_order: int = 1,
) -> np.ndarray:
    """Zooms columns and rows by separate factors in (low, high).

    A factor above 1 shrinks the image.
    """
    if len(zoom_range) != 2:
        raise ValueError(
            "`zoom_range` should be a tuple or list of two floats. "
            f"Received: {zoom_range}"
        )
    zx, zy = 1, 1
    if zoom_range[0] != 1 or zoom_range[1] != 1:
        zx, zy = np.random.uniform(zoom_range[0], zoom_range[1], 2)
    return apply_affine_transform(
        x,
        zx=zx,
        zy=zy,
        row_axis=row_axis,
        col_axis=col_axis,
        channel_axis=channel_axis,
        fill_mode=fill_mode,
        cval=cval,
        order=interpolation_order,
    )


def apply_channel_shift(
    x: np.ndarray, intensity: float, channel_axis: int = 0
) -> np.ndarray:
    """Adds ``intensity`` and clips to the image's own range of values.

    Args:
      x: an image.
      intensity: in the image's unit.
      channel_axis: has no effect: all channels get the same shift.
    """
    del channel_axis
    return np.clip(np.asarray(x) + intensity, np.min(x), np.max(x))


def random_channel_shift(
    x: np.ndarray, intensity_range: float, channel_axis: int = 0
) -> np.ndarray:
    """Applies a channel shift in [−intensity_range, intensity_range]."""
    intensity = np.random.uniform(-intensity_range, intensity_range)
    return apply_channel_shift(x, intensity, channel_axis=channel_axis)


def apply_brightness_shift(
    x: np.ndarray, brightness: float, scale: bool = True
) -> np.ndarray:
    """Multiplies an image by a factor, in Pillow's arithmetic of uint8.

    Args:
      x: an image with 1, 3 or 4 channels in Keras' data format.
      brightness: the factor.
      scale: whether to stretch the image to [0, 255] first. An image with
        values outside [0, 255] is stretched in any case, and back if
        ``scale`` is False.

    Returns:
      Floats of Keras' floatx.
    """
    low, high = np.min(x), np.max(x)
    outside = low < 0 or high > 255
    picture = array_to_img(x, scale=bool(outside or scale))
    x = img_to_array(ImageEnhance.Brightness(picture).enhance(brightness))
    return x / 255 * (high - low) + low if outside and not scale else x


def random_brightness(
    x: np.ndarray, brightness_range: Sequence[float], scale: bool = True
) -> np.ndarray:
    """Applies a brightness factor in (low, high); see the function above."""
    if len(brightness_range) != 2:
        raise ValueError(
            "`brightness_range should be tuple or list of two floats. "
            f"Received: {brightness_range}"
        )
    u = np.random.uniform(brightness_range[0], brightness_range[1])
    return apply_brightness_shift(x, u, scale)


def apply_affine_transform(
    x: np.ndarray,
    theta: float = 0,
    tx: float = 0,
    ty: float = 0,
    shear: float = 0,
    zx: float = 1,
    zy: float = 1,
    row_axis: int = 1,
    col_axis: int = 2,
    channel_axis: int = 0,
    fill_mode: str = "nearest",
    cval: float = 0.0,
    order: int = 1,
) -> np.ndarray:
    """Rotates, shifts, shears and zooms an image with one resampling.

    Args:
      x: an image of rank 3.
      theta: rotation in degrees, counter-clockwise.
      tx: shift of the columns in pixels; the image moves by −tx.
      ty: shift of the rows in pixels; the image moves by −ty.
      shear: degrees.
      zx: factor of the columns; above 1 the image shrinks.
      zy: factor of the rows.
      row_axis: 0, 1 or 2.
      col_axis: 0, 1 or 2.
      channel_axis: 0 or 2.
      fill_mode: "nearest", "constant", "reflect" or "wrap".
      cval: the value that "constant" fills in.
      order: 0 (nearest neighbour) or 1 (bilinear).

    Returns:
      An image of the same shape and dtype; ``x`` itself if no parameter
      changes anything.
    """
    _check_axes(x, row_axis, col_axis, channel_axis)
    parameters = {"theta": theta, "tx": tx, "ty": ty, "shear": shear}
    parameters |= {"zx": zx, "zy": zy}
    if (theta, tx, ty, shear, zx, zy) == (0, 0, 0, 0, 1, 1):
        return x
    augmentation = LegacyAugmentation(
        fill_mode=choice("fill_mode", fill_mode, warp.FILL_MODES),
        cval=number("cval", cval),
        interpolation=INTERPOLATIONS[
            choice("order", order, tuple(INTERPOLATIONS))
        ],
        rounds=not np.issubdtype(x.dtype, np.floating),
    )
    axes = (row_axis, col_axis, channel_axis)
    moved = apply_one(augmentation, x.transpose(axes), parameters)
    return moved.astype(x.dtype).transpose(np.argsort(axes))


def _check_axes(
    x: Any, row_axis: int, col_axis: int, channel_axis: int
) -> None:
    """Raises ValueError, in Keras' words, unless axes and rank fit."""
    axes = {row_axis, col_axis, channel_axis}
    if len(axes) != 3:
        raise ValueError(
            "'row_axis', 'col_axis', and 'channel_axis' must be distinct"
        )
    if axes != {0, 1, 2}:
        raise ValueError(f"Invalid axis' indices: {axes - {0, 1, 2}}")
    if x.ndim != 3:
        raise ValueError("Input arrays must be multi-channel 2D images.")
    if channel_axis not in (0, 2):
        raise ValueError(
            "Channels are allowed and the first and last dimensions."
        )
