"""ImageDataGenerator's iterators over files of pictures.

Files are read by Pillow through keras.utils.load_img, several at a time, and
held as uint8 until they are computed with.
"""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Iterator as PythonIterator
from collections.abc import Sequence
from concurrent import futures
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mnistpipe.pipeline.generator.iterators import Batch, Iterator, check_subset

CHANNELS = {"grayscale": 1, "rgb": 3, "rgba": 4}
_UNLABELLED = ("input", "multi_output", "raw", None)


class FilesIterator(Iterator):
    """Batches of pictures out of files; a subclass names them.

    Attributes:
      filepaths: of the pictures, in the order of the data.
      labels: their targets, in whatever form ``class_mode`` has.
      sample_weight: None, or a weight for each.
    """

    filepaths: Sequence[str]
    labels: Any
    sample_weight: np.ndarray | None = None
    class_mode: str | None
    class_indices: dict[str, int]

    def set_processing_attrs(
        self,
        image_data_generator: Any,
        target_size: Sequence[int],
        color_mode: str,
        data_format: str,
        save_to_dir: str | None,
        save_prefix: str,
        save_format: str,
        subset: str | None,
        interpolation: str,
        keep_aspect_ratio: bool,
        dtype: str,
    ) -> None:
        """Keeps how a file becomes a picture, under Keras' names."""
        if color_mode not in CHANNELS:
            raise ValueError(
                f"Expected color_mode to be one of {', '.join(CHANNELS)}. "
                f"Received: {color_mode!r}"
            )
        check_subset(subset)
        self.image_data_generator = image_data_generator
        self.target_size = tuple(target_size)
        self.color_mode = color_mode
        self.data_format = data_format
        channels = (CHANNELS[color_mode],)
        if data_format == "channels_last":
            self.image_shape = self.target_size + channels
        else:
            self.image_shape = channels + self.target_size
        self.save_to_dir = save_to_dir
        self.save_prefix = save_prefix
        self.save_format = save_format
        self.interpolation = interpolation
        self.keep_aspect_ratio = keep_aspect_ratio
        self.dtype = dtype
        self.subset = subset
        self.split = None
        if subset is not None:
            share = image_data_generator._validation_split
            ends = {"validation": (0, share), "training": (share, 1)}
            self.split = ends[subset]

    def _read(self, index: tf.Tensor) -> tf.Tensor:
        images = tf.numpy_function(self._load_all, [index], tf.float32)
        images.set_shape((index.shape[0], *self.image_shape))
        return images

    def _load_all(self, index: np.ndarray) -> np.ndarray:
        # A partial batch names its examples more than once.
        unique, places = np.unique(index, return_inverse=True)
        images = list(_readers().map(self._load, unique))
        return np.stack(images)[places]

    def _load(self, place: int) -> np.ndarray:
        with keras.utils.load_img(
            self.filepaths[place],
            color_mode=self.color_mode,
            target_size=self.target_size,
            interpolation=self.interpolation,
            keep_aspect_ratio=self.keep_aspect_ratio,
        ) as image:
            return keras.utils.img_to_array(
                image, data_format=self.data_format, dtype="float32"
            )

    def _labelled(self, index: np.ndarray, pictures: np.ndarray) -> Batch:
        if self.class_mode is None:
            return pictures
        targets = self._targets_of(index, pictures)
        if self.sample_weight is None:
            return pictures, targets
        return pictures, targets, self.sample_weight[index]

    def _targets_of(self, index: np.ndarray, pictures: np.ndarray) -> Any:
        if self.class_mode == "input":
            return pictures.copy()
        if self.class_mode == "multi_output":
            return [column[index] for column in self.labels]
        if self.class_mode == "raw":
            return self.labels[index]
        classes = [self.classes[place] for place in index]
        if self.class_mode in ("binary", "sparse"):
            return np.array(classes, self.dtype)
        hot = np.zeros((len(index), len(self.class_indices)), self.dtype)
        for row, of_example in zip(hot, classes, strict=True):
            row[of_example] = 1  # several, where an example has a list
        return hot


@functools.cache
def _readers() -> futures.ThreadPoolExecutor:
    return futures.ThreadPoolExecutor(os.cpu_count() or 1)


def _is_picture(path: str) -> bool:
    return path.lower().endswith(Iterator.white_list_formats)


def _pictures_under(folder: str, follow_links: bool) -> PythonIterator[str]:
    """Paths of pictures, in the order of their folders, then names."""
    walk = os.walk(folder, followlinks=follow_links)
    for root, _, names in sorted(walk, key=lambda entry: entry[0]):
        for name in sorted(names):
            if name.lower().endswith(".tiff"):
                warnings.warn(
                    'A ".tiff" file with several bands comes out distorted: '
                    f"{os.path.join(root, name)}",
                    stacklevel=2,
                )
            if _is_picture(name):
                yield os.path.join(root, name)


