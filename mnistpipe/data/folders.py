"""Folders of pictures: one sub-folder per class, named by the class.

    handwriting/0/anna-1.png, handwriting/7/ben.jpg      test pictures
    pets/train/cat/1.jpg, …, pets/test/dog/7.jpg         data to train on
    pets/cat/1.jpg, …, pets/dog/7.jpg                    without a test set

Classes are numbered from 0 in the order of their names, or in numeric order if
all names are whole numbers. If data to train on have no `test` folder, a
stratified tenth is held out as the test set. The choice is always the same.

Nothing is skipped silently: only pictures, class folders and hidden files such
as ".DS_Store" are allowed, and each class folder must hold a picture. Among
test pictures, a class may be missing. Examples are in the order of their
labels, then of their file names. Links must stay inside the folder.
"""

import functools
import math
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from mnistpipe.data import pictures
from mnistpipe.data.examples import (
    MAX_BYTES,
    MAX_CLASSES,
    Digits,
    Examples,
    Shape,
    TestSet,
    data_error,
    fingerprint_of,
)
from mnistpipe.data.files import check_inside, damage_as_data_error
from mnistpipe.data.splits import stratified_split

# Sixteen times as many as the private test set of the document has.
MAX_FILES = 200_000
# Windows marks these two as hidden by an attribute, not by their names.
_HIDDEN = {"desktop.ini", "thumbs.db"}
_CONVENTION = (pictures.SIDE, pictures.SIDE, 1)

# How pictures in files were prepared: shown to people, kept in metrics.json.
NORMALIZED = "each brought to MNIST's convention (28x28, 20x20 box, centred)"
AS_IT_IS = "each taken as it is"
FITTED = "each scaled to fit, its aspect kept, on its own background"


def is_picture_folder(folder: Path) -> bool:
    """Tells whether a folder has sub-folders, which are its classes or sets."""
    return any(path.is_dir() for path in _visible(folder))


