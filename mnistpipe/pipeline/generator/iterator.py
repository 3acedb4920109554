"""The base class of the iterators that ``flow`` and its sisters return.

An iterator is at once a Keras Sequence (``len``, indexing, taken by ``fit``,
``evaluate`` and ``predict`` of Keras 2 and 3) and an endless Python iterator.
Both read the same batches: batch i of epoch e is a pure function of (seed, e,
i), so ``iterator[i]`` repeats and ``dataset`` has the same bits.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator as PythonIterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mnistpipe.pipeline import draws
from mnistpipe.pipeline.generator.augmenters import is_overridden, numpy_seeded
from mnistpipe.pipeline.stream import Stream

_PROCESS = os.getpid()

Batch = Any  # images, (images, targets) or (images, targets, weights)


def fresh_seed() -> int:
    """Draws a seed from NumPy's global generator, which scripts seed."""
    return int(np.random.randint(0, 2**63 - 1, dtype=np.int64))


class Iterator(keras.utils.Sequence):
    """Batches of images, epoch after epoch.

    A subclass either implements ``_read`` and ``_labelled``, or, as with
    Keras' class, ``_get_batches_of_transformed_samples``. It may also
    override ``_set_index_array``. User code in both methods may draw from
    NumPy's global generator, which is seeded by (seed, epoch, batch).
    A subclass that overrides ``on_epoch_end`` must call this class' method,
    which starts the next epoch.

    Args:
      n: number of images.
      batch_size: number of images in a batch; an epoch's last may be smaller.
      shuffle: whether each epoch has a new order.
      seed: of the order and the draws; None takes a seed from NumPy's global
        generator, so ``np.random.seed`` makes a script repeat.
      **kwargs: of Keras 3's PyDataset: workers, use_multiprocessing,
        max_queue_size.

    Attributes:
      epoch: number of finished epochs; a part of every draw.
      batch_index: of the batch that ``next`` returns next.
      total_batches_seen: number of batches that were asked for.
      index_generator: yields the indices of batch after batch, endlessly.
    """

    white_list_formats = ("png", "jpg", "jpeg", "bmp", "ppm", "tif", "tiff")

    def __init__(
        self,
        n: int,
        batch_size: int,
        shuffle: bool,
        seed: int | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.n = n
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.epoch = 0
        self.batch_index = 0
        self.total_batches_seen = 0
        self.lock = threading.Lock()
        self.index_generator = self._flow_index()
        self._thread = threading.local()
        self._seed = fresh_seed() if seed is None else draws.check_seed(seed)
        self._order: tuple[Any, np.ndarray] = (None, np.empty(0, np.int64))
        if n:
            _ = self._stream  # checks the batch size

    # -- the interface of Keras' iterators --------------------------------

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        return -(-self.n // self.batch_size)

    def __getitem__(self, i: int) -> Batch:
        """Returns batch ``i`` of the current epoch, the same every time."""
        length = len(self)
        if not -length <= i < length:
            raise ValueError(
                f"Expected the index of a batch below {length}, got {i}"
            )
        with self.lock:
            self.total_batches_seen += 1
            index = self._index_of(int(i) % length)
        return self._transformed(index)

    def __iter__(self) -> PythonIterator[Batch]:
        """Returns itself; the iteration never ends."""
        return self

    def __next__(self) -> Batch:
        """Returns the next batch; the next epoch follows an epoch's last."""
        return self.next()

    def next(self) -> Batch:
        """Returns the next batch."""
        with self.lock:
            index = next(self.index_generator)
        return self._transformed(index)

    def reset(self) -> None:
        """Starts again at batch 0; with new images if any were taken."""
        with self.lock:
            if self.batch_index:
                self.batch_index = 0
                self._next_epoch()

    def on_epoch_end(self) -> None:
        """Starts the next epoch's order and draws; ``fit`` calls it."""
        with self.lock:
            self._next_epoch()

    def _next_epoch(self) -> None:
        self.epoch += 1
        self._thread.epoch = self.epoch

    # -- the order ---------------------------------------------------------

    @property
    def _stream(self) -> Stream:
        # Scripts change batch_size and shuffle of a finished iterator.
        return Stream(self.n, self.batch_size, self._seed, bool(self.shuffle))

    @property
    def index_array(self) -> np.ndarray:
        """The order of the current epoch: int64[n], places in the data."""
        if self.n and self._order[0] != (self._stream, self.epoch):
            if is_overridden(self, "_set_index_array", _SET_INDEX_ARRAY):
                # No batch starts with example n: a seed of the order's own.
                with numpy_seeded(self._numpy_seed(self.epoch, self.n)):
                    self._set_index_array()
            else:
                self._set_index_array()
        return self._order[1]

    @index_array.setter
    def index_array(self, order: Any) -> None:
        order = np.empty(0, np.int64) if order is None else np.asarray(order)
        key = (self._stream, self.epoch) if len(order) else None
        self._order = (key, order)

    def _set_index_array(self) -> None:
        """Computes ``index_array`` for the current epoch."""
        with tf.device("CPU:0"):
            places = tf.range(self.n, dtype=tf.int64)
            self.index_array = self._stream.order(self.epoch, places).numpy()

    def _index_of(self, i: int) -> np.ndarray:
        """Indices of a batch of the current epoch, which the thread keeps."""
        self._thread.epoch = self.epoch
        start = i * self.batch_size
        return self.index_array[start : start + self.batch_size]

    def _flow_index(self) -> PythonIterator[np.ndarray]:
        while True:
            i = self.batch_index
            self.total_batches_seen += 1
            index = self._index_of(i)
            if self.n > (i + 1) * self.batch_size:
                self.batch_index = i + 1
            else:
                self.batch_index = 0
                self.epoch += 1
            yield index

    # -- batches -----------------------------------------------------------

    @property
    def _size(self) -> int:
        """Number of images that one call of the compiled program takes."""
        return min(self.batch_size, self.n)

    @property
    def _thread_epoch(self) -> int:
        """The epoch of the last batch that this thread took indices for.

        ``self.epoch`` may be ahead: another thread may have taken an
        epoch's last batch, or this thread itself.
        """
        return getattr(self._thread, "epoch", self.epoch)

    def _numpy_seed(self, epoch: int, index: int) -> np.ndarray:
        with tf.device("CPU:0"):
            keys = draws.example_keys(self._seed, epoch, np.array([index]))
        return keys.numpy()[0]

    def _transformed(self, index: np.ndarray) -> Batch:
        name = "_get_batches_of_transformed_samples"
        if not len(index) or not is_overridden(self, name, _GET_BATCHES):
            return self._get_batches_of_transformed_samples(index)
        with numpy_seeded(self._numpy_seed(self._thread_epoch, int(index[0]))):
            return self._get_batches_of_transformed_samples(index)

    def _get_batches_of_transformed_samples(self, index_array: Any) -> Batch:
        """Returns the examples as the epoch of the last batch shows them."""
        index = np.asarray(index_array, np.int64)
        if not index.size:
            raise ValueError("Expected at least one image, got none")
        return self._batch_of(self._thread_epoch, index)

    def _batch_of(self, epoch: int, index: np.ndarray) -> Batch:
        if os.getpid() != _PROCESS:
            raise RuntimeError(
                "Expected the process that imported TensorFlow, got a fork "
                "of it, which TensorFlow does not survive. Leave out "
                "use_multiprocessing: a batch uses all cores already."
            )
        # A partial batch repeats its examples up to full size.
        full = np.resize(index, max(self._size, len(index)))
        with tf.device("CPU:0"):
            keys = draws.example_keys(self._seed, epoch, full)
            images = self._images(tf.constant(full), keys, len(index))
        return self._labelled(index, images.numpy())

    def _images(
        self, index: tf.Tensor, keys: tf.Tensor, count: tf.Tensor | int
    ) -> tf.Tensor:
        """The first ``count`` images of a batch; eagerly or in a graph."""
        images = self._read(index)
        generator = self.image_data_generator
        if generator is None:
            images = tf.cast(images[:count], self.dtype)
        else:
            images = generator.augmenter()(images, keys, count)
        if self.save_to_dir:
            shape = images.shape
            images = tf.numpy_function(
                self._save, [images, index, keys], images.dtype
            )
            images.set_shape(shape)
        return images

    def _save(
        self, images: np.ndarray, index: np.ndarray, keys: np.ndarray
    ) -> np.ndarray:
        """Writes images as files and returns them."""
        for array, place, key in zip(images, index, keys, strict=False):
            image = keras.utils.array_to_img(
                array, data_format=self.data_format, scale=True
            )
            # Keras has a random number where the key stands. Both keep the
            # epochs' files apart.
            name = f"{self.save_prefix}_{place}_{key[0]}.{self.save_format}"
            image.save(os.path.join(self.save_to_dir, name))
        return images

    def _read(self, index: tf.Tensor) -> tf.Tensor:
        """Returns the images [B, ...] of the examples, not augmented."""
        raise NotImplementedError(
            f"Expected {type(self).__name__} to override "
            "_get_batches_of_transformed_samples"
        )

    def _labelled(self, index: np.ndarray, images: np.ndarray) -> Batch:
        """Puts targets and weights beside NumPy images."""
        raise NotImplementedError(
            f"Expected {type(self).__name__} to override "
            "_get_batches_of_transformed_samples"
        )

    # -- tf.data -----------------------------------------------------------

    def dataset(
        self, epochs: int | None = None, *, start: int = 0
    ) -> tf.data.Dataset:
        """Returns the same batches as a tf.data stream, made in parallel.

        Args:
          epochs: number of epochs; None: endless, for ``fit`` with
            ``steps_per_epoch=len(iterator)``.
          start: the first epoch.

        Returns:
          A dataset of the batches that ``next`` on a new iterator returns,
          as tensors, bit for bit.

        Raises:
          ValueError: a subclass or an instance overrides how batches are
            made, which a graph cannot follow.
        """
        self._check_not_overridden()
        stream, length, size = self._stream, len(self), self._size
        last = np.iinfo(np.int64).max // length
        stop = last if epochs is None else min(start + epochs, last)
        # One batch shows the structure, the dtypes and the shapes.
        probe = _as_tuples(self._batch_of(start, np.zeros(1, np.int64)))
        _, *arrays = (np.asarray(part) for part in tf.nest.flatten(probe))

        def labels(index: np.ndarray, images: np.ndarray) -> list[np.ndarray]:
            batch = _as_tuples(self._labelled(index, images))
            return [np.asarray(part) for part in tf.nest.flatten(batch)[1:]]

        def batch_of(step: tf.Tensor) -> Any:
            index, keys, count = stream.full_batch(step)
            images = self._images(index[:size], keys[:size], count)
            parts = []
            if arrays:  # an operation without results has no tensors
                dtypes = [array.dtype for array in arrays]
                seen = [index[:count], images]
                parts = tf.numpy_function(labels, seen, dtypes)
            for part, array in zip(parts, arrays, strict=True):
                part.set_shape((None, *array.shape[1:]))
            return tf.nest.pack_sequence_as(probe, [images, *parts])

        return (
            tf.data.Dataset.range(start * length, stop * length)
            .map(batch_of, num_parallel_calls=tf.data.AUTOTUNE)
            .prefetch(tf.data.AUTOTUNE)
        )

    def _check_not_overridden(self) -> None:
        for name, original in (
            ("_get_batches_of_transformed_samples", _GET_BATCHES),
            ("_set_index_array", _SET_INDEX_ARRAY),
            ("next", _NEXT),
        ):
            if is_overridden(self, name, original):
                raise ValueError(
                    f"Expected an iterator with its own {name}() for "
                    f"dataset(), got {type(self).__name__}, which overrides "
                    f"{name}(). Pass the iterator itself to fit"
                )


# Kept, so that a method that is replaced on the class counts as overridden.
_GET_BATCHES = Iterator._get_batches_of_transformed_samples
_SET_INDEX_ARRAY = Iterator._set_index_array
_NEXT = Iterator.next


def _as_tuples(batch: Any) -> Any:
    """Turns lists, which tf.data takes for one tensor, into tuples."""
    if isinstance(batch, (list, tuple)):
        return tuple(_as_tuples(part) for part in batch)
    return batch
