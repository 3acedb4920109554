"""What a number was produced by: versions and hardware, for metrics.json."""

import os
import pathlib
import platform
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import mnistpipe
from mnistpipe import backends


def versions() -> dict[str, str]:
    """Of everything that takes part in the arithmetic."""
    return {
        "mnistpipe": mnistpipe.__version__,
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        **backends.versions(),
    }


def hardware() -> dict[str, Any]:
    """The processor, the cores this process may use, the GPUs."""
    return {
        "cpu": _cpu(),
        "cores": _cores(),
        "gpus": _gpus(),
    }


def _gpus() -> list[str]:
    if backends.name() != "tensorflow":
        return backends.accelerators()
    return [
        tf.config.experimental.get_device_details(gpu).get(
            "device_name", gpu.name
        )
        for gpu in tf.config.list_physical_devices("GPU")
    ]


def _cpu() -> str:
    # platform.processor() is empty on most Linux systems.
    info = pathlib.Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _cores() -> int | None:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()
