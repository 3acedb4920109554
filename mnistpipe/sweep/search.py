"""keras-tuner's oracles, which propose the points of a sweep.

Only `populate_space` of an oracle is used, so the documented point can come
first and an oracle can be rebuilt from the folders of its trials. Handing out
trials and writing files is the task of coordinator.py.
"""

import hashlib
import pathlib
from typing import Any, TypeAlias

import keras_tuner
from keras_tuner.engine import trial as trial_module

from mnistpipe import recipes
from mnistpipe.sweep import records, space
from mnistpipe.sweep.options import OBJECTIVES
from mnistpipe.sweep.records import DamagedError, TrialRecord
from mnistpipe.sweep.settings import Settings

Trial: TypeAlias = trial_module.Trial
# oracle.json may count more draws than the trials need, since draws that
# repeat a point are thrown away.
_MOST_REPEATED_DRAWS = 1_000_000


class _Oracle(keras_tuner.Oracle):
    """What the three oracles have in common; a mixin."""

    documented: dict[str, Any]

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Returns the documented point first, then what the oracle proposes."""
        if not int(trial_id):
            return {"status": "RUNNING", "values": dict(self.documented)}
        return super().populate_space(trial_id)

    def put_back(self, record: TrialRecord) -> None:
        """Registers a trial of an earlier start.

        Raises:
          DamagedError: this oracle cannot have proposed the trial.
        """
        self.add(record.trial, record.values)

    def add(self, trial_id: str, values: dict[str, Any]) -> Trial:
        """Registers a trial, so that its point is not proposed again."""
        hyperparameters = self.hyperparameters.copy()
        hyperparameters.values = dict(values)
        trial = Trial(hyperparameters, trial_id, records.RUNNING)
        self._record_values(trial)
        self.trials[trial_id] = trial
        return trial

    def count_draws(self, path: pathlib.Path) -> None:
        """Continues after the last draw.

        Args:
          path: oracle.json; if it is damaged, the trials are counted instead.
        """
        drawn = sum(
            records.PREVIOUS not in trial.hyperparameters.values
            for name, trial in self.trials.items()
            if int(name)
        )
        least = self.seed + drawn * len(self.hyperparameters.space)
        kept = records.read_seed_state(path)
        known = least <= kept <= least + _MOST_REPEATED_DRAWS
        self._seed_state = kept if known else least

    @property
    def seed_state(self) -> int:
        """The seed of the next draw, which `count_draws` reads back."""
        return self._seed_state


class _Random(_Oracle, keras_tuner.oracles.RandomSearchOracle):
    pass


class _Bayesian(_Oracle, keras_tuner.oracles.BayesianOptimizationOracle):
    pass


class _Hyperband(_Oracle, keras_tuner.oracles.HyperbandOracle):
    def _random_trial(self, trial_id: str, bracket: Any) -> dict[str, Any]:
        """Names the bracket of the trial; keras-tuner names the newest one."""
        response = super()._random_trial(trial_id, bracket)
        if "values" in response:
            response["values"][records.BRACKET] = bracket["bracket_num"]
        return response

    def put_back(self, record: TrialRecord) -> None:
        """Registers a trial and puts it into its place in the brackets."""
        if int(record.trial):
            previous = record.values.get(records.PREVIOUS)
            number = record.values[records.ROUND]
            if previous is None:
                bracket = self._bracket_of_new(record)
            else:
                bracket = self._bracket_of_promoted(previous, number)
            epochs = self._get_epochs(bracket["bracket_num"], number)
            if record.values[records.EPOCHS] != epochs:
                raise DamagedError(f"expected {epochs} epochs in this round")
            bracket["rounds"][number].append(
                {"past_id": previous, "id": record.trial}
            )
        super().put_back(record)

    def _bracket_of_new(self, record: TrialRecord) -> dict[str, Any]:
        number = record.values[records.BRACKET]
        if number >= self._get_num_brackets() or record.values[records.ROUND]:
            raise DamagedError("expected a trial of a bracket's first round")
        while self._current_bracket > number:
            self._increment_bracket_num()
            self._start_new_bracket()
        return next(b for b in self._brackets if b["bracket_num"] == number)

    def _bracket_of_promoted(self, previous: str, number: int) -> dict:
        for bracket in self._brackets:
            rounds = bracket["rounds"]
            if (
                0 < number < len(rounds)
                and any(info["id"] == previous for info in rounds[number - 1])
                and all(info["past_id"] != previous for info in rounds[number])
            ):
                return bracket
        raise DamagedError(f"expected trial {previous} in an earlier round")


def make_oracle(settings: Settings) -> _Oracle:
    """Returns the oracle of a sweep, without any trial."""
    sweep = settings.sweep
    shared = {
        "objective": keras_tuner.Objective(
            sweep.objective, OBJECTIVES[sweep.objective]
        ),
        "hyperparameters": _hyperparameters(settings),
        "seed": _seed(settings.run.seed),
    }
    documented = space.documented_point(settings.axes)
    if sweep.tuner == "hyperband":
        oracle = _Hyperband(max_epochs=settings.recipe.epochs, **shared)
        documented |= {
            records.EPOCHS: settings.recipe.epochs,
            "tuner/initial_epoch": 0,
            records.BRACKET: 0,
            records.ROUND: 0,
        }
    elif sweep.tuner == "bayesian":
        # The default is three random points for each hyperparameter.
        oracle = _Bayesian(
            max_trials=sweep.max_trials,
            num_initial_points=max(3, sweep.max_trials // 3),
            **shared,
        )
    else:
        oracle = _Random(max_trials=sweep.max_trials, **shared)
    oracle.documented = documented
    return oracle


def _seed(seed: int) -> int:
    """Returns 31 bits of a seed; 0 would be random in keras-tuner.

    The hash keeps neighbouring seeds from sharing draws.
    """
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
