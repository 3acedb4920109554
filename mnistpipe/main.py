"""Trains a documented recipe and says what came out.

python -m mnistpipe.main --arch=pool2m --batch_size=64

--arch alone is the whole documented recipe; every flag changes one thing in
it. The run folder, runs/<arch>-<time> unless told otherwise, holds the
networks, the history and metrics.json.

python -m mnistpipe.main --resume=runs/X

goes on with a run that was killed or stopped, from the last state that it
saved, and ends as if it never had been.
"""

import os
import pathlib
import signal
import sys
from typing import NoReturn

from mnistpipe import data
from mnistpipe.cli import app, flags
from mnistpipe.recipes import Recipe, RunOptions, addons
from mnistpipe.runs import backends, runfolder, summary
from mnistpipe.training import resume

INTERRUPTED = 130  # what a shell reports after Ctrl-C


def main(argv: list[str]) -> int:
    """Trains what the flags say; returns the exit status."""
    del argv  # nothing but flags, which the parser has made sure of
    options = flags.read(RunOptions)
    if options.resume:
        recipe, options = resume.settings(options.resume, flags.given())
        done = resume.finished(options.resume, recipe)
        if done:
            print(f"{options.resume} is finished; nothing is left to do.")
            print(f"\n{summary.summary(done)}")
            return 0
    else:
        recipe = flags.read(Recipe)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return _train(recipe, options)
    except KeyboardInterrupt:
        print("\nInterrupted; there is no finished run.", file=sys.stderr)
        return INTERRUPTED


def _train(recipe: Recipe, options: RunOptions) -> int:
    # What can be wrong is found before TensorFlow takes its seconds.
    addons.check(recipe)
    if not options.resume:
        runfolder.of(options.run_dir, recipe.arch).check()
    digits = data.load(options.data or None)
    # Without a GPU it reports errors of CUDA, which is nobody's error. What
    # fails in earnest comes as an exception.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    backends.load()
    from mnistpipe.training import train

    record = train.train(recipe, options, digits)
    print(f"\n{summary.summary(record)}")
    # The test set is not read for a report: a run with --evaluate_test=false
    # gets one without scores.
    from mnistpipe.reports import run_report, tensorboard

    run_report.write(pathlib.Path(record.run_dir), record)
    tensorboard.write(pathlib.Path(record.run_dir), record)
    if not record.interrupted:
        return 0
    print(
        f"\nInterrupted: the last weights are in {record.run_dir}; "
        f"--resume={record.run_dir} goes on.",
        file=sys.stderr,
    )
    return INTERRUPTED


def _interrupt(*_: object) -> NoReturn:
    """A polite kill leaves as valid a folder as Ctrl-C does."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    flags.define(Recipe)
    flags.define(RunOptions)
    app.run(main, extra="train")
