"""Trains a documented recipe and prints the result.

python -m mnistpipe.main --arch=pool2m --batch_size=64

--arch alone is the whole documented recipe; every flag changes one thing in
the recipe. The run folder, runs/<arch>-<time> by default, holds the networks,
the history and metrics.json.

python -m mnistpipe.main --resume=runs/X

continues a run that was killed or stopped, from its last saved state, and ends
with the same bits as a run that was never interrupted.

python -m mnistpipe.main --arch=pool2m --processes=4

trains one network on four processes of this machine, with JAX.
docs/processes.md tells how to do so on many machines.
"""

import os
import pathlib
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NoReturn

from mnistpipe import data, recipes
from mnistpipe.cli import app, flags
from mnistpipe.errors import INTERRUPTED
from mnistpipe.processes import launcher
from mnistpipe.processes import options as process_options
from mnistpipe.processes.options import ProcessOptions
from mnistpipe.recipes import Recipe, RunOptions, addons
from mnistpipe.runs import backends, runfolder, summary
from mnistpipe.runs.runfolder import RunFolder
from mnistpipe.training import resume

# Gives every process of a group a folder, when one opens the run folder.
Share = Callable[
    [AbstractContextManager[RunFolder]], AbstractContextManager[RunFolder]
]


def main(argv: list[str]) -> int:
    """Trains what the flags say; returns the exit status."""
    del argv  # the parser allows nothing but flags
    options = flags.read(RunOptions)
    joined = process_options.in_environment()
    if joined:
        from mnistpipe.processes import group

        group.run(joined, lambda: _run(options, group.folder))
    processes = flags.read(ProcessOptions).settled(os.environ)
    if processes.several:
        return launcher.run(processes)
    signal.signal(signal.SIGTERM, _interrupt)
    return _run(options)


def _run(options: RunOptions, share: Share = lambda opened: opened) -> int:
    try:
        if options.resume:
            return _resume(options.resume, share)
        return _begin(options, share)
    except KeyboardInterrupt:
        print("\nInterrupted; there is no finished run.", file=sys.stderr)
        return INTERRUPTED


def _begin(options: RunOptions, share: Share) -> int:
    recipe = flags.read(Recipe)
    path = options.run_dir or runfolder.default(recipe.arch)
    with share(RunFolder.claim(path)) as folder:
        return _train(recipe, options, folder)


def _resume(path: str, share: Share) -> int:
    with share(RunFolder.reopen(path)) as folder:
        given = flags.given()
        for name in recipes.specs(ProcessOptions):
            given.pop(name, None)
        if folder.path != pathlib.Path(path):  # a temporary folder
            given.pop("run_dir", None)  # Process 0 compares it.
        given["resume"] = str(folder.path)
        recipe, options = resume.settings(folder, given)
        done = resume.finished(folder, recipe)
        if not done:
            return _train(recipe, options, folder)
        print(f"{path} is finished; nothing is left to do.")
        print(f"\n{summary.summary(done)}")
        return 0


def _train(recipe: Recipe, options: RunOptions, folder: RunFolder) -> int:
    # Errors are found before TensorFlow takes seconds to load.
    addons.check(recipe)
    digits = data.load(options.data or None)
    # Without a GPU, TensorFlow prints errors about CUDA that mean nothing.
    # Real failures are raised as exceptions.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    backends.load()
    from mnistpipe.processes import group
    from mnistpipe.training import train

    if group.place() > 0:
        options = options.replace(verbose=0)
    record = train.train(recipe, options, digits, folder)
    if group.place() > 0:
        return INTERRUPTED if record.interrupted else 0
    print(f"\n{summary.summary(record)}")
    # The test set is not read for a report: a run with --evaluate_test=false
    # gets one without scores.
    from mnistpipe.reports import run_report, tensorboard

    run_report.write(folder.path, record, digits)
    tensorboard.write(folder.path, record, digits)
    if not record.interrupted:
        return 0
    print(
        f"\nInterrupted: the last weights are in {record.run_dir}; "
        f"--resume={record.run_dir} goes on.",
        file=sys.stderr,
    )
    return INTERRUPTED


def _interrupt(*_: object) -> NoReturn:
    """Makes SIGTERM leave a valid folder, as Ctrl-C does."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    flags.define(Recipe)
    flags.define(RunOptions)
    flags.define(ProcessOptions)
    app.run(main, extra="train")