def read_training_folder(name: str, folder: Path) -> Digits:
    """Reads pictures to train on, brought to one shape.

    Pictures are uint8 [N, H, W, C]. H × W is the most frequent size among the
    training pictures, the smaller one of two as frequent. C is 1 if all
    training pictures are grey, else 3. A picture of another size is scaled
    until it just fits, with its aspect kept, and laid in the middle of a
    background of the median colour of its border.

    Raises:
        DataError: one line that names the file or the folder.
    """
    parts = {part: folder / part for part in ("train", "test")}
    divided = all(path.is_dir() for path in parts.values())
    if divided:
        for path in parts.values():
            check_inside(path, folder)
    home = parts["train"] if divided else folder
    names = _class_names(home)
    labelled = _labelled(home, names)
    shape = _common_shape([path for _, path in labelled])
    if divided:
        tested = _labelled(parts["test"], names)
    else:
        labels = np.array([label for label, _ in labelled])
        size = max(len(names), len(labels) // 10)
        rest, chosen = stratified_split(
            labels, size, 0, name=f"{folder}: test set"
        )
        tested = [labelled[place] for place in chosen]
        labelled = [labelled[place] for place in rest]
    read = functools.partial(pictures.read_fitted, shape=shape)
    _check_room(folder, len(labelled) + len(tested), shape)
    train, test = _read(labelled, shape, read), _read(tested, shape, read)
    return Digits(
        name,
        train,
        test,
        len(names),
        fingerprint_of(train, test),
        class_names=tuple(names),
        preparation=FITTED,
    )


def read_picture_folder(
    name: str,
    folder: Path,
    shape: Shape,
    class_names: Sequence[str],
    preparation: str,
) -> TestSet:
    """Reads labelled pictures to score networks on.

    Args:
        name: the name of the data set.
        folder: the folder, with a sub-folder for each class that occurs.
        shape: (H, W, C) of the networks' input.
        class_names: the names that sub-folders may have, in label order.
        preparation: NORMALIZED, FITTED or AS_IT_IS.

    Raises:
        DataError: one line that names the file or the folder.
    """
    read = reader(str(folder), shape, preparation)
    labelled = _labelled(folder, class_names)
    _check_room(folder, len(labelled), shape)
    examples = _read(labelled, shape, read)
    return TestSet(
        name,
        examples,
        fingerprint_of(examples),
        tuple(str(path.relative_to(folder)) for _, path in labelled),
        preparation,
        tuple(class_names),
    )


def reader(
    where: str, shape: Shape, preparation: str
) -> Callable[[Path], np.ndarray]:
    """Returns the function from a picture's path to uint8 [H, W, C].

    Raises:
        DataError: MNIST's convention has another shape.
    """
    if preparation == AS_IT_IS:
        return functools.partial(pictures.read_as_is, shape=shape)
    if preparation == FITTED:
        return functools.partial(pictures.read_fitted, shape=shape)
    if shape != _CONVENTION:
        wanted = f"a network that takes {_CONVENTION}, MNIST's convention"
        raise data_error(where, wanted, f"one that takes {shape}")
    return pictures.read_picture


def preparation_for(shape: Shape, trained_on: str, normalize: bool) -> str:
    """Returns how pictures in files are brought to a network's input.

    Args:
        shape: (H, W, C) of the network's input.
        trained_on: `Digits.preparation` of the training data.
        normalize: False leaves the pictures as they are.
    """
    if not normalize:
        return AS_IT_IS
    if trained_on == FITTED or shape != _CONVENTION:
        return FITTED
    return NORMALIZED


def _class_names(folder: Path) -> list[str]:
    """Returns the names of a folder's classes, in the order of the labels."""
    names = []
    for path in _visible(folder):
        if not path.is_dir():
            wanted = "only sub-folders, one per class"
            raise data_error(folder, wanted, f"the file {path.name[:80]!r}")
        if not path.name.isprintable() or path.name != path.name.strip():
            wanted = "class names of printable characters"
            raise data_error(folder, wanted, repr(path.name)[:80])
        names.append(path.name)
    if not 2 <= len(names) <= MAX_CLASSES:
        wanted = f"sub-folders of 2 to {MAX_CLASSES} classes"
        raise data_error(folder, wanted, f"{len(names)}")
    if all(name.isdecimal() and name.isascii() for name in names):
        return sorted(names, key=int)
    return sorted(names)


def _labelled(
    folder: Path, class_names: Sequence[str]
) -> list[tuple[int, Path]]:
    """Returns (label, path) of each picture, in order."""
    labels = {name: label for label, name in enumerate(class_names)}
    found = []
    for path in _visible(folder):
        # Neither "07" nor "٧" is another name for "7".
        if path.name not in labels or not path.is_dir():
            wanted = f"only sub-folders named {_some(class_names)}"
            kind = "the folder" if path.is_dir() else "the file"
            raise data_error(folder, wanted, f"{kind} {path.name[:80]!r}")
        check_inside(path, folder)
        found.append((labels[path.name], path))
    if not found:
        wanted = (
            "IDX files (t10k-images-idx3-ubyte, …) or pictures in sub-folders"
            f" named {_some(class_names)}"
        )
        raise data_error(folder, wanted, "an empty folder")
    return [
        (label, path)
        for label, place in sorted(found)
        for path in _pictures(place, folder)
    ]


def _some(names: Sequence[str]) -> str:
    """Returns the allowed names for a message."""
    if len(names) <= 10:
        return ", ".join(name[:40] for name in names)
    return f"{names[0][:40]}, {names[1][:40]}, …, {names[-1][:40]}"


def _common_shape(paths: Sequence[Path]) -> Shape:
    """Returns the shape to which all training pictures are brought."""
    sizes: Counter[tuple[int, int]] = Counter()
    channels = 1
    for path in paths:
        height, width, depth = pictures.measure(path)
        sizes[height, width] += 1
        channels = max(channels, depth)
    most = max(sizes.values())
    height, width = min(
        (size for size, count in sizes.items() if count == most),
        key=lambda size: (size[0] * size[1], size),
    )
    return height, width, channels


def _check_room(folder: Path, count: int, shape: Shape) -> None:
    if count > MAX_FILES or count * math.prod(shape) > MAX_BYTES:
        wanted = f"at most {MAX_FILES} pictures and {MAX_BYTES} bytes of them"
        raise data_error(folder, wanted, f"{count} of {shape}")


def _read(
    labelled: Sequence[tuple[int, Path]],
    shape: Shape,
    read: Callable[[Path], np.ndarray],
) -> Examples:
    images = np.empty((len(labelled), *shape), np.uint8)
    for place, (_, path) in enumerate(labelled):
        images[place] = read(path)
    labels = np.array([label for label, _ in labelled], np.int64)
    images.flags.writeable = False
    labels.flags.writeable = False
    return Examples(images, labels)


def _pictures(place: Path, folder: Path) -> list[Path]:
    paths = sorted(_visible(place))
    if not paths:
        raise data_error(place, "at least one picture", "an empty folder")
    for path in paths:
        check_inside(path, folder)
    return paths


def _visible(folder: Path) -> Iterator[Path]:
    """Returns the paths in a folder that are not hidden, up to a bound."""
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
