"""keras-tuner's oracles and tuner, around the trials of trials.py.

keras-tuner proposes the points, hands them out, and keeps what came back in
the sweep's folder (oracle.json, trial_*/trial.json). Three things are changed:
the documented point comes first, files are written whole, and a trial that
fails never ends the search.
"""

import hashlib
import json
import os
import pathlib
import sys
import time
from collections.abc import Callable
from typing import Any

import keras_tuner
from keras_tuner import errors
from keras_tuner.engine import base_tuner
from keras_tuner.src import config

from mnistpipe import recipes
from mnistpipe.runs import runfolder
from mnistpipe.sweep import space, trials
from mnistpipe.sweep.options import OBJECTIVES
from mnistpipe.sweep.settings import Settings

ORACLE = "oracle.json"
# Else it prints a traceback for every trial that fails.
config.DEBUG = False
# What Hyperband adds to a point; the documented one gets all epochs at once.
_EPOCHS, _PREVIOUS = "tuner/epochs", "tuner/trial_id"
_IDLE_SECONDS = 0.2


class _Oracle(keras_tuner.Oracle):
    """What the three oracles have in common; mixed in before keras-tuner's."""

    documented: dict[str, Any]
    changed: Callable[[str], None] | None = None

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """The documented point first, then what the oracle proposes."""
        if not self.trials:
            return {"status": "RUNNING", "values": dict(self.documented)}
        return super().populate_space(trial_id)

    # Neither of the two holds keras-tuner's lock when it reports.
    def create_trial(self, tuner_id: str) -> Any:
        """Hands out a trial."""
        trial = super().create_trial(tuner_id)
        if trial.status == "RUNNING":
            self._report(trial.trial_id)
        return trial

    def end_trial(self, trial: Any) -> None:
        """Takes a trial back."""
        # Of a worker that outlived the chief, which meant to hand it out again.
        if trial.trial_id in self._retry_queue:
            self._retry_queue.remove(trial.trial_id)
        super().end_trial(trial)
        self._report(trial.trial_id)

    def _report(self, trial_id: str) -> None:
        if self.changed:
            self.changed(trial_id)

    def save(self) -> None:
        """Whole or not at all; keras-tuner writes in place."""
        _write(pathlib.Path(self._get_oracle_fname()), self.get_state())

    def _save_trial(self, trial: Any) -> None:
        folder = pathlib.Path(self._get_trial_dir(trial.trial_id))
        _write(folder / "trial.json", trial.get_state())

    def reload(self) -> None:
        """Takes up what was running, even if only its trial.json says so."""
        super().reload()
        for trial_id, trial in self.trials.items():
            if trial.status == "RUNNING" and trial_id not in self._retry_queue:
                self._retry_queue.append(trial_id)


class _Random(_Oracle, keras_tuner.oracles.RandomSearchOracle):
    pass


class _Bayesian(_Oracle, keras_tuner.oracles.BayesianOptimizationOracle):
    pass


class _Hyperband(_Oracle, keras_tuner.oracles.HyperbandOracle):
    pass


def _write(path: pathlib.Path, state: dict[str, Any]) -> None:
    with runfolder.replacing(path) as beside:
        beside.write_text(json.dumps(state), encoding="utf-8")


