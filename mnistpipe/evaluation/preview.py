"""Shows a recipe's augmentation in a PNG file or an animation."""

import dataclasses
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mnistpipe import recipes
from mnistpipe.data import Examples, pictures
from mnistpipe.errors import UserError
from mnistpipe.evaluation.preview_options import PreviewOptions
from mnistpipe.networks import augmentation
from mnistpipe.pipeline import Compose, previews
from mnistpipe.recipes.fields import text_of

_MILLISECONDS = 500  # a frame of an animation


@dataclasses.dataclass(frozen=True, eq=False)
class Chosen:
    """The examples that are shown.

    Attributes:
      images: uint8 [N, H, W, C].
      index: int64 [N], the positions of the examples in their data set.
      names: the class or the file of each example.
    """

    images: np.ndarray
    index: np.ndarray
    names: tuple[str, ...]


def of_each_class(
    examples: Examples, count: int, class_names: Sequence[str]
) -> Chosen:
    """Returns the first examples of each class, the classes in turn."""
    labels = examples.labels
    rank = np.empty(len(labels), np.int64)  # among the examples of its class
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        rank[members] = np.arange(len(members))
    index = np.lexsort((labels, rank))[:count]
    names = tuple(class_names[label][:12] for label in labels[index])
    return Chosen(examples.images[index], index, names)


def of_files(paths: Sequence[Path], normalize: bool) -> Chosen:
    """Reads pictures from files: brought to MNIST's convention, or as is.

    Raises:
      DataError: a file is not a picture, or has another size than the first.
    """
    if normalize:
        images = [pictures.read_picture(path) for path in paths]
    else:
        shape = pictures.measure(paths[0])
        images = [pictures.read_as_is(path, shape) for path in paths]
    names = tuple(path.stem[:12] for path in paths)
    return Chosen(np.stack(images), np.arange(len(paths)), names)


def composes(
    values: Mapping[str, Any], options: PreviewOptions
) -> dict[str, Compose]:
    """Returns the augmentation of each strength by its title.

    Args:
      values: the given fields of the recipe, with arch.
      options: of the preview.

    Raises:
      RecipeError: a value is wrong, or would have no effect.
    """
    name, strengths = options.strengths
    if not name:
        return {"": augmentation.compose(recipes.recipe_with(values))}
    return {
        f"{name} {text_of(strength)}": augmentation.compose(
            recipes.recipe_with({**values, name: strength})
        )
        for strength in strengths
    }


def write(
    chosen: Chosen, augment: Mapping[str, Compose], options: PreviewOptions
) -> None:
    """Writes the preview to the file that the options name.

    Raises:
      UserError: the file cannot be written.
    """
    grid = previews.grid(
        augment,
        chosen.images,
        seed=options.seed,
        index=chosen.index,
        columns=options.draws,
        captions=options.captions,
    )
    if options.animate:
        content = _animation(grid, chosen.names, options)
    else:
        content = _png(grid, chosen.names)
    try:
        options.path.write_bytes(content)
    except OSError as error:
        raise UserError(
            f"out: expected a file that can be written, got"
            f" {str(options.path)!r}: {os.strerror(error.errno or 0)}"
        ) from None


def _png(grid: previews.Grid, names: Sequence[str]) -> bytes:
    buffer = io.BytesIO()
    previews.figure(grid, names).savefig(buffer, format="png")
    return buffer.getvalue()


def _animation(
    grid: previews.Grid, names: Sequence[str], options: PreviewOptions
) -> bytes:
    """Shows one draw of each strength in a frame."""
    from PIL import Image

    frames = [
        Image.open(io.BytesIO(_png(_frame(grid, draw, options.draws), names)))
        for draw in range(options.draws)
    ]
    buffer = io.BytesIO()
    gif = options.path.suffix.lower() == ".gif"
    frames[0].convert("RGB").save(
        buffer,
        format="GIF" if gif else "PNG",
        save_all=True,
        append_images=[frame.convert("RGB") for frame in frames[1:]],
        duration=_MILLISECONDS,
        loop=0,
    )
    return buffer.getvalue()


def _frame(grid: previews.Grid, draw: int, draws: int) -> previews.Grid:
    columns = [0, *range(1 + draw, grid.pictures.shape[1], draws)]
    return previews.Grid(
        grid.pictures[:, columns],
        None,
        [[row[column] for column in columns] for row in grid.captions],
        {
            columns.index(first + draw): title
            for first, title in grid.titles.items()
        },
    )
