"""A folder of pictures: one sub-folder per class, named by its number.

    handwriting/0/anna-1.png, handwriting/0/ben.jpg, handwriting/7/…

Nothing is left out in silence: whatever is neither a picture in a class'
folder nor hidden (".DS_Store") is an error, and so is a class' folder without
pictures. A class may be missing altogether. The order is that of the labels,
then of the names. Links must stay inside the folder.
"""

import functools
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from mnistpipe.data import pictures
from mnistpipe.data.examples import (
    MAX_BYTES,
    Examples,
    Shape,
    TestSet,
    data_error,
    fingerprint_of,
)
from mnistpipe.data.files import check_inside, damage_as_data_error

# Sixteen times the private test set that the document tells of.
MAX_FILES = 200_000
# Windows hides these two by an attribute, not by their names.
_HIDDEN = {"desktop.ini", "thumbs.db"}
_CONVENTION = (pictures.SIDE, pictures.SIDE, 1)
NORMALIZED = "each brought to MNIST's convention (28x28, 20x20 box, centred)"
AS_IT_IS = "each taken as it is"


def read_picture_folder(
    name: str, folder: Path, shape: Shape, classes: int, normalize: bool
) -> TestSet:
    """Reads all pictures, into uint8 [N, H, W, C] and int64 [N].

    Raises:
        DataError: one line that names the file or the folder.
    """
    read = reader(str(folder), shape, normalize)
    files = [
        (label, path)
        for label, place in _class_folders(folder, classes)
        for path in _pictures(place, folder)
    ]
    too_large = len(files) * math.prod(shape) > MAX_BYTES
    if len(files) > MAX_FILES or too_large:
        wanted = f"at most {MAX_FILES} pictures and {MAX_BYTES} bytes of them"
        raise data_error(folder, wanted, f"{len(files)} of {shape}")
    images = np.empty((len(files), *shape), np.uint8)
    for place, (_, path) in enumerate(files):
        images[place] = read(path)
    labels = np.array([label for label, _ in files], np.int64)
    images.flags.writeable = False
    labels.flags.writeable = False
    examples = Examples(images, labels)
    return TestSet(
        name,
        examples,
        fingerprint_of(examples),
        tuple(str(path.relative_to(folder)) for _, path in files),
        NORMALIZED if normalize else AS_IT_IS,
    )


def reader(
    where: str, shape: Shape, normalize: bool
) -> Callable[[Path], np.ndarray]:
    """How a picture's file becomes uint8 [H, W, C] for a network.

    Raises:
        DataError: the convention is not of that shape.
    """
    if not normalize:
        return functools.partial(pictures.read_as_is, shape=shape)
    if shape != _CONVENTION:
        wanted = (
            f"a network that takes {_CONVENTION} for pictures brought to"
            " MNIST's convention, or --nonormalize_pictures"
        )
        raise data_error(where, wanted, f"one that takes {shape}")
    return pictures.read_picture


def _class_folders(folder: Path, classes: int) -> list[tuple[int, Path]]:
    """(label, sub-folder) in order."""
    found = []
    labels = {str(label): label for label in range(classes)}
    for path in _visible(folder):
        # Neither "07" nor "٧": one name for one class.
        if path.name not in labels or not path.is_dir():
            wanted = (
                f"only sub-folders named by their label, 0 to {classes - 1}"
            )
            kind = "the folder" if path.is_dir() else "the file"
            raise data_error(folder, wanted, f"{kind} {path.name[:80]!r}")
        check_inside(path, folder)
        found.append((labels[path.name], path))
    if not found:
        wanted = (
            "IDX files (t10k-images-idx3-ubyte, …) or pictures in sub-folders"
            f" named by their label, 0 to {classes - 1}"
        )
        raise data_error(folder, wanted, "an empty folder")
    return sorted(found)


def _pictures(place: Path, folder: Path) -> list[Path]:
    paths = sorted(_visible(place))
    if not paths:
        raise data_error(place, "at least one picture", "an empty folder")
    for path in paths:
        check_inside(path, folder)
    return paths


def _visible(folder: Path) -> Iterator[Path]:
    """What a folder holds, but what is hidden; not endlessly much."""
    with (
        damage_as_data_error(folder, "a readable folder"),
        os.scandir(folder) as entries,
    ):
        for count, entry in enumerate(entries):
            if count >= MAX_FILES:
                wanted = f"at most {MAX_FILES} files"
                raise data_error(folder, wanted, "more than that")
            hidden = entry.name.startswith(".")
            if not hidden and entry.name.lower() not in _HIDDEN:
                yield folder / entry.name
