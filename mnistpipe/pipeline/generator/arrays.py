"""The iterator over arrays that ImageDataGenerator's ``flow`` returns."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mnistpipe.pipeline.generator.arguments import check_subset
from mnistpipe.pipeline.generator.iterator import Batch, Iterator

# Keras' class warns of other numbers: the data format may be the other one.
_USUAL_CHANNELS = (1, 3, 4)


class NumpyArrayIterator(Iterator):
    """Batches of images from an array, as ``flow`` returns them.

    The arguments are those of ImageDataGenerator.flow, and:

    Args:
      image_data_generator: the generator that augments the images.
      data_format: "channels_last" or "channels_first".
      dtype: of the images that it yields.
    """

    _x: np.ndarray | None

    def __init__(
        self,
        x: Any,
        y: Any,
        image_data_generator: Any,
        batch_size: int = 32,
        shuffle: bool = False,
        sample_weight: Any = None,
        seed: int | None = None,
        data_format: str | None = None,
        save_to_dir: str | None = None,
        save_prefix: str = "",
        save_format: str = "png",
        subset: str | None = None,
        ignore_class_split: bool = False,
        dtype: str | None = None,
    ) -> None:
        self.dtype = dtype or keras.backend.floatx()
        self.data_format = data_format or keras.backend.image_data_format()
        self.image_data_generator = image_data_generator
        self.save_to_dir = save_to_dir
        self.save_prefix = save_prefix
        self.save_format = save_format
        check_subset(subset)
        misc = []
        if isinstance(x, (tuple, list)):
            x, misc = x[0], x[1] if isinstance(x[1], list) else [x[1]]
        x = np.asarray(x)
        misc = [np.asarray(array) for array in misc]
        y = None if y is None else np.asarray(y)
        if sample_weight is not None:
            sample_weight = np.asarray(sample_weight)
        check_images(x, self.data_format)
        _check_lengths(x, y, sample_weight, misc)
        part = slice(None)
        if subset is not None:
            split = image_data_generator._validation_split
            part = _part(y, len(x), split, subset, ignore_class_split)
        self.x = x[part]
        self.x_misc = [array[part] for array in misc]
        self.y = None if y is None else y[part]
        # Keras' class forgets the subset here and weighs other examples.
        self.sample_weight = (
            None if sample_weight is None else sample_weight[part]
        )
        super().__init__(len(self._stored), batch_size, shuffle, seed)

    @property
    def x(self) -> np.ndarray:
        """The images, in the dtype that the iterator yields."""
        if self._x is None:  # kept, since user code indexes it per image
            self._x = np.asarray(self._stored, self.dtype)
        return self._x

    @x.setter
    def x(self, images: Any) -> None:
        images = np.asarray(images)
        # uint8 stays as it is until the computation: a quarter of the memory.
        if images.dtype != np.uint8:
            images = np.asarray(images, np.float32)
        self._stored = images
        self._x = None
        self._on_host: tf.Tensor | None = None

    def _read(self, index: tf.Tensor) -> tf.Tensor:
        if self._on_host is None:
            with tf.init_scope(), tf.device("CPU:0"):
                self._on_host = tf.convert_to_tensor(self._stored)
        return tf.gather(self._on_host, index)

    def _labelled(self, index: np.ndarray, images: np.ndarray) -> Batch:
        x: Any = images
        if self.x_misc:
            x = [images, *(array[index] for array in self.x_misc)]
        if self.y is None:
            return x
        if self.sample_weight is None:
            return x, self.y[index]
        return x, self.y[index], self.sample_weight[index]


def check_images(x: np.ndarray, data_format: str) -> None:
    """Raises ValueError unless the rank is 4; warns of unusual channels."""
    if x.ndim != 4:
        raise ValueError(
            "Expected images of rank 4 (examples, height, width, channels "
            f"in {data_format} order), got an array of shape {x.shape}"
        )
    channels = x.shape[3 if data_format == "channels_last" else 1]
    if channels not in _USUAL_CHANNELS:
        warnings.warn(
            f"Expected 1, 3 or 4 channels, {data_format}, got {channels} "
            f"in an array of shape {x.shape}",
            stacklevel=4,
        )


def _check_lengths(
    x: np.ndarray,
    y: np.ndarray | None,
    sample_weight: np.ndarray | None,
    misc: list[np.ndarray],
) -> None:
    """Raises ValueError, in Keras' words, unless all lengths are the same."""
    for place, other in enumerate(misc):
        if len(other) != len(x):
            raise ValueError(
                "All of the arrays in `x` should have the same length: "
                f"expected {len(x)}, got {len(other)} in x[1][{place}]"
            )
    for name, array in (("y` (labels)", y), ("sample_weight`", sample_weight)):
        if array is not None and len(array) != len(x):
            raise ValueError(
                f"`x` (images tensor) and `{name} should have the same "
                f"length: expected {len(x)}, got {len(array)}"
            )


def _part(
    y: np.ndarray | None,
    count: int,
    split: float,
    subset: str,
    ignore_class_split: bool,
) -> slice:
    """The examples of a subset; the validation subset comes first."""
    end = int(count * split)
    if y is not None and not ignore_class_split:
        here, there = np.unique(y[:end]), np.unique(y[end:])
        if not np.array_equal(here, there):
            raise ValueError(
                "Training and validation subsets have different number of "
                "classes after the split: expected the same classes, got "
                f"{len(here)} in validation (the first {end} examples) and "
                f"{len(there)} in training. Shuffle arrays that are sorted by "
                "class, or pass ignore_class_split=True"
            )
    return slice(end) if subset == "validation" else slice(end, None)
