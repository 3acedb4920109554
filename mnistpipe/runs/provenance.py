"""What a number was produced by: versions, hardware and commit."""

import functools
import os
import pathlib
import platform
import subprocess
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import mnistpipe
from mnistpipe.runs import backends


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


def commits(before: Sequence[str] = ()) -> list[str]:
    """The commits that a run was trained at: one, or more if it was resumed.

    Args:
      before: those until now, of a run that goes on.

    Returns:
      Each once, in order; none where the code is in no checkout.
    """
    now = commit(pathlib.Path(mnistpipe.__file__).parent)
    return list(dict.fromkeys([*before, *([now] if now else [])]))


@functools.cache  # the code of a process stays what it was
def commit(folder: pathlib.Path) -> str | None:
    """The commit of a package, with a `+` where its files are no longer those.

    None is that it is in no git checkout. One that is merely installed within
    somebody's checkout is not of it.
    """
    try:
        _git(folder, "ls-files", "--error-unmatch", "__init__.py")
        name = _git(folder, "rev-parse", "HEAD").strip()
        changed = _git(folder, "status", "--porcelain", "--", ".")
    except (OSError, subprocess.SubprocessError):
        return None  # no git, no checkout, or one that git does not trust
    return f"{name}+" if changed else name


def _git(folder: pathlib.Path, *arguments: str) -> str:
    # A status would write to the checkout, for which another git may wait.
    return subprocess.run(
        ["git", "--no-optional-locks", *arguments],
        cwd=folder,
        # A hook of git's hands its own checkout on in these.
        env={k: v for k, v in os.environ.items() if not k.startswith("GIT_")},
        capture_output=True,
        check=True,
        text=True,
        errors="replace",
        stdin=subprocess.DEVNULL,
        timeout=10,
    ).stdout


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
