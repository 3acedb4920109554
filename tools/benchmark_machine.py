"""Images per second of the whole machine: every candidate on every core.

mnistpipe, Keras' layers and TensorFlow's warp use the threads of tf.data,
kornia those of torch; torchvision and albumentations use a torch DataLoader
with a process for each core. Each
candidate is a process of its own that waits while the others run: as a
program, with a workload, a candidate, a picture size and the seconds of a
turn, this module is one of them.
"""

from __future__ import annotations

import contextlib
import importlib.util
import multiprocessing
import os
import pathlib
import sys
import time
from collections.abc import Iterator
from typing import Any

import benchmark_children
import benchmark_pictures as given

# The packages that each candidate needs besides the project's own.
CANDIDATES = {
    "mnistpipe": (),
    "Keras layers": (),
    "ImageProjectiveTransformV3": (),
    "torchvision": ("torch", "torchvision"),
    "albumentations": ("torch", "albumentations"),
    "kornia": ("torch", "kornia"),
}
# Measured with the affine moves of recipe 1 only.
_AFFINE_ONLY = ("ImageProjectiveTransformV3", "kornia")
# Workloads, and the candidates that are left out.
WORKLOADS = {
    "recipe 1": (),
    "crop, flip, jitter": _AFFINE_ONLY,
    "RandAugment": (*_AFFINE_ONLY, "albumentations"),
}
_TICK = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


def tables(sizes: list[int], rounds: int, seconds: float) -> list[Any]:
    """Measures every workload: recipe 1 at each size, the others at 224."""
    cases = [("recipe 1", size) for size in sizes]
    cases += [(name, 224) for name in list(WORKLOADS)[1:] if 224 in sizes]
    return [_table(name, size, rounds, seconds) for name, size in cases]


def _table(workload: str, size: int, rounds: int, seconds: float) -> Any:
    import benchmark_timing as timing

    cores = given.cores()
    shape = f"{size}×{size}×{1 if size == 28 else 3}"
    table = timing.Table(
        f"{workload}, {shape} from uint8, batch {given.batch_size(size)}, "
        f"{cores} cores"
    )
    with contextlib.ExitStack() as stack:
        children = {}
        for name, packages in CANDIDATES.items():
            missing = [p for p in packages if not importlib.util.find_spec(p)]
            if missing:
                table.notes.append(f"{name} is left out: no {missing[0]}")
            elif name not in WORKLOADS[workload]:
                children[name] = stack.enter_context(
                    benchmark_children.child(
                        *(__file__, workload, name, str(size), str(seconds))
                    )
                )
        figures = timing.interleaved(children, rounds)
    for row in rows(figures, cores):
        table.rows.append(row)
        if row["mnistpipe is"] < 1:
            table.notes.append(f"mnistpipe is behind {row['']}")
    return table


def rows(figures: dict[str, list[Any]], cores: int) -> list[dict[str, Any]]:
    """Makes a row of each candidate from (images/s, CPU µs per image)."""
    import benchmark_timing as timing

    speeds, work = (
        {name: [one[place] for one in some] for name, some in figures.items()}
        for place in range(2)
    )
    return [
        {
            "": name,
            "images/s": speed,
            "per core": speed / cores,
            "mnistpipe is": timing.ratio(speeds, "mnistpipe", name),
            "CPU µs per image": timing.medians(work)[name],
            "mnistpipe by CPU": timing.ratio(work, name, "mnistpipe"),
        }
        for name, speed in timing.medians(speeds).items()
    ]


def speed(
    batches: Iterator[Any], batch_size: int, seconds: float
) -> list[float]:
    """Measures images/s and CPU µs per image of this and its processes.

    The first quarter of the time does not count: it uses up the batches that
    were made ahead while other candidates ran.
    """
    for part in (seconds / 4, seconds):
        start, work, count = time.perf_counter(), _cpu_seconds(), 0
        while time.perf_counter() - start < part:
            next(batches)
            count += batch_size
        passed, worked = time.perf_counter() - start, _cpu_seconds() - work
    return [count / passed, worked / count * 1e6]


def _cpu_seconds() -> float:
    """CPU time of this process and, on Linux, of its running children."""
    total = time.process_time()
    for child in multiprocessing.active_children():
        path = pathlib.Path(f"/proc/{child.pid}/stat")
        if path.exists():
            # Behind the name, which may hold spaces: utime and stime.
            fields = path.read_text().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / _TICK
    return total


def _answer(workload: str, name: str, size: int, seconds: float) -> None:
    if CANDIDATES[name]:
        import benchmark_loaders as makers
    else:
        import benchmark_batches as makers
    count = given.batch_size(size)
    batches = makers.MAKERS[workload][name](given.pictures(size), count)
    benchmark_children.answer(lambda: speed(batches, count, seconds))


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    _answer(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
