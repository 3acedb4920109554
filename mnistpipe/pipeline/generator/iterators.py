"""What ImageDataGenerator's ``flow`` returns: endless batches for ``fit``.

An iterator is at once a Keras Sequence (``len``, indexing, taken by ``fit``,
``evaluate`` and ``predict`` of Keras 2 and 3) and an endless Python iterator.
Both read the same batches: batch i of epoch e is a pure function of (seed, e,
i), so that ``iterator[i]`` repeats and ``dataset`` gives the same bits.
"""

from __future__ import annotations

import functools
import os
import threading
import warnings
from collections.abc import Iterator as PythonIterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mnistpipe.pipeline import draws
from mnistpipe.pipeline.stream import Stream

SUBSETS = ("training", "validation")
# Beyond these Keras' class warns that the data format may be another one.
_USUAL_CHANNELS = (1, 3, 4)

_PROCESS = os.getpid()

Batch = Any  # pictures, (pictures, targets) or (pictures, targets, weights)


def fresh_seed() -> int:
    """A seed from NumPy's global generator, which scripts seed."""
    return int(np.random.randint(0, 2**63 - 1, dtype=np.int64))


def check_subset(subset: str | None) -> None:
    """Raises ValueError unless ``subset`` is one, or None."""
    if subset is not None and subset not in SUBSETS:
        raise ValueError(
            f"Expected subset to be one of {', '.join(SUBSETS)}, or None. "
            f"Received: {subset!r}"
        )


