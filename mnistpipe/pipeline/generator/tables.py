"""ImageDataGenerator's iterator over image files that a table names."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from mnistpipe.pipeline.generator.arguments import choice
from mnistpipe.pipeline.generator.folders import FilesIterator, is_image

_UNLABELLED = ("input", "multi_output", "raw", None)


class DataFrameIterator(FilesIterator):
    """Batches of images from files that a pandas DataFrame names.

    ``ImageDataGenerator.flow_from_dataframe`` returns it.

    The arguments are those of ImageDataGenerator.flow_from_dataframe.

    Attributes:
      filenames: the names in the table.
      classes: a class number, or a list of class numbers, for each example,
        if ``class_mode`` has classes.
      class_indices: class name → class number, if ``class_mode`` has classes.
      samples: number of images, as ``n``.
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
        )
        self.dtype = dtype
        self.directory = directory or ""
        self.class_mode = class_mode
        self._check(dataframe, x_col, y_col, weight_col, classes)
        table = dataframe
        if validate_filenames:
            table = self._existing(table, x_col)
        labelled = class_mode not in _UNLABELLED
        names: list[str] = []
        if labelled:
            table, names = _of_classes(table, y_col, classes)
            self.class_indices = {name: i for i, name in enumerate(names)}
        if self.split is not None:
            start, stop = (int(share * len(table)) for share in self.split)
            table = table.iloc[start:stop]
        if labelled:
            self.classes = [self._number(label) for label in table[y_col]]
        elif class_mode == "multi_output":
            self._targets: Any = [
                np.array(table[col].tolist()) for col in y_col
            ]
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
        of = f" belonging to {len(names)} classes" if labelled else ""
        print(f"{found}{of}.")
        super().__init__(self.samples, batch_size, shuffle, seed)

    @property
    def labels(self) -> Any:
        """The targets in "raw" and "multi_output", otherwise ``classes``."""
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
            return is_image(path) and os.path.isfile(path)

        kept = np.array([exists(name) for name in table[x_col]], bool)
        if not kept.all():
            warnings.warn(
                f"Left out {np.sum(~kept)} names in column {x_col!r} that "
                "are not image files",
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
        choice("class_mode", mode, self.allowed_class_modes)
        if mode == "multi_output" and not isinstance(y_col, list):
            raise TypeError(
                'Expected y_col to be a list in class_mode "multi_output", '
                f"got {y_col!r}"
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
                    'Expected 2 classes in class_mode "binary", '
                    f"got {len(found)}"
                )
        if classes and mode in _UNLABELLED:
            warnings.warn(
                f"class_mode {mode!r} does not use the given classes",
                stacklevel=4,
            )
        if weight_col:
            dtype = table[weight_col].dtype
            # The type of pandas' own dtypes is one of NumPy's.
            if not issubclass(dtype.type, np.number):
                raise TypeError(
                    f"Expected column {weight_col!r} to be numeric, got {dtype}"
                )


def _check_column(
    table: Any, column: Any, types: tuple[type, ...], expected: str
) -> None:
    for value in table[column]:
        if not isinstance(value, types):
            raise TypeError(
                f"Expected column {column!r} to hold {expected}, got {value!r}"
            )


def _of_classes(
    table: Any, y_col: str | list[str], classes: Sequence[str] | None
) -> tuple[Any, list[str]]:
    """Returns the rows that have a class, and the classes in order."""
    labels = list(table[y_col])
    if not classes:
        found: set[str] = set()
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
