"""The versions, the hardware and the commits that produced a result."""

import functools
import os
import pathlib
import platform
import subprocess
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

import mnistpipe
from mnistpipe.recipes import Recipe, addons
from mnistpipe.runs import backends
from mnistpipe.runs.record import Hardware, Machine


def versions() -> dict[str, str]:
    """Returns the versions of all packages that affect the arithmetic."""
    return {
        "mnistpipe": mnistpipe.__version__,
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        **backends.versions(),
    }


def machine(recipe: Recipe, devices: int) -> Machine:
    """Returns what trains a recipe here, on so many devices."""
    return Machine(
        {**versions(), **addons.versions(recipe)}, hardware(), devices
    )


def commits(before: Sequence[str] = ()) -> tuple[str, ...]:
    """Returns the commits that a run was trained at.

    Args:
      before: the commits of earlier sessions, for a run that is resumed.

    Returns:
      Each commit once, in order; none if the code is in no git checkout.
    """
    now = commit(pathlib.Path(mnistpipe.__file__).parent)
    return tuple(dict.fromkeys([*before, *([now] if now else [])]))


@functools.cache  # the code does not change while the process runs
def commit(folder: pathlib.Path) -> str | None:
    """Returns the commit of a package, with a `+` if its files have changed.

    None is returned if the package is in no git checkout. A package that is
    only installed inside somebody's checkout does not belong to the checkout.
    """
    try:
        _git(folder, "ls-files", "--error-unmatch", "__init__.py")
        name = _git(folder, "rev-parse", "HEAD").strip()
        changed = _git(folder, "status", "--porcelain", "--", ".")
    except (OSError, subprocess.SubprocessError):
        return None  # no git, no checkout, or one that git does not trust
    return f"{name}+" if changed else name


def _git(folder: pathlib.Path, *arguments: str) -> str:
    # Without the option, a status writes to the checkout, and may block another
    # git.
    return subprocess.run(
        ["git", "--no-optional-locks", *arguments],
        cwd=folder,
        # Git hooks pass their own checkout in these variables.
        env={k: v for k, v in os.environ.items() if not k.startswith("GIT_")},
        capture_output=True,
        check=True,
        text=True,
        errors="replace",
        stdin=subprocess.DEVNULL,
        timeout=10,
    ).stdout


def hardware() -> Hardware:
    """Returns the processor, the cores this process may use and the GPUs."""
    return Hardware(cpu=_cpu(), cores=_cores(), gpus=tuple(_gpus()))


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