class Iterator(keras.utils.Sequence):
    """Batches of pictures, epoch after epoch.

    A subclass says what there is to read: ``_read`` and ``_labelled``.

    Args:
      n: how many pictures there are.
      batch_size: of every batch but possibly an epoch's last.
      shuffle: a new order each epoch, else that of the data.
      seed: of order and draws; None takes one from NumPy's global
        generator, so that ``np.random.seed`` makes a script repeat.

    Attributes:
      epoch: how many epochs are over; part of every draw.
      batch_index: of the batch that ``next`` gives.
      total_batches_seen: how many were asked for.
    """

    white_list_formats = ("png", "jpg", "jpeg", "bmp", "ppm", "tif", "tiff")

    def __init__(
        self, n: int, batch_size: int, shuffle: bool, seed: int | None
    ) -> None:
        super().__init__()
        self.n = n
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.epoch = 0
        self.batch_index = 0
        self.total_batches_seen = 0
        self.lock = threading.Lock()
        self._seed = fresh_seed() if seed is None else draws.check_seed(seed)
        self._order: tuple[Any, np.ndarray] = (None, np.empty(0, np.int64))
        if n:
            _ = self._stream  # checks the batch size

    # -- the life of Keras' iterator ------------------------------------

    def __len__(self) -> int:
        """Batches of an epoch."""
        return -(-self.n // self.batch_size)

    def __getitem__(self, i: int) -> Batch:
        """Batch ``i`` of the current epoch: the same one when asked again."""
        length = len(self)
        if not -length <= i < length:
            raise ValueError(
                f"Expected the index of a batch below {length}. Received: {i}"
            )
        with self.lock:
            self.total_batches_seen += 1
            epoch = self.epoch
        return self._batch(epoch, int(i) % length)

    def __iter__(self) -> PythonIterator[Batch]:
        """Itself: it never ends."""
        return self

    def __next__(self) -> Batch:
        """The next batch; after an epoch's last, the next epoch's first."""
        with self.lock:
            epoch, i = self.epoch, self.batch_index
            self.total_batches_seen += 1
            self.batch_index += 1
            if self.batch_index >= len(self):
                self.batch_index = 0
                self.epoch += 1
        return self._batch(epoch, i)

    def next(self) -> Batch:
        """As ``next(iterator)``; Keras 2 has both."""
        return next(self)

    def reset(self) -> None:
        """Starts over at batch 0, with new pictures if any were taken."""
        with self.lock:
            if self.batch_index:
                self.batch_index = 0
                self.epoch += 1

    def on_epoch_end(self) -> None:
        """Turns to the next epoch's order and draws; ``fit`` calls it."""
        with self.lock:
            self.epoch += 1

    @property
    def index_array(self) -> np.ndarray:
        """The current epoch's order: int64[n], places in the data."""
        return self._epoch_order(self.epoch)

    # -- batches --------------------------------------------------------

    @property
    def _stream(self) -> Stream:
        # Scripts change batch_size and shuffle of a finished iterator.
        return Stream(self.n, self.batch_size, self._seed, bool(self.shuffle))

    @property
    def _size(self) -> int:
        """Pictures that one call of the compiled program takes."""
        return min(self.batch_size, self.n)

    def _epoch_order(self, epoch: int) -> np.ndarray:
        stream = self._stream
        of, order = self._order
        if of != (stream, epoch):
            with tf.device("CPU:0"):
                places = tf.range(self.n, dtype=tf.int64)
                order = stream.order(epoch, places).numpy()
            self._order = ((stream, epoch), order)
        return order

    def _batch(self, epoch: int, i: int) -> Batch:
        if not self.n:
            raise ValueError("Expected at least one picture. Received: none")
        start = i * self.batch_size
        index = self._epoch_order(epoch)[start : start + self.batch_size]
        return self._batch_of(epoch, index)

    def _get_batches_of_transformed_samples(self, index: Any) -> Batch:
        """Any examples at all, as the current epoch shows them."""
        return self._batch_of(self.epoch, np.asarray(index, np.int64))

    def _batch_of(self, epoch: int, index: np.ndarray) -> Batch:
        if os.getpid() != _PROCESS:
            raise RuntimeError(
                "Expected to make pictures in the process that imported "
                "TensorFlow, which does not survive a fork. Leave "
                "use_multiprocessing out: a batch is computed by all cores "
                "already."
            )
        # A partial batch repeats its examples up to full size.
        full = np.resize(index, max(self._size, len(index)))
        with tf.device("CPU:0"):
            keys = draws.example_keys(self._seed, epoch, full)
            pictures = self._pictures(tf.constant(full), keys, len(index))
        return self._labelled(index, pictures.numpy())

    def _pictures(
        self, index: tf.Tensor, keys: tf.Tensor, count: tf.Tensor | int
    ) -> tf.Tensor:
        """The first ``count`` examples of a batch; eager, or in a graph."""
        images = self._read(index)
        generator = self.image_data_generator
        if generator is None:
            pictures = tf.cast(images[:count], self.dtype)
        else:
            pictures = generator.picturing()(images, keys, count)
        if self.save_to_dir:
            shape = pictures.shape
            pictures = tf.numpy_function(
                self._save, [pictures, index, keys], pictures.dtype
            )
            pictures.set_shape(shape)
        return pictures

    def _save(
        self, pictures: np.ndarray, index: np.ndarray, keys: np.ndarray
    ) -> np.ndarray:
        """Writes pictures as files, and hands them on."""
        for picture, place, key in zip(pictures, index, keys, strict=False):
            image = keras.utils.array_to_img(
                picture, data_format=self.data_format, scale=True
            )
            # The key stands where Keras has a random number: it tells the
            # epochs apart.
            name = f"{self.save_prefix}_{place}_{key[0]}.{self.save_format}"
            image.save(os.path.join(self.save_to_dir, name))
        return pictures

    def _read(self, index: tf.Tensor) -> tf.Tensor:
        """Pictures [B, ...] of the examples, not augmented."""
        raise NotImplementedError  # abstract: arrays or files

    def _labelled(self, index: np.ndarray, pictures: np.ndarray) -> Batch:
        """Puts targets and weights beside NumPy pictures."""
        raise NotImplementedError  # abstract: arrays or files

    def dataset(
        self, epochs: int | None = None, *, start: int = 0
    ) -> tf.data.Dataset:
        """The same batches as a tf.data stream, prepared in parallel.

        Args:
          epochs: how many; None: endless, for ``fit`` with
            ``steps_per_epoch=len(iterator)``.
          start: the first epoch.

        Returns:
          A dataset of batches as ``next`` on a new iterator gives them, as
          tensors, bit for bit.
        """
        stream, length, size = self._stream, len(self), self._size
        last = np.iinfo(np.int64).max // length
        stop = last if epochs is None else min(start + epochs, last)
        # One batch shows the structure, the dtypes and the shapes.
        probe = _as_tuples(self._batch_of(start, np.zeros(1, np.int64)))
        _, *arrays = (np.asarray(part) for part in tf.nest.flatten(probe))

        def labels(index: np.ndarray, pictures: np.ndarray) -> list[np.ndarray]:
            batch = _as_tuples(self._labelled(index, pictures))
            return [np.asarray(part) for part in tf.nest.flatten(batch)[1:]]

        def batch_of(step: tf.Tensor) -> Any:
            index, keys, count = stream.full_batch(step)
            pictures = self._pictures(index[:size], keys[:size], count)
            parts = []
            if arrays:  # an operation without results has no tensors
                dtypes = [array.dtype for array in arrays]
                seen = [index[:count], pictures]
                parts = tf.numpy_function(labels, seen, dtypes)
            for part, array in zip(parts, arrays, strict=True):
                part.set_shape((None, *array.shape[1:]))
            return tf.nest.pack_sequence_as(probe, [pictures, *parts])

        return (
            tf.data.Dataset.range(start * length, stop * length)
            .map(batch_of, num_parallel_calls=tf.data.AUTOTUNE)
            .prefetch(tf.data.AUTOTUNE)
        )


def _as_tuples(batch: Any) -> Any:
    """tf.data takes a list for one tensor, Keras for several."""
    if isinstance(batch, (list, tuple)):
        return tuple(_as_tuples(part) for part in batch)
    return batch


class NumpyArrayIterator(Iterator):
    """What ``flow`` returns: pictures out of an array.

    The arguments are those of ImageDataGenerator.flow, and:

    Args:
      image_data_generator: what it belongs to.
      data_format: "channels_last" or "channels_first".
      dtype: of the pictures that it yields.
    """

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
        check_pictures(x, self.data_format)
        beside = {"y": y, "sample_weight": sample_weight}
        beside |= {f"x[1][{i}]": array for i, array in enumerate(misc)}
        for name, array in beside.items():
            if array is not None and len(array) != len(x):
                raise ValueError(
                    f"Expected {name} to be as long as the pictures "
                    f"({len(x)}). Received: {len(array)}"
                )
        part = slice(None)
        if subset is not None:
            split = image_data_generator._validation_split
            part = _part(y, len(x), split, subset, ignore_class_split)
        # uint8 stays so until it is computed with: a quarter of the memory.
        self._images = x[part] if x.dtype == np.uint8 else _floats(x[part])
        self.x_misc = [array[part] for array in misc]
        self.y = None if y is None else y[part]
        # Keras' class forgets the subset here and weighs other examples.
        self.sample_weight = (
            None if sample_weight is None else sample_weight[part]
        )
        super().__init__(len(self._images), batch_size, shuffle, seed)

    @property
    def x(self) -> np.ndarray:
        """The pictures, in the dtype that is yielded."""
        return np.asarray(self._images, self.dtype)

    def _read(self, index: tf.Tensor) -> tf.Tensor:
        return tf.gather(self._on_host, index)

    @functools.cached_property
    def _on_host(self) -> tf.Tensor:
        with tf.init_scope(), tf.device("CPU:0"):
            return tf.convert_to_tensor(self._images)

    def _labelled(self, index: np.ndarray, pictures: np.ndarray) -> Batch:
        x = pictures
        if self.x_misc:
            x = [pictures, *(array[index] for array in self.x_misc)]
        if self.y is None:
            return x
        if self.sample_weight is None:
            return x, self.y[index]
        return x, self.y[index], self.sample_weight[index]


def _floats(images: np.ndarray) -> np.ndarray:
    return np.asarray(images, np.float32)


def check_pictures(x: np.ndarray, data_format: str) -> None:
    """Raises ValueError unless the rank is 4; warns of odd channels."""
    if x.ndim != 4:
        raise ValueError(
            "Expected pictures of rank 4 (examples, height, width, channels "
            f"in {data_format} order). Received: an array of shape {x.shape}"
        )
    channels = x.shape[3 if data_format == "channels_last" else 1]
    if channels not in _USUAL_CHANNELS:
        warnings.warn(
            f"Expected 1, 3 or 4 channels, {data_format}. Received: "
            f"{channels}, in an array of shape {x.shape}",
            stacklevel=4,
        )


def _part(
    y: np.ndarray | None,
    count: int,
    split: float,
    subset: str,
    ignore_class_split: bool,
) -> slice:
    """The examples of a subset: validation comes first."""
    end = int(count * split)
    if y is not None and not ignore_class_split:
        here, there = np.unique(y[:end]), np.unique(y[end:])
        if not np.array_equal(here, there):
            raise ValueError(
                "Expected the same classes in both subsets (shuffle arrays "
                "that are sorted by class, or pass ignore_class_split=True). "
                f"Received: {len(here)} in validation (the first {end} "
                f"examples), {len(there)} in training"
            )
    return slice(end) if subset == "validation" else slice(end, None)
