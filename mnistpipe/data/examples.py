"""Labelled images in memory, and the checks that every source goes through.

Shapes and values are the same for every source:

    images  uint8 [N, H, W, C]   0 to 255
    labels  int64 [N]            0 to K-1, each class present in training

H, W, C and K come from the data. The arrays are read-only, so that a
fingerprint stays true. All checks happen here on the host, because a GPU
answers an out-of-range label with NaN and an out-of-range gather with 0, and
raises no error for either.

Pixels may be integers of any width, or floats, if every pixel is a whole number
from 0 to 255. Nothing is rounded or rescaled. Float pixels that all lie in
[0, 1] are refused: the pixels do not tell whether 1.0 means white or nearly
black, and a wrong guess would train on the wrong pictures.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mnistpipe.errors import UserError

# The largest size of the four stored arrays together. EMNIST, the largest data
# set of MNIST's family, has 0.6 GiB. A file whose headers announce more is
# refused before anything is decompressed.
MAX_BYTES = 2**30
# One-hot targets are [N, K]. A larger number of classes comes from a damaged
# label.
MAX_CLASSES = 1000
MAX_SIDE = 4096
# An array with more channels most likely has its channels first.
MAX_CHANNELS = 16

# The names of Keras' layout, in the order in which every reader reads them.
ARRAYS = ("x_train", "y_train", "x_test", "y_test")
TEST_ARRAYS = ARRAYS[2:]

Shape = tuple[int, int, int]  # (H, W, C)


class DataError(UserError):
    """Data that cannot be used. The message is one line for the user."""


def data_error(where: object, expected: str, got: str) -> DataError:
    """Returns an error that says where, what was expected, and what was got."""
    message = f"{where}: expected {expected}; got {got}"
    # A name can come from a hostile file, so line breaks and escape sequences
    # are replaced.
    return DataError(
        "".join(c if c.isprintable() else ascii(c)[1:-1] for c in message)
    )


@dataclass(frozen=True, eq=False)
class Examples:
    """Images uint8 [N, H, W, C] and their labels int64 [N]."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Digits:
    """A training set and a test set of the same image shape and classes.

    Attributes:
        name: the name of the data set.
        train: the training examples.
        test: the test examples.
        classes: the number of classes.
        fingerprint: SHA-256 in hex over shapes, pixels and labels. The file
            format of the data does not change it.
        class_names: the names in label order; empty if classes have only
            numbers.
        preparation: how the pictures were prepared, in words.
    """

    name: str
    train: Examples
    test: Examples
    classes: int
    fingerprint: str
    class_names: tuple[str, ...] = ()
    preparation: str = "as stored"

    @property
    def names(self) -> tuple[str, ...]:
        """Returns the names of the classes, or their numbers as text."""
        return self.class_names or tuple(map(str, range(self.classes)))

    @property
    def test_fingerprint(self) -> str:
        """Returns the fingerprint of the test set alone."""
        return fingerprint_of(self.test)


@dataclass(frozen=True, eq=False)
class TestSet:
    """Labelled images to score networks on.

    Attributes:
        name: the name of the data set.
        examples: the images and their labels.
        fingerprint: SHA-256 in hex over the examples, as `Digits` has it.
        files: the path of each image's file, if each has one.
        preparation: how the images were prepared, in words.
        class_names: the names in label order; empty if classes have only
            numbers.
    """

    name: str
    examples: Examples
    fingerprint: str
    files: tuple[str, ...] = ()
    preparation: str = "as stored"
    class_names: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Stored:
    """An array as it is stored, and its place for error messages."""

    where: str
    array: np.ndarray


def check_layout(
    where: str, name: str, shape: tuple[int, ...], dtype: np.dtype, room: int
) -> None:
    """Refuses an array by its header, before its data are read.

    Args:
        where: the file, and its member, for the message.
        name: one of `ARRAYS`; x are images, y are labels.
        shape: the shape in the header, in Python integers, whose product
            cannot overflow.
        dtype: the dtype in the header.
        room: the bytes of `MAX_BYTES` that are not used yet.
    """
    images = name.startswith("x_")
    # Labels are numbers [N] or [N, 1], as Keras' CIFAR-10 has them, or one-hot
    # rows [N, K].
    ranks, kinds = ((3, 4), "uif") if images else ((1, 2), "uifb")
    if dtype.kind not in kinds:
        expected = "uint8 pixels" if images else "integer labels"
        raise data_error(where, expected, f"dtype {str(dtype)[:80]}")
    if len(shape) not in ranks or min(shape) < 1:
        expected = (
            "[N, H, W] or [N, H, W, C]" if images else "[N], [N, 1] or [N, K]"
        )
        expected = f"a non-empty array of shape {expected}"
        raise data_error(where, expected, f"shape {_shape_text(shape)}")
    if not images and len(shape) == 2 and shape[1] > MAX_CLASSES:
        expected = f"one-hot labels of at most {MAX_CLASSES} classes"
        raise data_error(where, expected, f"shape {_shape_text(shape)}")
    if images and max(shape[1:3]) > MAX_SIDE:
        expected = f"at most {MAX_SIDE} pixels of height and width"
        raise data_error(where, expected, f"shape {_shape_text(shape)}")
    if len(shape) == 4 and shape[3] > MAX_CHANNELS:
        expected = f"[N, H, W, C] with at most {MAX_CHANNELS} channels, last"
        raise data_error(where, expected, f"shape {_shape_text(shape)}")
    if math.prod(shape) * dtype.itemsize > room:
        expected = f"at most {MAX_BYTES} bytes of arrays in the whole set"
        got = f"{_shape_text(shape)} {dtype} with {room} bytes left"
        raise data_error(where, expected, got)


