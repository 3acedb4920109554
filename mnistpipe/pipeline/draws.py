"""Keys and counter-based draws: randomness without a state.

A *key* is ``uint32[2]``, one per example, computed from (seed, epoch, index).
A *draw* is a pure function of (key, domain, number), so it does not matter
when, where, in which order or in how large a batch it is made. Both come
from one function, Threefry-2x32 with 20 rounds (Salmon et al., "Parallel
random numbers: as easy as 1, 2, 3", SC 2011): integer additions, rotations
and xors, which give the same bits on every device, compiled or not.

    seed, epoch ──► epoch words ──► key of example ──► draws
        Threefry(seed, epoch)   Threefry(epoch words, index)
                                    Threefry(key, (number, domain))
"""

from __future__ import annotations

import dataclasses
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from mnistpipe.pipeline import ops

Key: TypeAlias = tf.Tensor  # uint32[..., 2]

# Salmon et al. 2011, table 2 and section 4: rotations of Threefry-2x32, and
# the parity constant of Threefish's key schedule.
_ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
_PARITY = 0x1BD11BDA
_ROUNDS = 20

# Indices are non-negative int64, so no example's counter has this high word.
_NO_EXAMPLE = 0xFFFFFFFF

# Each transform owns four domains: what it draws once per example, whether
# it is applied at all, and two fields with a draw per pixel.
_DOMAINS_PER_TRANSFORM = 4
_PARAMETERS, _APPLIED, _FIELD = 0, 1, 2
# Counters from here on make the keys of transforms inside a transform.
_FIRST_CHILD = 2**31


def _u32(value: int) -> np.uint32:
    return np.uint32(value)


def _rotate_left(x: tf.Tensor, bits: int) -> tf.Tensor:
    xp = ops.of(x)
    return xp.bitwise.bitwise_or(
        xp.bitwise.left_shift(x, _u32(bits)),
        xp.bitwise.right_shift(x, _u32(32 - bits)),
    )


def threefry2x32(
    key: tuple[tf.Tensor, tf.Tensor], counter: tuple[tf.Tensor, tf.Tensor]
) -> tuple[tf.Tensor, tf.Tensor]:
    """Threefry-2x32 with 20 rounds, elementwise.

    Args:
      key: two uint32 tensors of shapes that broadcast with the counter's.
      counter: two uint32 tensors.

    Returns:
      Two uint32 tensors of the broadcast shape: for a fixed key, a
      bijection of the counter.
    """
    xp = ops.of(*key, *counter)
    parity = xp.bitwise.bitwise_xor(
        xp.bitwise.bitwise_xor(key[0], key[1]), _u32(_PARITY)
    )
    schedule = (key[0], key[1], parity)
    x0, x1 = counter[0] + key[0], counter[1] + key[1]
    for round_ in range(_ROUNDS):
        x0 = x0 + x1
        x1 = xp.bitwise.bitwise_xor(
            _rotate_left(x1, _ROTATIONS[round_ % 8]), x0
        )
        if round_ % 4 == 3:
            block = round_ // 4 + 1
            x0 = x0 + schedule[block % 3]
            x1 = x1 + schedule[(block + 1) % 3] + _u32(block)
    return x0, x1


def _words(value: tf.Tensor | int) -> tuple[Any, Any]:
    """Splits an integer that is not negative into uint32 words, low first.

    Args:
      value: a Python int below 2**64, an int64 tensor, or an array of JAX,
        whose integers have at most 32 bits.
    """
    if isinstance(value, int):
        return _u32(value & 0xFFFFFFFF), _u32(value >> 32)
    if ops.is_jax(value):
        xp = ops.of(value)
        return xp.cast(value, tf.uint32), xp.cast(0, tf.uint32)
    low_word = tf.constant(0xFFFFFFFF, tf.int64)
    low = tf.bitwise.bitwise_and(value, low_word)
    high = tf.bitwise.right_shift(value, tf.constant(32, tf.int64))
    return tf.cast(low, tf.uint32), tf.cast(high, tf.uint32)


def check_seed(seed: int) -> int:
    """Returns ``seed`` as an int, or says which seeds there are."""
    if (
        isinstance(seed, (bool, np.bool_))
        or not isinstance(seed, (int, np.integer))
        or not 0 <= seed < 2**63
    ):
        raise ValueError(
            f"Expected a seed that is an integer in [0, 2**63). "
            f"Received: {seed!r}"
        )
    return int(seed)