def make_oracle(
    settings: Settings, changed: Callable[[str], None] | None = None
) -> _Oracle:
    """The oracle of a sweep.

    Args:
      settings: of the sweep.
      changed: called with a trial's id when it begins and when it ends.
    """
    sweep = settings.sweep
    shared = {
        "objective": keras_tuner.Objective(
            sweep.objective, OBJECTIVES[sweep.objective]
        ),
        "hyperparameters": _hyperparameters(settings),
        "allow_new_entries": False,
        "seed": _seed(settings.run.seed),
        # keras-tuner ends the search, and its chief hangs, after three.
        "max_consecutive_failed_trials": sys.maxsize,
    }
    documented = space.documented_point(settings.axes)
    if sweep.tuner == "hyperband":
        oracle = _Hyperband(max_epochs=settings.recipe.epochs, **shared)
        oracle.max_trials = sweep.max_trials or None
        documented |= {
            _EPOCHS: settings.recipe.epochs,
            "tuner/initial_epoch": 0,
            "tuner/bracket": 0,
            "tuner/round": 0,
        }
    elif sweep.tuner == "bayesian":
        # By default it draws at random three times per hyperparameter.
        oracle = _Bayesian(
            max_trials=sweep.max_trials,
            num_initial_points=max(3, sweep.max_trials // 3),
            **shared,
        )
    else:
        oracle = _Random(max_trials=sweep.max_trials, **shared)
    oracle.documented = documented
    oracle.changed = changed
    oracle.verbose = 0
    return oracle


def _seed(seed: int) -> int:
    """31 bits of a seed; 0 would be random, and neighbours share draws."""
    digest = hashlib.sha256(str(seed).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1 or 1


def _hyperparameters(settings: Settings) -> keras_tuner.HyperParameters:
    known = recipes.specs(recipes.Recipe)
    hyperparameters = keras_tuner.HyperParameters()
    for name, axis in settings.axes.items():
        default = axis.documented
        if axis.choices:
            hyperparameters.Choice(name, list(axis.choices), default=default)
            continue
        make = {int: hyperparameters.Int, float: hyperparameters.Float}
        make[known[name].kind](
            name,
            axis.low,
            axis.high,
            sampling="log" if axis.log else "linear",
            default=default,
        )
    return hyperparameters


class Tuner(base_tuner.BaseTuner):
    """Runs each trial as the trainer's own process.

    Whether it is alone, the chief or a worker is for keras-tuner's environment
    to say (see `take_role`).
    """

    def __init__(
        self, oracle: _Oracle, folder: pathlib.Path, settings: Settings
    ) -> None:
        folder = folder.absolute()
        super().__init__(
            oracle, directory=str(folder.parent), project_name=folder.name
        )
        self._folder = folder
        self._settings = settings
        if not self._is_worker() and (folder / ORACLE).exists():
            self.reload()

    def pre_create_trial(self) -> None:
        """A rest: keras-tuner asks an idle oracle again at once."""
        time.sleep(_IDLE_SECONDS)

    def run_trial(self, trial: Any, **_: Any) -> dict[str, float]:
        """Trains the trial's point, or takes what an earlier worker left."""
        values = trial.hyperparameters.values
        settings, folder = self._settings, self._folder
        previous = values.get(_PREVIOUS)
        first = settings.run.seed
        try:
            return trials.run_trial(
                folder / f"trial_{trial.trial_id}",
                space.recipe_at(settings.recipe, values, values.get(_EPOCHS)),
                settings.run,
                range(first, first + settings.sweep.seeds_per_trial),
                settings.sweep.objective,
                folder / f"trial_{previous}" if previous else None,
            )
        except trials.TrialFailedError as error:
            raise errors.FailedTrialError(str(error)) from error
        except Exception as error:  # keras-tuner would go on past a bug
            raise errors.FatalError(str(error)) from error

    def save(self) -> None:
        """The oracle is all there is to save."""
        if not self._is_worker():
            self.oracle.save()

    def reload(self) -> None:
        """The oracle is all there is to load."""
        self.oracle.reload()


def take_role(role: str, host: str, port: int) -> None:
    """Tells keras-tuner that this process is "chief", or which worker."""
    os.environ["KERASTUNER_TUNER_ID"] = role
    os.environ["KERASTUNER_ORACLE_IP"] = host
    os.environ["KERASTUNER_ORACLE_PORT"] = str(port)
    # A proxy knows nothing of the chief.
    os.environ["no_grpc_proxy"] = host  # noqa: SIM112, gRPC's own spelling
