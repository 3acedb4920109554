"""Trains a documented recipe and prints the result.

python -m mnistpipe.main --arch=pool2m --batch_size=64

--arch alone is the whole documented recipe; every flag changes one thing in
the recipe. The run folder, runs/<arch>-<time> by default, holds the networks,
the history and metrics.json.

python -m mnistpipe.main --resume=runs/X

continues a run that was killed or stopped, from its last saved state, and ends
with the same bits as a run that was never interrupted.
"""

import os
import signal
import sys
from typing import NoReturn

from mnistpipe import data
from mnistpipe.cli import app, flags
from mnistpipe.recipes import Recipe, RunOptions, addons
from mnistpipe.runs import backends, runfolder, summary
from mnistpipe.runs.runfolder import RunFolder
from mnistpipe.training import resume

INTERRUPTED = 130  # the status that a shell reports after Ctrl-C


def main(argv: list[str]) -> int:
    """Trains what the flags say; returns the exit status."""
    del argv  # the parser allows nothing but flags
    options = flags.read(RunOptions)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return _resume(options.resume) if options.resume else _begin(options)
    except KeyboardInterrupt:
        print("\nInterrupted; there is no finished run.", file=sys.stderr)
        return INTERRUPTED


def _begin(options: RunOptions) -> int:
    recipe = flags.read(Recipe)
    path = options.run_dir or runfolder.default(recipe.arch)
    with RunFolder.claim(path) as folder:
        return _train(recipe, options, folder)


def _resume(path: str) -> int:
    with RunFolder.reopen(path) as folder:
        recipe, options = resume.settings(folder, flags.given())
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
    from mnistpipe.training import train

    record = train.train(recipe, options, digits, folder)
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
    app.run(main, extra="train")
