"""The binary `tune`, and its workers, with the fake trainer."""

import pathlib
import sys

from mnistpipe import tune
from mnistpipe.cli import app
from mnistpipe.sweep import roles, trials

HERE = pathlib.Path(__file__)
trials.TRAINER = (sys.executable, str(HERE.with_name("fake_trainer.py")))
roles.TUNE = (sys.executable, str(HERE))

if __name__ == "__main__":
    tune.define_flags()
    app.run(tune.main)