def digits_from(name: str, stored: Mapping[str, Stored]) -> Digits:
    """Checks the four arrays of a data set and returns the set."""
    train = _examples(stored["x_train"], stored["y_train"])
    test = _examples(stored["x_test"], stored["y_test"])
    if train.images.shape[1:] != test.images.shape[1:]:
        raise data_error(
            stored["x_test"].where,
            f"images like the training set's, {train.images.shape[1:]}",
            f"{test.images.shape[1:]}",
        )
    classes = _count_classes(stored["y_train"].where, train.labels)
    if int(test.labels.max()) >= classes:
        raise data_error(
            stored["y_test"].where,
            f"the training set's labels, 0 to {classes - 1}",
            f"label {int(test.labels.max())}",
        )
    return Digits(name, train, test, classes, fingerprint_of(train, test))


def test_set_from(
    name: str,
    stored: Mapping[str, Stored],
    shape: Shape,
    class_names: Sequence[str],
) -> TestSet:
    """Checks that a network can be scored on the test arrays of a set."""
    test = _examples(stored["x_test"], stored["y_test"])
    classes = len(class_names)
    if test.images.shape[1:] != shape:
        expected = f"images like those that the network takes, {shape}"
        got = f"{test.images.shape[1:]}"
        raise data_error(stored["x_test"].where, expected, got)
    if int(test.labels.max()) >= classes:
        expected = f"the network's labels, 0 to {classes - 1}"
        got = f"label {int(test.labels.max())}"
        raise data_error(stored["y_test"].where, expected, got)
    return TestSet(
        name, test, fingerprint_of(test), class_names=tuple(class_names)
    )


def _examples(images: Stored, labels: Stored) -> Examples:
    pixels = _as_uint8(images)
    if pixels.ndim == 3:
        pixels = pixels[..., np.newaxis]
    if len(pixels) != len(labels.array):
        raise data_error(
            labels.where,
            f"{len(pixels)} labels, as many as images in {images.where}",
            f"{len(labels.array)}",
        )
    numbers = _as_int64(labels)
    pixels.flags.writeable = False
    numbers.flags.writeable = False
    return Examples(pixels, numbers)


def _as_uint8(images: Stored) -> np.ndarray:
    array = images.array
    if array.dtype != np.uint8:
        with np.errstate(invalid="ignore"):
            pixels = array.astype(np.uint8)
        # One comparison finds them all: NaN, infinities, fractions and
        # numbers outside 0 to 255 differ from their cast to uint8.
        same = np.array_equal(pixels, array)
        if not same or (array.dtype.kind == "f" and pixels.max() <= 1):
            expected = "pixels that are whole numbers from 0 to 255"
            raise data_error(images.where, expected, _odd_pixels(array))
        array = pixels
    return np.ascontiguousarray(array)


def _odd_pixels(array: np.ndarray) -> str:
    floats = array.dtype.kind == "f"
    if floats and not np.isfinite(array).all():
        bad = array.size - np.count_nonzero(np.isfinite(array))
        return f"NaN or infinity in {bad} places"
    low, high = array.min(), array.max()
    got = f"{array.dtype} values from {low} to {high}"
    if floats and low >= 0 and high <= 1:
        got += " (store them as np.uint8(np.rint(255 * x)))"
    return got


def _as_int64(labels: Stored) -> np.ndarray:
    array = labels.array
    if array.ndim == 2 and array.shape[1] > 1:
        array = _from_one_hot(labels)
    elif array.dtype.kind not in "ui":
        expected = "integer labels, or one-hot rows [N, K]"
        raise data_error(labels.where, expected, f"dtype {array.dtype}")
    low, high = int(array.min()), int(array.max())
    if low < 0 or high >= MAX_CLASSES:
        raise data_error(
            labels.where,
            f"labels from 0 to at most {MAX_CLASSES - 1}",
            f"labels from {low} to {high}",
        )
    return np.ascontiguousarray(array.ravel(), dtype=np.int64)


def _from_one_hot(labels: Stored) -> np.ndarray:
    """Returns the place of the 1 in each row of [N, K]."""
    ones = labels.array == 1
    if not (ones.sum(axis=1) == 1).all() or (labels.array[~ones] != 0).any():
        expected = "one-hot labels: a single 1 in each row, else 0"
        raise data_error(labels.where, expected, "other rows")
    return ones.argmax(axis=1)


def _count_classes(where: str, labels: np.ndarray) -> int:
    """Counts the classes; a class without an example is refused as damage.

    Otherwise one flipped bit in one label could turn ten classes into 138.
    """
    present = np.bincount(labels) > 0
    if present.size < 2:
        raise data_error(where, "at least two classes", "only label 0")
    if not present.all():
        missing = np.flatnonzero(~present)
        raise data_error(
            where,
            "labels that count from 0 without a gap",
            f"labels up to {present.size - 1} but none of class {missing[0]}"
            f" ({missing.size} missing)",
        )
    return int(present.size)


def fingerprint_of(*parts: Examples) -> str:
    """Returns SHA-256 in hex over shapes, pixels and labels."""
    digest = hashlib.sha256()
    for part in parts:
        for array in (part.images, part.labels):
            # Little-endian, so that a fingerprint is the same on every machine.
            array = array.astype(array.dtype.newbyteorder("<"), copy=False)
            digest.update(f"{array.dtype.str} {array.shape}\n".encode())
            digest.update(array.data)
    return digest.hexdigest()


def _shape_text(shape: tuple[int, ...]) -> str:
    return str(shape) if len(shape) <= 8 else f"of {len(shape)} dimensions"
