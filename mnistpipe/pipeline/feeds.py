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
    if start < 0 or (stop is not None and stop < start):
        raise ValueError(
            "Expected steps with 0 <= start <= stop. Received: "
            f"start={start}, stop={stop}"
        )
    place, count = shard
    if not 0 <= place < count:
        raise ValueError(
            f"Expected a shard (i, n) with 0 <= i < n. Received: {shard!r}"
        )
    if stop is not None:
        return tf.data.Dataset.range(start + place, stop, count)
    # Endless, which a range is not: but its end is 2**62 steps away.
    steps = tf.data.Dataset.range(start + place, start + 2**62, count)
    endless = tf.data.INFINITE_CARDINALITY
    return steps.apply(tf.data.experimental.assert_cardinality(endless))


def _on_host(arrays: Any, stream: Stream) -> Any:
    def convert(array: Any) -> tf.Tensor:
        array = array if isinstance(array, tf.Tensor) else np.asarray(array)
        if len(array) < stream.examples:
            raise ValueError(
                f"Expected at least the stream's {stream.examples} "
                f"examples. Received: an array of {len(array)}"
            )
        return tf.convert_to_tensor(array)

    with tf.device("CPU:0"):
        # A list is an array here, not a structure.
        if isinstance(arrays, list):
            arrays = np.asarray(arrays)
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
      stop: one past the last step; endless if None, so that no two epochs
        are alike: give ``fit`` its steps_per_epoch.
      shard: (i, n): every n-th of these steps, from the i-th on.

    Returns:
      A dataset of (pictures [b, H, W, C], targets [b, ...]).
    """
    if not isinstance(augment, Compose):
        raise TypeError(f"Expected a Compose. Received: {augment!r}")
    images, targets = _on_host(images, stream), _on_host(targets, stream)

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


def _enumerated(
    dataset: tf.data.Dataset, seed: int, first_pass: int
) -> tf.data.Dataset:
    """Elements as (pass, place, element), the passes counted."""
    draws.check_seed(seed)
    # A variable, since a dataset has no other memory between its passes.
    with tf.device("CPU:0"):
        passes = tf.Variable(first_pass - 1, dtype=tf.int64, trainable=False)
    numbered = tf.data.Dataset.range(1).map(lambda _: passes.assign_add(1))
    elements = numbered.flat_map(
        lambda number: dataset.enumerate().map(
            lambda place, element: (number, place, element)
        )
    )
    count = dataset.cardinality()
    if count == tf.data.UNKNOWN_CARDINALITY:
        return elements
    return elements.apply(tf.data.experimental.assert_cardinality(count))


def with_keys(
    dataset: tf.data.Dataset, seed: int, *, first_pass: int = 0
) -> tf.data.Dataset:
    """Gives each element of a dataset a key by its place.

    The keys change with every pass over the dataset (every ``iter`` counts
    as one), as they do with the epochs of a Stream, and repeat with the
    seed. Put it after what is fixed (files in order) and before ``shuffle``
    and ``batch``: then an example's pictures depend neither on the order
    nor on the batch.

    Args:
      dataset: of single examples, of any structure.
      seed: in [0, 2**63).
      first_pass: number of the first pass, to go on where another run
        ended.

    Returns:
      A dataset of (key uint32[2], element).
    """
    return _enumerated(dataset, seed, first_pass).map(
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
    first_pass: int = 0,
) -> tf.data.Dataset:
    """Batches and augments any dataset of single examples.

    Every pass shows new pictures, and the same ones for the same seed. An
    example's pictures do not depend on the order or the batch.

    Args:
      dataset: of pictures [H, W, C], or of tuples that begin with one, in
        an order that is the same on every pass (shuffle here, not before).
        Dicts are for ``with_keys`` and a map of your own.
      augment: what is done to a batch.
      batch_size: at least 1.
      seed: in [0, 2**63).
      masks: whether a tuple's second member is a mask [H, W, C] or [H, W],
        to be moved with its picture.
      shuffle_buffer: how many examples ``Dataset.shuffle`` holds; 0 keeps
        the order. That order, not the pictures, also follows
        ``tf.random.set_seed``.
      drop_remainder: leave out a last batch that is not full.
      first_pass: as in ``with_keys``.

    Returns:
      A dataset of the same structure, each member with a batch axis, the
      pictures augmented.

    Raises:
      ValueError: the elements are no such tuples, or lack a mask.
    """
    spec = dataset.element_spec
    members = spec if isinstance(spec, tuple) else (spec,)
    if not all(isinstance(m, tf.TensorSpec) for m in members[: 1 + masks]) or (
        masks and len(members) < 2
    ):
        raise ValueError(
            "Expected elements that are pictures, or tuples of a picture, "
            f"{'its mask ' if masks else ''}and the rest. Received: {spec}"
        )
    keyed = _enumerated(dataset, seed, first_pass)
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
