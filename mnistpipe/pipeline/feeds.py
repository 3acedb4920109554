"""From a stream to training: tf.data pipelines of whole batches.

``host_dataset`` gathers and augments on the CPU, a batch at a time.
``device_dataset`` sends indices, keys and targets only; the pictures lie on
the device already and a model gathers and augments them itself
(``layers.Resident``). ``with_keys`` and ``augmented_dataset`` serve any
other tf.data.Dataset.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from mnistpipe.pipeline import draws
from mnistpipe.pipeline.stream import Stream
from mnistpipe.pipeline.transform import Compose


def _steps(
    stream: Stream, start: int, stop: int | None, shard: tuple[int, int]
) -> tf.data.Dataset:
    stop = stream.steps_per_epoch if stop is None else stop
    if not 0 <= start <= stop:
        raise ValueError(
            "Expected steps with 0 <= start <= stop. Received: "
            f"start={start}, stop={stop}"
        )
    place, count = shard
    if not 0 <= place < count:
        raise ValueError(
            f"Expected a shard (i, n) with 0 <= i < n. Received: {shard!r}"
        )
    return tf.data.Dataset.range(start + place, stop, count)


def _on_host(arrays: Any, stream: Stream) -> Any:
    def convert(array: Any) -> tf.Tensor:
        if len(array) < stream.examples:
            raise ValueError(
                f"Expected at least the stream's {stream.examples} "
                f"examples. Received: an array of {len(array)}"
            )
        return tf.convert_to_tensor(array)

    with tf.device("CPU:0"):
        return tf.nest.map_structure(convert, arrays)


def host_dataset(
    images: np.ndarray | tf.Tensor,
    targets: Any,
    stream: Stream,
    augment: Compose,
    *,
    start: int = 0,
    stop: int | None = None,
    shard: tuple[int, int] = (0, 1),
) -> tf.data.Dataset:
    """Batches of augmented pictures, computed on the CPU.

    Args:
      images: [N, H, W, C], uint8 or float, held in memory once.
      targets: an array [N, ...], or a structure (tuple, dict) of such.
      stream: which examples and keys make up which batch.
      augment: what is done to a batch.
      start: first step, counted over all epochs: resuming is starting
        elsewhere.
      stop: one past the last step, by default one epoch's end.
      shard: (i, n): every n-th of these steps, from the i-th on.

    Returns:
      A dataset of (pictures [b, H, W, C], targets [b, ...]).
    """
    images, targets = _on_host((images, targets), stream)

    def batch_of(step: tf.Tensor) -> tuple[tf.Tensor, Any]:
        index, key, count = stream.full_batch(step)
        pictures = augment(tf.gather(images, index), key)
        if not stream.always_full:
            pictures, index = pictures[:count], index[:count]
        return pictures, _rows(targets, index)

    return (
        _steps(stream, start, stop, shard)
        .map(batch_of, num_parallel_calls=tf.data.AUTOTUNE)
        .prefetch(tf.data.AUTOTUNE)
    )


def _rows(targets: Any, index: tf.Tensor) -> Any:
    return tf.nest.map_structure(lambda t: tf.gather(t, index), targets)


def device_dataset(
    targets: Any,
    stream: Stream,
    *,
    start: int = 0,
    stop: int | None = None,
    shard: tuple[int, int] = (0, 1),
) -> tf.data.Dataset:
    """Batches of indices and keys, for pictures that lie on the device.

    Args:
      targets: an array [N, ...], or a structure (tuple, dict) of such.
      stream: which examples and keys make up which batch.
      start: as in ``host_dataset``.
      stop: as in ``host_dataset``.
      shard: as in ``host_dataset``.

    Returns:
      A dataset of ((index int64[b], key uint32[b, 2]), targets [b, ...]).
    """
    targets = _on_host(targets, stream)

    def batch_of(step: tf.Tensor) -> tuple[Any, Any]:
        index, key = stream.batch(step)
        return (index, key), _rows(targets, index)

    return (
        _steps(stream, start, stop, shard)
        .map(batch_of, num_parallel_calls=tf.data.AUTOTUNE)
        .prefetch(tf.data.AUTOTUNE)
    )


def _enumerated(dataset: tf.data.Dataset, seed: int) -> tf.data.Dataset:
    """Elements as (pass, place, element); a pass' number is random."""
    draws.check_seed(seed)
    passes = tf.data.Dataset.random(
        seed=seed, rerandomize_each_iteration=True
    ).take(1)
    return passes.flat_map(
        lambda number: dataset.enumerate().map(
            lambda place, element: (number, place, element)
        )
    )


def with_keys(dataset: tf.data.Dataset, seed: int) -> tf.data.Dataset:
    """Gives each element of a dataset a key by its place.

    The keys change with every pass over the dataset, as they do with the
    epochs of a Stream, and repeat with the seed. Put it after what is fixed
    (files in order) and before ``shuffle`` and ``batch``: then an example's
    pictures depend neither on the order nor on the batch.

    Args:
      dataset: of single examples.
      seed: in [0, 2**63).

    Returns:
      A dataset of (key uint32[2], element).
    """
    return _enumerated(dataset, seed).map(
        lambda number, place, element: (
            draws.example_keys(seed, number, place),
            element,
        ),
        num_parallel_calls=tf.data.AUTOTUNE,
    )


def augmented_dataset(
    dataset: tf.data.Dataset,
    augment: Compose,
    *,
    batch_size: int,
    seed: int = 0,
    masks: bool = False,
    shuffle_buffer: int = 0,
    drop_remainder: bool = False,
) -> tf.data.Dataset:
    """Batches and augments any dataset of single examples.

    Every pass shows new pictures, and the same ones for the same seed. An
    example's pictures do not depend on the order or the batch.

    Args:
      dataset: of pictures [H, W, C], or of tuples that begin with one, in
        an order that is the same on every pass (shuffle here, not before).
      augment: what is done to a batch.
      batch_size: at least 1.
      seed: in [0, 2**63).
      masks: whether a tuple's second member is a mask [H, W, C] or [H, W],
        to be moved with its picture.
      shuffle_buffer: how many examples ``Dataset.shuffle`` holds; 0 keeps
        the order.
      drop_remainder: leave out a last batch that is not full.

    Returns:
      A dataset of the same structure, each member with a batch axis, the
      pictures augmented.
    """
    keyed = _enumerated(dataset, seed)
    if shuffle_buffer:
        keyed = keyed.shuffle(shuffle_buffer, seed=seed)

    def augment_batch(number: tf.Tensor, place: tf.Tensor, element: Any) -> Any:
        key = draws.example_keys(seed, number, place)
        if not isinstance(element, tuple):
            return augment(element, key)
        if not masks:
            return augment(element[0], key), *element[1:]
        return *augment(element[0], key, masks=element[1]), *element[2:]

    return (
        keyed.batch(batch_size, drop_remainder=drop_remainder)
        .map(augment_batch, num_parallel_calls=tf.data.AUTOTUNE)
        .prefetch(tf.data.AUTOTUNE)
    )
