"""Pictures of what an augmentation does: a grid of examples × draws.

    from mnistpipe import pipeline
    pipeline.preview(augment, images, seed=1)

returns a matplotlib figure, which a notebook shows. ``mnistpipe.pipeline``
loads this module lazily, since the core needs no matplotlib. The extra
``preview`` brings matplotlib.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from mnistpipe.pipeline import Compose, example_keys

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Parameters whose unit is fixed; other parameters are printed without a unit.
_UNITS = {
    "rotation": "°",
    "shear": "°",
    "shift_x": " px",
    "shift_y": " px",
    "zoom_x": "×",
    "zoom_y": "×",
}
_NEUTRAL = (0.0, 1.0)  # no shift, no zoom, not flipped
_INCHES = (0.7, 1.6)  # the smallest and the largest side of a cell
_LINE = 0.12  # inches, of a line of text


@dataclasses.dataclass(frozen=True, eq=False)
class Grid:
    """Pictures in rows and columns: a row per example.

    Attributes:
      pictures: float32 [rows, columns, H, W, 1 or 3], in [0, 1].
      masks: [rows, columns, H', W'] of whole numbers, or None.
      captions: the text below each picture; a list of rows, or empty.
      titles: the text above the columns, by the first column it belongs to.
    """

    pictures: np.ndarray
    masks: np.ndarray | None
    captions: Sequence[Sequence[str]]
    titles: Mapping[int, str]


def preview(
    augment: Any,
    images: Any,
    keys: Any = None,
    *,
    seed: int = 0,
    columns: int = 8,
    masks: Any = None,
    captions: bool = False,
    names: Sequence[str] = (),
    value_range: tuple[float, float] | None = None,
) -> Figure:
    """Draws examples × draws, the untouched example in the first column.

    The arguments are those of `grid`; ``names`` are written left of the rows.

    Returns:
      A matplotlib figure that belongs to no window; ``figure.savefig`` writes
      a file.

    Raises:
      ImportError: matplotlib is not installed.
      ValueError: an argument has a wrong shape or range.
    """
    shown = grid(
        augment,
        images,
        keys,
        seed=seed,
        columns=columns,
        masks=masks,
        captions=captions,
        value_range=value_range,
    )
    return figure(shown, names)


def grid(
    augment: Any,
    images: Any,
    keys: Any = None,
    *,
    seed: int = 0,
    index: Any = None,
    columns: int = 8,
    masks: Any = None,
    captions: bool = False,
    value_range: tuple[float, float] | None = None,
) -> Grid:
    """Computes the pictures of a preview.

    Args:
      augment: a Compose, a transform or a list of transforms; or several by
        title, which are shown side by side and draw by the same keys.
      images: [N, H, W, C], uint8 or float; C is 1 or 3.
      keys: uint32[N, columns, 2], or uint32[N, 2] for one column. Without
        keys, column k has the keys of epoch k under ``seed``, so it shows
        what a feed with that seed shows in epoch k.
      seed: of the keys, in [0, 2**63).
      index: int64[N], the places of the examples in their data set, for the
        keys; 0, 1, 2, … by default.
      columns: number of draws, at least 1.
      masks: [N, H, W] or [N, H, W, 1] of whole numbers. They are drawn as
        contours around each number but 0.
      captions: write the drawn parameters below the pictures.
      value_range: the values shown as black and as white. By default (0, 1)
        or (0, 255) if all untouched pictures lie in it, else their least and
        greatest value. The untouched pictures are what
        ``augment.deterministic()`` returns.

    Raises:
      ValueError: an argument has a wrong shape or range.
    """
    given = augment if isinstance(augment, Mapping) else {"": augment}
    composes = {title: Compose.of(one) for title, one in given.items()}
    images = _images(images)
    keys = _keys(keys, seed, index, len(images), columns)
    masks = None if masks is None else _masks(masks, len(images))
    bounds = value_range
    pictures: list[np.ndarray] = []
    moved: list[Any] = []
    texts, titles = [], {}
    height, width, channels = images.shape[1:]
    _check_sizes(composes, (height, width, channels))
    for title, compose in composes.items():
        # The deterministic part changes the size as the compose does.
        plain, plain_masks, _ = _draw(
            compose.deterministic(), images, keys[:, :1], masks
        )
        bounds = bounds or _value_range(plain)
        if not pictures:
            pictures.append(_to_unit(plain, bounds))
            moved.append(plain_masks)
            texts.append([[""]] * len(images))
        titles[sum(block.shape[1] for block in pictures)] = title
        shown, mask, words = _draw(compose, images, keys, masks)
        pictures.append(_to_unit(shown, bounds))
        moved.append(mask)
        texts.append(words)
    rows = zip(*texts, strict=True)
    return Grid(
        np.concatenate(pictures, axis=1),
        None if masks is None else np.concatenate(moved, axis=1)[..., 0],
        [list(itertools.chain(*blocks)) for blocks in rows] if captions else [],
        titles,
    )


def _check_sizes(
    composes: Mapping[str, Compose], shape: tuple[int, int, int]
) -> None:
    sizes = {
        title: compose.output_shape(shape)[:2]
        for title, compose in composes.items()
    }
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{title!r} {size}" for title, size in sizes.items())
        raise ValueError(
            "Expected composes that return pictures of one size (H, W). "
            f"Received: {listed}"
        )


def _draw(
    compose: Compose,
    images: np.ndarray,
    keys: np.ndarray,
    masks: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray | None, list[list[str]]]:
    """Draws each example once per column, in one batch of all columns.

    The batch is not compiled: for so few pictures, XLA would take longer to
    compile the program than TensorFlow takes to run it.

    Returns:
      Pictures [N, columns, H, W, C], masks likewise, and captions.
    """
    count, columns, _ = keys.shape
    flat = tf.constant(keys.reshape(-1, 2))

    def batch(examples: np.ndarray) -> tf.Tensor:
        return tf.repeat(tf.constant(examples), columns, axis=0)

    def grouped(result: tf.Tensor) -> np.ndarray:
        return result.numpy().reshape(count, columns, *result.shape[1:])

    drawn = compose.draw(flat, images.shape[1:])
    shown = grouped(compose.apply(batch(images), drawn))
    texts = _captions(drawn, count * columns)
    words = [texts[row * columns :][:columns] for row in range(count)]
    if masks is None:
        return shown, None, words
    drawn = compose.draw(flat, masks.shape[2:])
    moved = grouped(compose.apply_to_mask(batch(masks[:, 0]), drawn))
    return shown, moved, words


def figure(shown: Grid, names: Sequence[str] = ()) -> Figure:
    """Draws a grid as a matplotlib figure, with ``names`` left of the rows.

    All pictures are one image in one pair of axes: an axes for each picture
    takes several times as long.

    Raises:
      ImportError: matplotlib is not installed.
    """
    new_figure = _figure_class()
    height, width = shown.pictures.shape[2:4]
    lines = max(
        (text.count("\n") + 1 for row in shown.captions for text in row),
        default=0,
    )
    # One unit of the axes is one pixel of a picture.
    inches = float(np.clip(height / 60, *_INCHES))
    inches = max(inches, 1.0 if lines else 0.0)
    unit = inches / height
    gap = max(1, round(0.05 / unit))
    below = round(lines * _LINE / unit) + gap
    canvas = _montage(shown.pictures, gap, below)
    left = 0.1 + 0.08 * max(map(len, names), default=0)
    top = 0.25 if any(shown.titles.values()) else 0.05
    across, down = canvas.shape[1] * unit, canvas.shape[0] * unit
    size = (across + left, down + top)
    result = new_figure(figsize=size, dpi=100, facecolor="white")
    axes = result.add_axes(
        (left / size[0], 0, across / size[0], down / size[1])
    )
    axes.imshow(canvas, interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    _contours(axes, shown, gap, below)
    for row, texts in enumerate(shown.captions):
        y = row * (height + below) + height + gap / 2
        for column, text in enumerate(texts):
            x = column * (width + gap) + width / 2
            axes.text(x, y, text, fontsize=6, ha="center", va="top")
    for row, name in enumerate(names):
        y = row * (height + below) + height / 2
        axes.text(-gap, y, name, fontsize=8, ha="right", va="center")
    for column, title in shown.titles.items():
        x = column * (width + gap)
        axes.text(x, -gap, title, fontsize=8, ha="left", va="bottom")
    return result


def _figure_class() -> type[Figure]:
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ImportError(
            "A preview needs matplotlib: pip install 'mnistpipe[preview]'"
        ) from error
    return Figure


def _images(images: Any) -> np.ndarray:
    images = np.asarray(images)
    if images.ndim != 4 or not len(images) or images.shape[-1] not in (1, 3):
        raise ValueError(
            "Expected images [N, H, W, C] with 1 or 3 channels and at least "
            f"one example. Received: shape {images.shape}"
        )
    return images


def _masks(masks: Any, count: int) -> np.ndarray:
    masks = np.asarray(masks)
    masks = masks[..., np.newaxis] if masks.ndim == 3 else masks
    if masks.ndim != 4 or len(masks) != count or masks.shape[-1] != 1:
        raise ValueError(
            f"Expected masks [{count}, H, W] or [{count}, H, W, 1]. Received: "
            f"shape {masks.shape}"
        )
    return masks[:, np.newaxis]


def _keys(
    keys: Any, seed: int, index: Any, count: int, columns: int
) -> np.ndarray:
    """Returns uint32[count, columns, 2]."""
    if keys is None:
        if columns < 1:
            raise ValueError(
                f"Expected columns to be at least 1. Received: {columns!r}"
            )
        index = np.arange(count) if index is None else np.asarray(index)
        epochs = np.arange(columns)[np.newaxis]
        places = np.broadcast_to(index[:, np.newaxis], (count, columns))
        epochs = np.broadcast_to(epochs, places.shape)
        return np.asarray(example_keys(seed, epochs, places))
    keys = np.asarray(keys)
    keys = keys[:, np.newaxis] if keys.ndim == 2 else keys
    if keys.dtype != np.uint32 or keys.ndim != 3:
        keys = np.zeros((0, 0, 0), np.uint32)
    if len(keys) != count or keys.shape[-1] != 2 or not keys.shape[1]:
        raise ValueError(
            f"Expected keys uint32[{count}, 2] or uint32[{count}, columns, 2]."
            " Make them with example_keys(seed, epoch, index)."
        )
    return keys


def _value_range(pictures: np.ndarray) -> tuple[float, float]:
    low, high = float(pictures.min()), float(pictures.max())
    for bounds in ((0.0, 1.0), (0.0, 255.0)):
        if bounds[0] <= low and high <= bounds[1]:
            return bounds
    return low, high


def _to_unit(pictures: np.ndarray, bounds: tuple[float, float]) -> np.ndarray:
    low, high = bounds
    scaled = (pictures.astype(np.float32) - low) / max(high - low, 1e-12)
    return np.clip(scaled, 0.0, 1.0)


def _captions(drawn: Sequence[Mapping[str, Any]], count: int) -> list[str]:
    """Returns a text per example: the drawn numbers that change something."""
    lines: list[list[str]] = [[] for _ in range(count)]
    for parameters in drawn:
        # A choice also holds what the transforms to choose from have drawn.
        values = {
            name: np.asarray(value)
            for name, value in parameters.items()
            if not isinstance(value, list | tuple | Mapping)
        }
        applied = values.pop("applied", np.ones(count, bool))
        applied = applied.reshape(count)
        for name, value in values.items():
            if value.size != count:  # a field with a number per pixel
                continue
            for row, number in enumerate(value.reshape(count).tolist()):
                text = _caption(name, number)
                if text and applied[row]:
                    lines[row].append(text)
    return ["\n".join(texts) for texts in lines]


def _caption(name: str, number: float) -> str:
    if isinstance(number, bool):
        return name if number else ""
    if isinstance(number, int):
        return f"{name} {number}"
    if number in _NEUTRAL:
        return ""
    digits = 1 if _UNITS.get(name, "×") in ("°", " px") else 2
    rounded = round(number, digits) + 0.0  # not -0.0
    return f"{name} {rounded:.{digits}f}{_UNITS.get(name, '')}"


def _montage(pictures: np.ndarray, gap: int, below: int) -> np.ndarray:
    """Lays the pictures on one white image, float32 [height, width, 3]."""
    rows, columns, height, width, _ = pictures.shape
    white = np.ones((rows, height + below, columns, width + gap, 3), np.float32)
    white[:, :height, :, :width] = pictures.transpose(0, 2, 1, 3, 4)
    flat = white.reshape(rows * (height + below), -1, 3)
    return flat[:, : flat.shape[1] - gap]


def _contours(axes: Any, shown: Grid, gap: int, below: int) -> None:
    if shown.masks is None:
        return
    height, width = shown.pictures.shape[2:4]
    colors = ("tab:red", "tab:cyan", "tab:orange", "tab:green", "tab:pink")
    numbers = np.unique(shown.masks)
    for row, column in np.ndindex(shown.masks.shape[:2]):
        mask = shown.masks[row, column]
        # A border of zeros closes the contours at the edge of the picture.
        padded = np.pad(mask, 1)
        ys = (np.arange(padded.shape[0]) - 0.5) * height / mask.shape[0]
        xs = (np.arange(padded.shape[1]) - 0.5) * width / mask.shape[1]
        ys += row * (height + below) - 0.5
        xs += column * (width + gap) - 0.5
        for place, number in enumerate(numbers[numbers != 0]):
            inside = padded == number
            if inside.any():
                axes.contour(
                    xs,
                    ys,
                    inside.astype(np.float32),
                    levels=[0.5],
                    colors=colors[place % len(colors)],
                    linewidths=1.0,
                )