def _int64(value: tf.Tensor | np.ndarray | int) -> tf.Tensor:
    if isinstance(value, tf.Tensor):
        return tf.cast(value, tf.int64)
    return tf.constant(value, tf.int64)


# Compiled: 200 integer operations are one call.
@tf.function(jit_compile=True, autograph=False, reduce_retracing=True)
def _example_keys(
    seed: tf.Tensor, epoch: tf.Tensor, index: tf.Tensor
) -> tf.Tensor:
    epoch_words = threefry2x32(_words(seed), _words(epoch))
    return tf.stack(threefry2x32(epoch_words, _words(index)), axis=-1)


@tf.function(jit_compile=True, autograph=False)
def _order_seed(seed: tf.Tensor, epoch: tf.Tensor) -> tf.Tensor:
    words = threefry2x32(
        threefry2x32(_words(seed), _words(epoch)),
        (tf.constant([0, 1], tf.uint32), _u32(_NO_EXAMPLE)),
    )
    return tf.concat(words, axis=0)[:3]


def example_keys(
    seed: int,
    epoch: tf.Tensor | np.ndarray | int,
    index: tf.Tensor | np.ndarray | int,
) -> Key:
    """The key of each example in an epoch.

    Args:
      seed: in [0, 2**63).
      epoch: int64, scalar or of ``index``'s shape, not negative.
      index: int64 of any shape, the examples' places in the data set, not
        negative. If the index is a JAX array, the index and the epoch are
        arrays of int32 and the keys are a JAX array.

    Returns:
      uint32[..., 2]. Within an epoch no two indices share a key, since
      Threefry is a bijection of its counter.

    Raises:
      ValueError: for a seed out of range.
    """
    seed = check_seed(seed)
    if ops.is_jax(index):
        xp = ops.of(index)
        low, high = (xp.cast(word, tf.uint32) for word in _words(seed))
        epoch_words = threefry2x32((low, high), _words(epoch))
        words = threefry2x32(epoch_words, _words(index))
        return xp.stack(words, axis=-1)
    return _example_keys(_int64(seed), _int64(epoch), _int64(index))


def order_seed(seed: int, epoch: tf.Tensor | int) -> tf.Tensor:
    """The seed, uint32[3], of an epoch's order, apart from every key."""
    return _order_seed(_int64(check_seed(seed)), _int64(epoch))


def uniform_from_bits(bits: tf.Tensor) -> tf.Tensor:
    """float32 in [0, 1), a multiple of 2**-24, from uint32 bits."""
    xp = ops.of(bits)
    # 24 bits are what float32 holds: no rounding, so 1.0 can't come out.
    integer = xp.cast(xp.bitwise.right_shift(bits, _u32(8)), tf.int32)
    return xp.cast(integer, tf.float32) * np.float32(2.0**-24)


