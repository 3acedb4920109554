"""Position-addressed batches: step → (index, key), without a state.

With B the batch size and S the steps of an epoch,

    epoch e = step // S,  k = step % S
    positions = [k·B, min((k + 1)·B, N))
    index = order(seed, e, positions)       a stateless permutation
    key = key(seed, e, index)

so a stream can start at any step and can be cut into shards, and needs the
same memory for a hundred examples as for a hundred million.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf

from mnistpipe.pipeline import draws

# tf.random.experimental.index_shuffle fixes 4 rounds. With 4 rounds the orders
# of two epochs correlate at 0.9; with 24 rounds they do not correlate.
_SHUFFLE_ROUNDS = 24


def check_positive(name: str, value: int) -> int:
    """Returns ``value``, or raises ValueError if it is no integer >= 1."""
    integer = isinstance(value, (int, np.integer))
    if isinstance(value, bool) or not integer or value < 1:
        raise ValueError(
            f"Expected {name} to be an integer of at least 1. "
            f"Received: {value!r}"
        )
    return int(value)


@dataclasses.dataclass(frozen=True)
class Stream:
    """Which examples make up which batch, and each example's key.

    Attributes:
      examples: N, the number of examples, at least 1.
      batch_size: B, at least 1. It may exceed N.
      seed: in [0, 2**63).
      shuffle: whether each epoch has a new order; otherwise all epochs have
        the order of the data.
      drop_remainder: leave out an epoch's last batch if it is not full.
      part: (i, n): of each batch only the i-th of n equal parts, for n
        processes that compute a batch together. The parts of a batch, in
        order, are the batch.
    """

    examples: int
    batch_size: int
    seed: int = 0
    shuffle: bool = True
    drop_remainder: bool = False
    part: tuple[int, int] = (0, 1)

    def __post_init__(self) -> None:
        for name in ("examples", "batch_size"):
            value = check_positive(name, getattr(self, name))
            object.__setattr__(self, name, value)
        draws.check_seed(self.seed)
        if self.drop_remainder and self.batch_size > self.examples:
            raise ValueError(
                "Expected a batch_size of at most the number of examples "
                f"({self.examples}) where the remainder is dropped. "
                f"Received: {self.batch_size}"
            )
        self._check_part()

    def _check_part(self) -> None:
        place, parts = self.part
        if not 0 <= place < parts:
            raise ValueError(
                "Expected a part (i, n) with 0 <= i < n. Received: "
                f"{self.part!r}"
            )
        last = 0 if self.drop_remainder else self.examples % self.batch_size
        if self.batch_size % parts or last % parts:
            raise ValueError(
                f"Expected batches that divide into {parts} equal parts. "
                f"Received: batches of {self.batch_size}, the last of an "
                f"epoch of {last or self.batch_size}"
            )

    @property
    def steps_per_epoch(self) -> int:
        """S, how many batches an epoch has."""
        if self.drop_remainder:
            return self.examples // self.batch_size
        return -(-self.examples // self.batch_size)

    @property
    def always_full(self) -> bool:
        """Whether every batch holds batch_size examples."""
        return self.drop_remainder or self.examples % self.batch_size == 0

    def order(self, epoch: tf.Tensor | int, positions: tf.Tensor) -> tf.Tensor:
        """The examples at some positions of an epoch.

        Args:
          epoch: int64 scalar.
          positions: int64[n] in [0, N).

        Returns:
          int64[n] in [0, N). All positions together give each index once.
        """
        positions = tf.cast(positions, tf.int64)
        if not self.shuffle or self.examples == 1:
            return positions
        return tf.raw_ops.RandomIndexShuffle(
            index=positions,
            seed=draws.order_seed(self.seed, epoch),
            max_index=tf.constant(self.examples - 1, tf.int64),
            rounds=_SHUFFLE_ROUNDS,
        )

    def full_batch(
        self, step: tf.Tensor | int
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """A batch at full size, positions past an epoch's end wrapped.

        A partial batch is computed at full size and cut after the
        augmentation, so that one compiled program serves all batches.

        Args:
          step: int64 scalar, not negative.

        Returns:
          index int64[B/n]; key uint32[B/n, 2]; count int64, how many of the
          first examples belong to the batch. n is the number of parts, by
          default 1.
        """
        place, parts = self.part
        step = tf.cast(step, tf.int64)
        epoch = step // self.steps_per_epoch
        start = (step % self.steps_per_epoch) * self.batch_size
        count = tf.minimum(self.examples - start, self.batch_size) // parts
        start += place * count
        positions = start + tf.range(self.batch_size // parts, dtype=tf.int64)
        index = self.order(epoch, positions % self.examples)
        return index, draws.example_keys(self.seed, epoch, index), count

    def batch(self, step: tf.Tensor | int) -> tuple[tf.Tensor, tf.Tensor]:
        """The batch at a step.

        Args:
          step: int64 scalar, not negative, counted over all epochs.

        Returns:
          index int64[b] and key uint32[b, 2], b being batch_size / n, n the
          number of parts, except in the last batch of an epoch that does not
          divide.
        """
        index, key, count = self.full_batch(step)
        if self.always_full:
            return index, key
        return index[:count], key[:count]
