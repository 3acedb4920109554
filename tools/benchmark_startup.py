"""How long the trainer takes from its start to its first step.

As a program it is the trainer, told when it was started, that prints the time
of each stage and ends after the first step.
"""

from __future__ import annotations

import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

AIM = 15.0  # seconds
_STAGES = ("data", "imports", "build", "first step")


def startup(archs: list[str], rounds: int) -> list[Any]:
    """A table of the stages, each process fresh."""
    import benchmark_timing as timing

    table = timing.Table(
        "From the start of the trainer to the end of its first step, s"
    )
    for arch in archs:
        runs = [_times(arch) for _ in range(min(rounds, 3))]
        stages = [statistics.median(t) for t in zip(*runs, strict=True)]
        row = dict(zip(_STAGES, stages, strict=True))
        total = statistics.median(sum(run) for run in runs)
        table.rows.append({"": arch, **row, "all": total})
        if total > AIM:
            table.notes.append(f"{arch}: {total:.1f} s, aim {AIM:.0f} s")
    return [table]


def _times(arch: str) -> list[float]:
    """Seconds of each stage, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        answer = subprocess.run(
            [sys.executable, __file__, str(time.time()), arch, f"{folder}/run"],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
    times = [float(word) for word in answer.stdout.split()]
    return [after - before for before, after in itertools.pairwise(times)]


def _train(started: str, arch: str, run_dir: str) -> None:
    """What main.py does, up to the first step."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from mnistpipe import data, recipes
    from mnistpipe.runs import backends

    print(started)
    recipe = recipes.recipe_for(arch)
    digits = data.load()
    print(time.time())
    backends.load()
    import keras

    from mnistpipe.training import callbacks, train

    print(time.time())

    class Stop(keras.callbacks.Callback):
        """Ends the process after the first step."""

        def on_train_begin(self, logs: dict | None = None) -> None:
            print(time.time())

        def on_train_batch_end(
            self, batch: int, logs: dict | None = None
        ) -> None:
            print(time.time(), flush=True)
            os._exit(0)

    callbacks.schedule = lambda *_: [Stop()]
    options = recipes.RunOptions(run_dir=run_dir, verbose=0)
    train.train(recipe, options, digits)


if __name__ == "__main__":
    _train(*sys.argv[1:])
