"""The binary `tune` with the fake trainer and short leases."""

import pathlib
import sys

from mnistpipe import tune
from mnistpipe.cli import app
from mnistpipe.sweep import port, trials

HERE = pathlib.Path(__file__)
trials.TRAINER = (sys.executable, str(HERE.with_name("fake_trainer.py")))
port.RENEW_SECONDS = 0.2

if __name__ == "__main__":
    if "--role=chief" in sys.argv:  # a worker starts faster without keras-tuner
        from mnistpipe.sweep import coordinator

        coordinator.LEASE_SECONDS = 2.0
    tune.define_flags()
    app.run(tune.main)
