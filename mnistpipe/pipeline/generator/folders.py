"""ImageDataGenerator's iterators over image files.

Pillow reads the files through keras.utils.load_img, several at a time.
"""

from __future__ import annotations

import functools
import os
import struct
import warnings
from collections.abc import Iterator as PythonIterator
from collections.abc import Sequence
from concurrent import futures
from typing import Any

import keras
import numpy as np
import PIL
import tensorflow as tf

from mnistpipe.pipeline.generator.arguments import check_subset, choice
from mnistpipe.pipeline.generator.augmenters import call_numpy
from mnistpipe.pipeline.generator.iterator import Batch, Iterator

CHANNELS = {"grayscale": 1, "rgb": 3, "rgba": 4}


class FilesIterator(Iterator):
    """Batches of images from files, which a subclass names.

    Attributes:
      filepaths: paths of the images, in the order of the data.
      labels: the targets, in the form that ``class_mode`` has.
      sample_weight: a weight for each image, or None.
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
    ) -> None:
        """Sets how a file becomes an image, under Keras' names."""
        choice("color_mode", color_mode, tuple(CHANNELS))
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
        self.subset = subset
        self.split = None
        if subset is not None:
            share = image_data_generator._validation_split
            ends = {"validation": (0, share), "training": (share, 1)}
            self.split = ends[subset]

    def _read(self, index: tf.Tensor) -> tf.Tensor:
        shape = (index.shape[0], *self.image_shape)
        return call_numpy(self._load_all, [index], tf.float32, shape)

    def _load_all(self, index: np.ndarray) -> np.ndarray:
        # A partial batch names its examples more than once.
        unique, places = np.unique(index, return_inverse=True)
        images = list(_readers().map(self._load, unique))
        return np.stack(images)[places]

    def _load(self, place: int) -> np.ndarray:
        path = self.filepaths[place]
        try:
            return self._array_of(path)
        except (OSError, SyntaxError, struct.error) as error:
            # An error of the operating system names its file already.
            if getattr(error, "errno", None) is not None:
                raise
            # Pillow's type, since user code catches it; Pillow omits the path.
            raise PIL.UnidentifiedImageError(
                f"Expected an image that Pillow can read, got {path}: {error}"
            ) from error

    def _array_of(self, path: str) -> np.ndarray:
        with keras.utils.load_img(
            path,
            color_mode=self.color_mode,
            target_size=self.target_size,
            interpolation=self.interpolation,
            keep_aspect_ratio=self.keep_aspect_ratio,
        ) as image:
            return keras.utils.img_to_array(
                image, data_format=self.data_format, dtype="float32"
            )

    def _labelled(self, index: np.ndarray, images: np.ndarray) -> Batch:
        if self.class_mode is None:
            return images
        targets = self._targets_of(index, images)
        if self.sample_weight is None:
            return images, targets
        return images, targets, self.sample_weight[index]

    def _targets_of(self, index: np.ndarray, images: np.ndarray) -> Any:
        if self.class_mode == "input":
            return images.copy()
        if self.class_mode == "multi_output":
            return [column[index] for column in self.labels]
        if self.class_mode == "raw":
            return self.labels[index]
        classes = [self.classes[place] for place in index]
        if self.class_mode in ("binary", "sparse"):
            return np.array(classes, self.dtype)
        hot = np.zeros((len(index), len(self.class_indices)), self.dtype)
        for row, of_example in zip(hot, classes, strict=True):
            row[of_example] = 1  # an example may have a list of classes
        return hot


@functools.cache
def _readers() -> futures.ThreadPoolExecutor:
    return futures.ThreadPoolExecutor(os.cpu_count() or 1)


def is_image(path: str) -> bool:
    """Whether the file's name ends as an image's does."""
    return path.lower().endswith(Iterator.white_list_formats)


def _images_under(folder: str, follow_links: bool) -> PythonIterator[str]:
    """Yields the paths of images, ordered by folder, then by name."""
    walk = os.walk(folder, followlinks=follow_links)
    for root, _, names in sorted(walk, key=lambda entry: entry[0]):
        for name in sorted(names):
            if name.lower().endswith(".tiff"):
                warnings.warn(
                    'A ".tiff" file with several bands will be distorted: '
                    f"{os.path.join(root, name)}",
                    stacklevel=2,
                )
            if is_image(name):
                yield os.path.join(root, name)


class DirectoryIterator(FilesIterator):
    """Batches of images from a folder with a subfolder for each class.

    ``ImageDataGenerator.flow_from_directory`` returns it.

    The arguments are those of ImageDataGenerator.flow_from_directory.

    Attributes:
      filenames: paths relative to ``directory``.
      classes: int32[n], the class numbers of the images.
      class_indices: class name → class number.
      samples: number of images, as ``n``.
      num_classes: number of classes.
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
        )
        self.dtype = dtype or keras.backend.floatx()
        choice("class_mode", class_mode, self.allowed_class_modes)
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
        paths = list(_images_under(folder, follow_links))
        if self.split is None:
            return paths
        start, stop = (int(share * len(paths)) for share in self.split)
        return paths[start:stop]

    @property
    def labels(self) -> np.ndarray:
        """The class numbers, as ``classes``."""
        return self.classes
