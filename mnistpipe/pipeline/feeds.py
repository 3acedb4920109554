"""From a stream to training: tf.data pipelines of whole batches.

``host_dataset`` gathers and augments on the CPU, a batch at a time.
``device_dataset`` sends indices, keys and targets only: the pictures lie on
the device already, and a model gathers and augments them itself
(``layers.Resident``). ``with_keys`` and ``augmented_dataset`` serve any
other tf.data.Dataset.

A *pass* is one iteration over a dataset, such as an epoch of ``fit``. Every
dataset here shows new pictures on every pass, in the same sequence for the
same seed, unless ``frozen=True`` asks for the same pictures again.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from mnistpipe.pipeline import checks, draws
from mnistpipe.pipeline.compose import Compose
from mnistpipe.pipeline.mixing.mix import Mix
from mnistpipe.pipeline.stream import Stream, check_positive

# No pass lasts longer, and int64 still counts the steps.
_ENDLESS_STEPS = 2**62
# Endless passes start this many epochs apart, so that they share no pictures.
_EPOCHS_BETWEEN_ENDLESS_PASSES = 2**20


def _numbered_passes(first: int) -> tf.data.Dataset:
    """One element, the number of the pass, which each pass counts up."""
    # A variable, since a dataset has no other memory between its passes.
    with tf.device("CPU:0"):
        passes = tf.Variable(first - 1, dtype=tf.int64, trainable=False)
    return tf.data.Dataset.range(1).map(lambda _: passes.assign_add(1))


def _check_steps(
    start: int, stop: int | None, epochs: int | None, shard: tuple[int, int]
) -> None:
    if start < 0 or (stop is not None and stop < start):
        raise ValueError(
            "Expected steps with 0 <= start <= stop. Received: "
            f"start={start}, stop={stop}"
        )
    if stop is not None and epochs != 1:
        raise ValueError(
            "Expected either stop or epochs, since both say where a pass "
            f"ends. Received: stop={stop}, epochs={epochs}"
        )
    if epochs is not None:
        check_positive("epochs", epochs)
    place, count = shard
    if not 0 <= place < count:
        raise ValueError(
            f"Expected a shard (i, n) with 0 <= i < n. Received: {shard!r}"
        )


def _steps(
    stream: Stream,
    start: int,
    stop: int | None,
    epochs: int | None,
    frozen: bool,
    shard: tuple[int, int],
) -> tf.data.Dataset:
    """The steps of each pass, int64 scalars, counted over all epochs."""
    _check_steps(start, stop, epochs, shard)
    per_epoch = stream.steps_per_epoch
    if stop is not None:
        first_end, period = stop, stop - start
    elif epochs is not None:
        first_end = (start // per_epoch + epochs) * per_epoch
        period = epochs * per_epoch
    else:
        first_end = start + _ENDLESS_STEPS
        period = _EPOCHS_BETWEEN_ENDLESS_PASSES * per_epoch
    place, count = shard

    def one_pass(begin: Any, end: Any) -> tf.data.Dataset:
        return tf.data.Dataset.range(begin + place, end, count)

    def numbered_pass(number: tf.Tensor) -> tf.data.Dataset:
        begin = tf.constant(start, tf.int64)
        if stop is None and epochs is not None:
            # Only the first pass starts within an epoch.
            later = tf.constant(first_end - period, tf.int64)
            begin = tf.where(number == 0, begin, later)
        shift = number * period
        return one_pass(begin + shift, first_end + shift)

    first = one_pass(start, first_end)
    steps = first if frozen else _numbered_passes(0).flat_map(numbered_pass)
    if stop is None and epochs is None:
        cardinality = tf.data.INFINITE_CARDINALITY
    elif not frozen and stop is None and start % per_epoch:
        return steps  # the first pass is shorter than the others
    else:
        cardinality = first.cardinality()
    return steps.apply(tf.data.experimental.assert_cardinality(cardinality))


def _on_host(arrays: Any, stream: Stream, name: str) -> Any:
    def convert(array: Any) -> tf.Tensor:
        array = array if isinstance(array, tf.Tensor) else np.asarray(array)
        shape = tuple(array.shape)
        if not shape or array.dtype == object:
            raise ValueError(
                f"Expected {name} in arrays with an axis of examples. "
                f"Received: {array!r}"
            )
        if shape[0] < stream.examples:
            raise ValueError(
                f"Expected at least the stream's {stream.examples} "
                f"examples. Received: an array of {shape[0]}"
            )
        return tf.convert_to_tensor(array)

    with tf.device("CPU:0"):
        # A list is an array here, not a structure.
        if isinstance(arrays, list):
            arrays = np.asarray(arrays)
        return tf.nest.map_structure(convert, arrays)


def host_dataset(
    images: Any,
    targets: Any,
    stream: Stream,
    augment: Any,
    *,
    epochs: int | None = 1,
    start: int = 0,
    stop: int | None = None,
    frozen: bool = False,
    shard: tuple[int, int] = (0, 1),
    sample_weight: Any = None,
    mix: Mix | None = None,
) -> tf.data.Dataset:
    """Batches of augmented pictures, computed on the CPU.

        train = host_dataset(images, labels, stream, augment)
        model.fit(train, epochs=10)

    A pass is one epoch, and the next pass is the next epoch with new
    pictures. Every ``iter`` of the dataset counts as a pass.

    Args:
      images: [N, H, W, C], uint8 or float, held in memory once; or a
        structure (tuple, dict) of such, whose members are augmented by the
        same draws.
      targets: an array [N, ...], a structure (tuple, dict) of such, or None
        for pictures alone.
      stream: which examples and keys make up which batch.
      augment: what is done to a batch: a Compose, a transform or a list.
      epochs: how many epochs a pass has; None for a pass without end, for
        which ``fit`` needs its steps_per_epoch.
      start: first step of the first pass, counted over all epochs. Resuming
        is starting at a later step: the first pass is then the rest of that
        epoch.
      stop: one past the last step of the first pass, instead of ``epochs``.
        Each later pass has as many steps and continues where the pass
        before ended.
      frozen: show the steps of the first pass again on every pass.
      shard: (i, n): every n-th step of each pass, from the i-th on.
      sample_weight: an array [N], or a structure of such.
      mix: a MixUp or CutMix, which mixes each picture and its labels with
        another example of the same epoch. Labels come out as soft float32
        labels. The results depend neither on the batch nor on the order.

    Returns:
      A dataset of (pictures [b, H, W, C], targets [b, ...]), of flat triples
      with the sample weights, or of pictures if ``targets`` is None.

    Raises:
      ValueError: the arrays do not suit each other or the stream.
    """
    augment = Compose.of(augment)
    images = _on_host(images, stream, "pictures")
    checks.check_pictures(images)
    first = tf.nest.flatten(images)[0]
    checks.warn_of_ranges(augment.transforms, checks.range_of(first[:64]))
    rest = _targets(targets, sample_weight, stream)
    if mix is not None:
        mix.check_labels(rest[:1])

    def examples(index: tf.Tensor, key: tf.Tensor) -> tuple[Any, ...]:
        return augment(_rows(images, index), key), *_rows(rest, index)

    def batch_of(step: tf.Tensor) -> Any:
        index, key, count = stream.full_batch(step)
        batch = examples(index, key)
        if mix is not None:
            partner = mix.partners(key, index, stream.examples)
            epoch = step // stream.steps_per_epoch
            others = draws.example_keys(stream.seed, epoch, partner)
            batch = mix(key, batch, examples(partner, others))
        if not stream.always_full:
            batch = tf.nest.map_structure(lambda rows: rows[:count], batch)
        return batch if rest else batch[0]

    steps = _steps(stream, start, stop, epochs, frozen, shard)
    return _computed(steps, batch_of)


def _computed(dataset: tf.data.Dataset, function: Any) -> tf.data.Dataset:
    parallel = dataset.map(function, num_parallel_calls=tf.data.AUTOTUNE)
    return parallel.prefetch(tf.data.AUTOTUNE)


def _targets(
    targets: Any, sample_weight: Any, stream: Stream
) -> tuple[Any, ...]:
    """What follows the pictures: nothing, targets, or targets and weights."""
    if targets is None:
        if sample_weight is not None:
            raise ValueError("Expected targets, since there is a sample_weight")
        return ()
    given = (_on_host(targets, stream, "targets"),)
    if sample_weight is None:
        return given
    return *given, _on_host(sample_weight, stream, "sample_weight")


def _rows(arrays: Any, index: tf.Tensor) -> Any:
    return tf.nest.map_structure(lambda a: tf.gather(a, index), arrays)


def device_dataset(
    targets: Any,
    stream: Stream,
    *,
    epochs: int | None = 1,
    start: int = 0,
    stop: int | None = None,
    frozen: bool = False,
    shard: tuple[int, int] = (0, 1),
    sample_weight: Any = None,
    index_dtype: str = "int64",
) -> tf.data.Dataset:
    """Batches of indices and keys, for pictures that lie on the device.

    Args:
      targets: an array [N, ...], or a structure (tuple, dict) of such.
      stream: which examples and keys make up which batch.
      epochs: as in ``host_dataset``, like all arguments that follow.
      start: first step.
      stop: one past the last step of the first pass.
      frozen: whether all passes are alike.
      shard: (i, n).
      sample_weight: one number per example.
      index_dtype: "int64", or "int32" for JAX, which has no int64.

    Returns:
      A dataset of ((index [b], key uint32[b, 2]), targets [b, ...]), with
      the sample weights as a third member if there are any.
    """
    rest = _targets(targets, sample_weight, stream)

    def batch_of(step: tf.Tensor) -> tuple[Any, ...]:
        index, key = stream.batch(step)
        return (tf.cast(index, index_dtype), key), *_rows(rest, index)

    steps = _steps(stream, start, stop, epochs, frozen, shard)
    return _computed(steps, batch_of)


def _enumerated(
    dataset: tf.data.Dataset, seed: int, first_pass: int
) -> tf.data.Dataset:
    """Elements as (pass, place, element), the passes counted."""
    draws.check_seed(seed)
    elements = _numbered_passes(first_pass).flat_map(
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
    seed. Call this after what is fixed (files in order) and before
    ``shuffle`` and ``batch``: then an example's pictures depend neither on
    the order nor on the batch.

    Args:
      dataset: of single examples, of any structure.
      seed: in [0, 2**63).
      first_pass: number of the first pass, to continue another run.

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
    augment: Any,
    *,
    batch_size: int,
    seed: int = 0,
    masks: bool | None = None,
    shuffle_buffer: int = 0,
    drop_remainder: bool = False,
    first_pass: int = 0,
    mix: Mix | None = None,
) -> tf.data.Dataset:
    """Batches and augments any dataset of single examples.

    Every pass shows new pictures, and the same ones for the same seed. An
    example's pictures do not depend on the order or the batch.

    Args:
      dataset: of pictures [H, W, C], or of tuples that begin with one, in
        an order that is the same on every pass (shuffle here, not before).
        Dicts are for ``with_keys`` and a map of your own.
      augment: what is done to a batch: a Compose, a transform or a list.
      batch_size: at least 1.
      seed: in [0, 2**63).
      masks: whether a tuple's second member is a mask [H, W, C] or [H, W],
        to be moved with its picture. It has to be given if the second
        member has the picture's height and width.
      shuffle_buffer: how many examples ``Dataset.shuffle`` holds; 0 keeps
        the order. That order, not the pictures, also follows
        ``tf.random.set_seed``.
      drop_remainder: leave out a last batch that is not full.
      first_pass: as in ``with_keys``.
      mix: a MixUp or CutMix, which mixes each picture and the second and
        third member (labels or masks, sample weights) with another example
        of the same batch. Mixed examples therefore depend on the batch,
        unlike those of ``host_dataset``.

    Returns:
      A dataset of the same structure with a batch axis, augmented.

    Raises:
      ValueError: the elements are not as described.
    """
    augment = Compose.of(augment)
    check_positive("batch_size", batch_size)
    checks.check_elements(dataset.element_spec, masks)
    keyed = _enumerated(dataset, seed, first_pass)
    if shuffle_buffer:
        keyed = keyed.shuffle(shuffle_buffer, seed=seed)

    def augment_batch(number: tf.Tensor, place: tf.Tensor, element: Any) -> Any:
        key = draws.example_keys(seed, number, place)
        image, *others = element if isinstance(element, tuple) else (element,)
        if masks:
            batch = (*augment(image, key, masks=others[0]), *others[1:])
        else:
            batch = (augment(image, key), *others)
        if mix is not None:
            batch = _mix_within(batch, key, mix, bool(masks))
        return batch if isinstance(element, tuple) else batch[0]

    batches = keyed.batch(batch_size, drop_remainder=drop_remainder)
    return _computed(batches, augment_batch)


def _mix_within(
    batch: tuple[Any, ...], key: tf.Tensor, mix: Mix, masks: bool
) -> tuple[Any, ...]:
    """Mixes each member of a batch with another one of that batch."""
    count = tf.shape(key, tf.int64)[0]
    partner = mix.partners(key, tf.range(count), count)
    return mix(key, batch, _rows(batch, partner), masks=masks)