def _sine_cosine_of_turn(bits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Sine and cosine of 2π·bits/2**32 (uint32 bits), within 4e-7.

    The nearest quarter turn and an angle in [-π/4, π/4) from it, where a
    short Taylor series is exact in float32. Integer range reduction
    vectorises; XLA's own sin and cos on a CPU are calls to the C library,
    4 times slower than this.
    """
    xp = ops.of(bits)
    quarter = xp.bitwise.right_shift(bits + _u32(1 << 29), _u32(30))
    rest = xp.bitcast(xp.bitwise.left_shift(bits, _u32(2)), tf.int32)
    angle = xp.cast(rest, tf.float32) * np.float32(np.pi / 2 * 2.0**-32)
    square = angle * angle
    sine = angle * (
        1 + square * (-1 / 6 + square * (1 / 120 + square * (-1 / 5040)))
    )
    cosine = 1 + square * (
        -1 / 2 + square * (1 / 24 + square * (-1 / 720 + square * (1 / 40320)))
    )
    odd = xp.equal(xp.bitwise.bitwise_and(quarter, _u32(1)), _u32(1))
    negative = xp.equal(xp.bitwise.bitwise_and(quarter, _u32(2)), _u32(2))
    rotated_cosine = xp.where(odd, -sine, cosine)
    rotated_sine = xp.where(odd, cosine, sine)
    return (
        xp.where(negative, -rotated_sine, rotated_sine),
        xp.where(negative, -rotated_cosine, rotated_cosine),
    )


def normals_from_bits(
    bits0: tf.Tensor, bits1: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Two independent standard normals, float32, from two uint32.

    Box and Muller 1958: √(−2 ln u)·(cos 2πv, sin 2πv). u lies in
    [2**-33, 1], so every value is finite and the tails reach 6.76.
    """
    xp = ops.of(bits0)
    u = (xp.cast(bits0, tf.float32) + 0.5) * np.float32(2.0**-32)
    radius = xp.sqrt(-2.0 * xp.math.log(u))
    sine, cosine = _sine_cosine_of_turn(bits1)
    return radius * cosine, radius * sine


@dataclasses.dataclass(frozen=True)
class Draws:
    """What one transform may draw for a batch of examples.

    Attributes:
      keys: uint32[B, 2], one key per example.
      place: the transform's place in its Compose. No two places ever share
        bits, nor, within one, do ``uniform``, ``applied`` and the two
        fields. A uniform and a normal field of one number do: take two.
    """

    keys: Key
    place: int

    def _bits(self, numbers: tf.Tensor, kind: int) -> tuple[tf.Tensor, ...]:
        xp = ops.of(self.keys)
        domain = _u32(self.place * _DOMAINS_PER_TRANSFORM + kind)
        key = (self.keys[:, 0:1], self.keys[:, 1:2])
        # The numbers are int32: uint32 ranges have no kernel outside of XLA.
        counter = (xp.cast(numbers, tf.uint32)[None], domain)
        return threefry2x32(key, counter)

    def uniform(self, count: int) -> tf.Tensor:
        """float32[B, count] in [0, 1): the transform's parameters."""
        xp = ops.of(self.keys)
        pairs = xp.range((count + 1) // 2)
        bits = xp.stack(self._bits(pairs, _PARAMETERS), axis=-1)
        bits = xp.reshape(bits, [-1, 2 * ((count + 1) // 2)])
        return uniform_from_bits(bits[:, :count])

    def applied(self, probability: float) -> tf.Tensor:
        """bool[B], true with ``probability``."""
        xp = ops.of(self.keys)
        bits, _ = self._bits(xp.range(1), _APPLIED)
        return uniform_from_bits(bits[:, 0]) < probability

    def child(self, number: int) -> Draws:
        """Draws for a transform inside this one, with keys of their own.

        Args:
          number: which of the transforms inside, in [0, 2**31).
        """
        xp = ops.of(self.keys)
        # ``uniform`` counts from 0 in this domain, so no counter is shared.
        counter = np.array([_FIRST_CHILD + number], np.uint32)
        words = self._bits(counter, _PARAMETERS)
        return Draws(xp.concat(words, axis=1), 0)

    def _field_bits(
        self, size: tf.Tensor, field: int
    ) -> tuple[tf.Tensor, tf.Tensor]:
        xp = ops.of(self.keys)
        if field not in (0, 1):
            raise ValueError(f"Expected field to be 0 or 1. Received: {field}")
        return self._bits(xp.range((size + 1) // 2), _FIELD + field)

    def uniform_field(
        self, shape: tuple[int | tf.Tensor, ...], field: int = 0
    ) -> tf.Tensor:
        """float32[B, *shape] in [0, 1), a draw per element.

        Args:
          shape: without the batch.
          field: 0 or 1; a transform may use two independent fields.
        """
        first, second = self._field_bits(_size(shape), field)
        return _halves(
            uniform_from_bits(first), uniform_from_bits(second), shape
        )

    def normal_field(
        self, shape: tuple[int | tf.Tensor, ...], field: int = 0
    ) -> tf.Tensor:
        """float32[B, *shape], independent standard normals.

        Args:
          shape: without the batch.
          field: 0 or 1; a transform may use two independent fields.
        """
        bits = self._field_bits(_size(shape), field)
        return _halves(*normals_from_bits(*bits), shape)


def _size(shape: tuple[int | tf.Tensor, ...]) -> int | tf.Tensor:
    size = 1
    for side in shape:
        size = size * side
    return size


def _halves(
    first: tf.Tensor, second: tf.Tensor, shape: tuple[int | tf.Tensor, ...]
) -> tf.Tensor:
    """Lays the two outputs of Threefry out as the halves of a field.

    Halves rather than neighbours: two long runs of stores vectorise.
    """
    xp = ops.of(first)
    flat = xp.concat([first, second], axis=1)[:, : _size(shape)]
    return xp.reshape(flat, [-1, *shape])
