"""The devices of this machine, and which of them train.

The devices are the GPUs. Without a GPU they are TensorFlow's CPU devices: one,
unless a program has divided the CPU.
"""

from __future__ import annotations

import functools

import tensorflow as tf


def has_gpu() -> bool:
    """Returns whether TensorFlow sees a GPU."""
    return bool(tf.config.list_logical_devices("GPU"))


def names() -> list[str]:
    """Returns all devices of this process, such as "/device:GPU:0"."""
    devices = tf.config.list_logical_devices("GPU")
    devices = devices or tf.config.list_logical_devices("CPU")
    return [device.name for device in devices]


def number(strategy: str) -> int:
    """Returns how many devices the option "one" or "mirrored" trains on."""
    return 1 if strategy == "one" else len(names())


def strategy(name: str) -> tf.distribute.Strategy:
    """Returns TensorFlow's strategy for the option "one" or "mirrored".

    On one device both are TensorFlow's default strategy.
    """
    if number(name) == 1:
        return tf.distribute.get_strategy()
    return _mirrored(tuple(names()))


@functools.cache
def _mirrored(names: tuple[str, ...]) -> tf.distribute.Strategy:
    # Cached: two MirroredStrategy objects would reuse the same collective keys.
    return tf.distribute.MirroredStrategy(names)


def count() -> int:
    """Returns how many devices the present strategy trains on."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def training() -> list[str]:
    """Returns the present strategy's devices, in the replicas' order."""
    if count() == 1:
        return names()[:1]
    return list(tf.distribute.get_strategy().extended.worker_devices)
