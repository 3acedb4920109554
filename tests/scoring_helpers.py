"""Tiny finished runs, and the two binaries called within this process."""

import contextlib
import io
import sys
from unittest import mock

import helpers
import numpy as np
from absl import flags as absl_flags
from absl.testing import flagsaver

from mnistpipe import data
from mnistpipe.cli import app, flags
from mnistpipe.evaluation.options import EvaluationOptions
from mnistpipe.networks import models
from mnistpipe.training import train


def save_npz(path, digits=None, **changes):
    """A data file of a few digits."""
    digits = digits or helpers.few_digits()
    arrays = {
        "x_train": digits.train.images,
        "y_train": digits.train.labels,
        "x_test": digits.test.images,
        "y_test": digits.test.labels,
    }
    np.savez(path, **(arrays | changes))
    return path


def finished_run(folder, npz, *, build=helpers.tiny_network, recipe=(), **how):
    """A run of no epochs; its network is tiny unless told otherwise."""
    with mock.patch.object(models, "build", build):
        train.train(
            helpers.quick_recipe(**{"epochs": 0, **dict(recipe)}),
            helpers.quick_options(folder, data=str(npz), **how),
            data.load(npz),
        )
    return folder


def call(binary, *arguments, options=EvaluationOptions, files=False):
    """(status, stdout, stderr) of `app.run`, as the binary calls it.

    Only absl's own set-up of a process (logging, faulthandler) is left out.
    The flags are those of `options`; evaluate has all of predict's.
    """

    def without_setup(main, flags_parser):
        sys.exit(main(flags_parser(sys.argv)))

    flags.define(options)
    out, err = io.StringIO(), io.StringIO()
    status = 0
    with (
        flagsaver.flagsaver(),
        mock.patch.object(sys, "argv", [binary.__name__, *map(str, arguments)]),
        mock.patch.object(app.absl_app, "run", without_setup),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        absl_flags.FLAGS.unparse_flags()
        try:
            app.run(binary.main, files=files)
        except SystemExit as end:
            status = end.code or 0
    return status, out.getvalue(), err.getvalue()