def _check_class_mode(class_mode: str | None, modes: Sequence[Any]) -> None:
    if class_mode not in modes:
        names = ", ".join(str(mode) for mode in modes)
        raise ValueError(
            f"Expected class_mode to be one of {names}. "
            f"Received: {class_mode!r}"
        )


class DirectoryIterator(FilesIterator):
    """What ``flow_from_directory`` returns: a folder of pictures per class.

    The arguments are those of ImageDataGenerator.flow_from_directory.

    Attributes:
      filenames: relative to ``directory``.
      classes: int32[n].
      class_indices: from a class' name to its number.
      samples: as ``n``.
      num_classes: how many there are.
    """

    allowed_class_modes = ("categorical", "binary", "sparse", "input", None)

    def __init__(
        self,
        directory: str | os.PathLike[str],
        image_data_generator: Any,
        target_size: Sequence[int] = (256, 256),
        color_mode: str = "rgb",
        classes: Sequence[str] | None = None,
        class_mode: str | None = "categorical",
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int | None = None,
        data_format: str | None = None,
        save_to_dir: str | None = None,
        save_prefix: str = "",
        save_format: str = "png",
        follow_links: bool = False,
        subset: str | None = None,
        interpolation: str = "nearest",
        keep_aspect_ratio: bool = False,
        dtype: str | None = None,
    ) -> None:
        self.set_processing_attrs(
            image_data_generator,
            target_size,
            color_mode,
            data_format or keras.backend.image_data_format(),
            save_to_dir,
            save_prefix,
            save_format,
            subset,
            interpolation,
            keep_aspect_ratio,
            dtype or keras.backend.floatx(),
        )
        _check_class_mode(class_mode, self.allowed_class_modes)
        self.directory = directory
        self.class_mode = class_mode
        if not classes:
            classes = sorted(
                entry.name for entry in os.scandir(directory) if entry.is_dir()
            )
        self.class_indices = {name: i for i, name in enumerate(classes)}
        self.num_classes = len(classes)
        self.filepaths, self.filenames, numbers = [], [], []
        for name, number in self.class_indices.items():
            paths = self._of_class(os.path.join(directory, name), follow_links)
            self.filepaths += paths
            self.filenames += [os.path.relpath(p, directory) for p in paths]
            numbers += [number] * len(paths)
        self.classes = np.array(numbers, np.int32)
        self.samples = len(self.filepaths)
        print(
            f"Found {self.samples} images belonging to "
            f"{self.num_classes} classes."
        )
        super().__init__(self.samples, batch_size, shuffle, seed)

    def _of_class(self, folder: str, follow_links: bool) -> list[str]:
        paths = list(_pictures_under(folder, follow_links))
        if self.split is None:
            return paths
        start, stop = (int(share * len(paths)) for share in self.split)
        return paths[start:stop]

    @property
    def labels(self) -> np.ndarray:
        """As ``classes``."""
        return self.classes


