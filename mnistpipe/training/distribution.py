"""The GPUs of this machine: which of them train, and what fits into one.

Without a GPU, TensorFlow's CPU devices stand for them: one, unless a program
has divided it.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

import tensorflow as tf

# The rest is for weights, activations, what XLA needs to work in, and for
# whoever else computes there.
_SHARE_FOR_DATA = 0.5


def names() -> list[str]:
    """All that one process can train on, such as "/device:GPU:0"."""
    devices = tf.config.list_logical_devices("GPU")
    devices = devices or tf.config.list_logical_devices("CPU")
    return [device.name for device in devices]


def number(strategy: str) -> int:
    """How many the option's "one" or "mirrored" trains on."""
    return 1 if strategy == "one" else len(names())


def strategy(name: str) -> tf.distribute.Strategy:
    """TensorFlow's strategy for the option's "one" or "mirrored".

    One device needs none, so mirrored on one is TensorFlow's default too.
    """
    if number(name) == 1:
        return tf.distribute.get_strategy()
    return _mirrored(tuple(names()))


@functools.cache
def _mirrored(names: tuple[str, ...]) -> tf.distribute.Strategy:
    """One for all, since two would number their reductions alike."""
    return tf.distribute.MirroredStrategy(names)


def count() -> int:
    """How many train under the present strategy."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def training() -> list[str]:
    """Those that train under the present strategy, in the replicas' order."""
    if count() == 1:
        return names()[:1]
    return list(tf.distribute.get_strategy().extended.worker_devices)


def free_memory() -> dict[str, int | None]:
    """Bytes that TensorFlow may still take on each GPU; {} without one.

    None where this TensorFlow does not tell.
    """
    gpus = [gpu.name for gpu in tf.config.list_logical_devices("GPU")]
    limits = memory_limits() if gpus else {}
    return {
        gpu: limits[gpu]
        - tf.config.experimental.get_memory_info(gpu)["current"]
        if gpu in limits
        else None
        for gpu in gpus
    }


def memory_limits() -> dict[str, int]:
    """Bytes that TensorFlow may take on each device, CPUs too.

    It documents a limit only for the devices of its old sessions, and those
    find the memory already taken by the present ones. So these are asked
    here, by the calls with which a session asks its own; {} if they are gone.
    """
    try:
        from tensorflow.python import pywrap_tfe as listed
        from tensorflow.python.client.pywrap_tf_session import (
            TF_DeviceListMemoryBytes,
        )
        from tensorflow.python.eager import context

        context.ensure_initialized()
        devices = listed.TFE_ContextListDevices(context.context()._handle)
        try:
            return {
                _short(
                    listed.TF_DeviceListName(devices, place)
                ): TF_DeviceListMemoryBytes(devices, place)
                for place in range(listed.TF_DeviceListCount(devices))
            }
        finally:
            listed.TF_DeleteDeviceList(devices)
    except (ImportError, AttributeError):
        return {}


def _short(name: str) -> str:
    """A device's full name as its logical device has it."""
    spec = tf.DeviceSpec.from_string(name)
    return spec.replace(job=None, replica=None, task=None).to_string()


def choose_input(size: int, free: Mapping[str, int | None]) -> tuple[str, str]:
    """Where pictures are gathered and augmented, unless somebody says.

    Args:
      size: bytes of the training and validation images.
      free: bytes of memory by GPU, of those that train; None is unknown.

    Returns:
      "device" or "host", and why, as one line.
    """
    if not free:
        return "host", "input: host, since there is no GPU"
    known = {
        name: memory for name, memory in free.items() if memory is not None
    }
    unknown = [name for name in free if name not in known]
    if unknown:
        return "host", (
            f"input: host, since {unknown[0]} does not tell its memory; "
            "--input=device takes it at any risk"
        )
    name = min(known, key=known.__getitem__)
    fits = size <= _SHARE_FOR_DATA * known[name]
    path = "device" if fits else "host"
    return path, (
        f"input: {path}, since the images' {_text(size)} are "
        f"{'no ' if fits else ''}more than {_SHARE_FOR_DATA:.0%} of the "
        f"{_text(known[name])} that are free on {name}"
    )


def _text(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"
