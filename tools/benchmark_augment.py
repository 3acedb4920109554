"""Images per second: the pipeline beside its peers, and how it grows.

As a program, with a number of cores and the seconds of a turn, it is one of
the processes that `_cores` asks.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import benchmark_children
import benchmark_pictures
import numpy as np


def rate(batches: Iterator[Any], batch_size: int, seconds: float) -> float:
    """Images/s, after a quarter of the time that does not count.

    In which what was made ahead while others ran is used up.
    """
    for part in (seconds / 4, seconds):
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < part:
            next(batches)
            count += batch_size
    return count / (time.perf_counter() - start)


def peers(sizes: list[int], rounds: int, seconds: float) -> list[Any]:
    """A table for each size of pictures."""
    import benchmark_peers
    import benchmark_timing as timing

    tables = []
    for size in sizes:
        images = benchmark_pictures.pictures(size)
        batch_size = benchmark_pictures.batch_size(size)
        shape = "×".join(map(str, images.shape[1:]))
        table = timing.Table(f"Augmentation of {shape}, batch {batch_size}")
        measures = {}
        for name, (package, make) in benchmark_peers.CANDIDATES.items():
            if importlib.util.find_spec(package) is None:
                table.notes.append(f"{name} is not installed: left out")
                continue
            measures[name] = functools.partial(
                rate, make(images, batch_size), batch_size, seconds
            )
        figures = timing.interleaved(measures, rounds)
        for name, figure in timing.medians(figures).items():
            faster = timing.ratio(figures, "mnistpipe", name)
            table.rows.append(
                {"": name, "images/s": figure, "mnistpipe is": faster}
            )
            if faster < 1:
                table.notes.append(f"mnistpipe is behind {name}")
        tables.append(table)
    return tables


def growth(rounds: int, seconds: float) -> list[Any]:
    """How the pipeline's speed changes with what it is given."""
    return [
        _batch_sizes(rounds, seconds),
        _image_sizes(rounds, seconds),
        _examples(rounds, seconds),
        _cores(rounds, seconds),
    ]


def _grown(
    title: str,
    column: str,
    cases: dict[str, tuple[np.ndarray, int]],
    rounds: int,
    seconds: float,
) -> Any:
    """A table of images/s and pixel values/s, by pictures and batch size."""
    import benchmark_peers
    import benchmark_timing as timing

    def measure(images: np.ndarray, batch_size: int) -> Any:
        feed = benchmark_peers.ours(images, batch_size)
        return functools.partial(rate, feed, batch_size, seconds)

    figures = timing.medians(
        timing.interleaved(
            {name: measure(*case) for name, case in cases.items()}, rounds
        )
    )
    table = timing.Table(title)
    for name, figure in figures.items():
        values = cases[name][0][0].size
        table.rows.append(
            {
                column: name,
                "images/s": figure,
                "million values/s": figure * values / 1e6,
            }
        )
    return table


def _batch_sizes(rounds: int, seconds: float) -> Any:

    images = benchmark_pictures.pictures(28)
    cases = {str(n): (images, n) for n in (16, 64, 256, 1024, 4096)}
    return _grown(
        "Growth with batch size, 28×28×1", "batch", cases, rounds, seconds
    )


def _image_sizes(rounds: int, seconds: float) -> Any:
    rng = np.random.default_rng(0)
    cases = {}
    for size in (28, 56, 112, 224, 448):
        images = rng.integers(0, 256, (64, size, size, 3), np.uint8)
        cases[f"{size}×{size}×3"] = (images, 32)
    title = "Growth with image size, batch 32"
    return _grown(title, "pictures", cases, rounds, seconds)


def _examples(rounds: int, seconds: float) -> Any:

    digits, cases = benchmark_pictures.pictures(28), {}
    for count in (1_000, 10_000, 100_000, 1_000_000):
        images = np.resize(digits, (count, *digits.shape[1:]))
        cases[f"{count:,}"] = (images, 256)
    title = "Growth with the number of examples, 28×28×1, batch 256, shuffled"
    return _grown(title, "examples", cases, rounds, seconds)


def _cores(rounds: int, seconds: float) -> Any:
    import benchmark_timing as timing

    table = timing.Table("Growth with cores, 28×28×1, batch 256")
    if not hasattr(os, "sched_setaffinity"):
        table.notes.append("this system does not let cores be chosen")
        return table
    most = len(os.sched_getaffinity(0))
    counts = sorted({*(2**n for n in range(most.bit_length())), most})
    with contextlib.ExitStack() as stack:
        measures = {}
        for count in counts:
            measures[str(count)] = stack.enter_context(
                benchmark_children.child(__file__, str(count), str(seconds))
            )
        figures = timing.interleaved(measures, rounds)
    for name, figure in timing.medians(figures).items():
        gain = timing.ratio(figures, name, "1")
        table.rows.append({"cores": name, "images/s": figure, "gain": gain})
    return table


def _answer(cores: int, seconds: float) -> None:
    """What a child does."""
    # Before TensorFlow counts them.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    import benchmark_peers

    feed = benchmark_peers.ours(benchmark_pictures.pictures(28), 256)
    benchmark_children.answer(lambda: rate(feed, 256, seconds))


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    _answer(int(sys.argv[1]), float(sys.argv[2]))