class DataFrameIterator(FilesIterator):
    """What ``flow_from_dataframe`` returns: pictures named in a table.

    The arguments are those of ImageDataGenerator.flow_from_dataframe.

    Attributes:
      filenames: as the table has them.
      classes: a number, or a list of them, per example, where the mode has
        classes.
      class_indices: from a class' name to its number, likewise.
      samples: as ``n``.
    """

    allowed_class_modes = (
        "binary",
        "categorical",
        "input",
        "multi_output",
        "raw",
        "sparse",
        None,
    )

    def __init__(
        self,
        dataframe: Any,
        directory: str | os.PathLike[str] | None = None,
        image_data_generator: Any = None,
        x_col: str = "filename",
        y_col: str | list[str] = "class",
        weight_col: str | None = None,
        target_size: Sequence[int] = (256, 256),
        color_mode: str = "rgb",
        classes: Sequence[str] | None = None,
        class_mode: str | None = "categorical",
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int | None = None,
        data_format: str = "channels_last",
        save_to_dir: str | None = None,
        save_prefix: str = "",
        save_format: str = "png",
        subset: str | None = None,
        interpolation: str = "nearest",
        keep_aspect_ratio: bool = False,
        dtype: str = "float32",
        validate_filenames: bool = True,
    ) -> None:
        self.set_processing_attrs(
            image_data_generator,
            target_size,
            color_mode,
            data_format,
            save_to_dir,
            save_prefix,
            save_format,
            subset,
            interpolation,
            keep_aspect_ratio,
            dtype,
        )
        self.directory = directory or ""
        self.class_mode = class_mode
        self._check(dataframe, x_col, y_col, weight_col, classes)
        table = dataframe
        if validate_filenames:
            table = self._existing(table, x_col)
        labelled = class_mode not in _UNLABELLED
        if labelled:
            table, classes = _of_classes(table, y_col, classes)
            self.class_indices = {name: i for i, name in enumerate(classes)}
        if self.split is not None:
            start, stop = (int(share * len(table)) for share in self.split)
            table = table.iloc[start:stop]
        if labelled:
            self.classes = [self._number(label) for label in table[y_col]]
        elif class_mode == "multi_output":
            self._targets = [np.array(table[col].tolist()) for col in y_col]
        elif class_mode == "raw":
            self._targets = np.asarray(table[y_col])
        self.filenames = table[x_col].tolist()
        self.filepaths = [
            os.path.join(self.directory, name) for name in self.filenames
        ]
        if weight_col:
            self.sample_weight = np.asarray(table[weight_col])
        self.samples = len(self.filenames)
        checked = "validated" if validate_filenames else "non-validated"
        found = f"Found {self.samples} {checked} image filenames"
        of = f" belonging to {len(classes)} classes" if labelled else ""
        print(f"{found}{of}.")
        super().__init__(self.samples, batch_size, shuffle, seed)

    @property
    def labels(self) -> Any:
        """Targets in "raw" and "multi_output", else ``classes``."""
        if self.class_mode in ("multi_output", "raw"):
            return self._targets
        return self.classes

    def _number(self, label: Any) -> int | list[int]:
        if isinstance(label, (list, tuple)):
            return [self.class_indices[one] for one in label]
        return self.class_indices[label]

    def _existing(self, table: Any, x_col: str) -> Any:
        def exists(name: str) -> bool:
            path = os.path.join(self.directory, name)
            return _is_picture(path) and os.path.isfile(path)

        kept = np.array([exists(name) for name in table[x_col]], bool)
        if not kept.all():
            warnings.warn(
                f"Left out {np.sum(~kept)} names in column {x_col!r} that "
                "are not files of pictures",
                stacklevel=4,
            )
        return table[kept]

    def _check(
        self,
        table: Any,
        x_col: str,
        y_col: str | list[str],
        weight_col: str | None,
        classes: Sequence[str] | None,
    ) -> None:
        mode = self.class_mode
        _check_class_mode(mode, self.allowed_class_modes)
        if mode == "multi_output" and not isinstance(y_col, list):
            raise TypeError(
                'Expected y_col to be a list in class_mode "multi_output". '
                f"Received: {y_col!r}"
            )
        _check_column(table, x_col, (str,), "strings")
        if mode in ("binary", "sparse"):
            _check_column(table, y_col, (str,), "strings")
        if mode == "categorical":
            types = (str, list, tuple)
            _check_column(table, y_col, types, "strings, lists or tuples")
        if mode == "binary":
            found = set(classes) if classes else set(table[y_col])
            if len(found) != 2:
                raise ValueError(
                    'Expected 2 classes in class_mode "binary". '
                    f"Received: {len(found)}"
                )
        if classes and mode in _UNLABELLED:
            warnings.warn(
                f"class_mode {mode!r} does not use the given classes",
                stacklevel=4,
            )
        if weight_col:
            dtype = table[weight_col].dtype
            # pandas' own dtypes are not NumPy's, but have such a type.
            if not issubclass(dtype.type, np.number):
                raise TypeError(
                    f"Expected column {weight_col!r} to be numeric. "
                    f"Received: {dtype}"
                )


def _check_column(
    table: Any, column: Any, types: tuple[type, ...], expected: str
) -> None:
    for value in table[column]:
        if not isinstance(value, types):
            raise TypeError(
                f"Expected column {column!r} to hold {expected}. "
                f"Received: {value!r}"
            )


def _of_classes(
    table: Any, y_col: str, classes: Sequence[str] | None
) -> tuple[Any, list[str]]:
    """The rows that have a class, and the classes in their order."""
    labels = list(table[y_col])
    if not classes:
        found = set()
        for label in labels:
            found.update(label if isinstance(label, (list, tuple)) else [label])
        return table, sorted(found)
    classes = list(dict.fromkeys(classes))

    def kept(label: Any) -> Any:
        if isinstance(label, (list, tuple)):
            return [one for one in label if one in classes] or None
        return label if label in classes else None

    labels = [kept(label) for label in labels]
    has_class = np.array([label is not None for label in labels], bool)
    table = table[has_class].copy()
    table[y_col] = [label for label in labels if label is not None]
    return table, classes
