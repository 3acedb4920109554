"""Reads the files of a sweep's trials, and checks every value.

    trial_07/trial.json     the point, and whether the trial is still running
    trial_07/outcome.json   the figures, or the reason why there are none

The folder may be damaged or written by a stranger. Content that a sweep does
not write raises `DamagedError`.
"""

import json
import pathlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mnistpipe import recipes, safejson
from mnistpipe.data import DataError, files
from mnistpipe.recipes import Interval, Recipe
from mnistpipe.runs import runfolder
from mnistpipe.runs.record import Count, Seconds
from mnistpipe.sweep.settings import Settings

TRIAL, OUTCOME = "trial.json", "outcome.json"
RUNNING = "RUNNING"
# Hyperband adds its bookkeeping to a point. All but PREVIOUS are integers.
EPOCHS, PREVIOUS = "tuner/epochs", "tuner/trial_id"
BRACKET, ROUND = "tuner/bracket", "tuner/round"
_HYPERBAND = (EPOCHS, "tuner/initial_epoch", BRACKET, ROUND)
_MAX_BYTES = 1 << 24
_MAX_REASON = 500  # characters


class DamagedError(ValueError):
    """A file that is not as a sweep writes it; the message is one line."""


@dataclass(frozen=True)
class TrialRecord:
    """One trial as trial.json describes it.

    Attributes:
      trial: the trial's number, as in the name of its folder.
      status: "RUNNING", "COMPLETED" or "FAILED".
      values: the point, with what Hyperband adds to it.
    """

    trial: str
    status: str
    values: dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """The result of a trial.

    Attributes:
      reason: why the trial failed; empty if it did not.
      figures: metrics by name, as means over the seeds.
      validation_examples: number of validation images, over all seeds.
      seconds: duration of the trainings that ended; None of a running trial.
    """

    reason: str
    figures: Mapping[str, float]
    validation_examples: Count
    seconds: Seconds | None

    def __post_init__(self) -> None:
        """Raises ValueError if the reason or a figure is no trial's."""
        if len(self.reason) > _MAX_REASON:
            raise ValueError(
                f"reason: expected at most {_MAX_REASON} characters, got"
                f" {len(self.reason)}"
            )
        for name, value in self.figures.items():
            share = not name.endswith("accuracy") or 0 <= value <= 1
            if not name.isidentifier() or not share:
                raise ValueError(
                    f"figures: expected figures, got {name[:40]!r}: {value}"
                )


def trial_id(number: int, settings: Settings) -> str:
    """Returns a trial's number with leading zeros, as its folder has it."""
    width = len(str(settings.sweep.max_trials or None))  # as keras-tuner does
    return f"{number:0{width}d}"


def read_trial(folder: pathlib.Path, settings: Settings) -> TrialRecord:
    """Reads trial.json in the folder of a trial.

    Raises:
      DamagedError: the file cannot be read, or a value is wrong.
    """
    content = _read(folder / TRIAL)
    name = check_trial_id(content.get("trial_id"), settings)
    if f"trial_{name}" != folder.name:
        raise DamagedError(
            f"{TRIAL}: expected trial {folder.name}, got {name!r}"
        )
    status = content.get("status")
    if status not in (RUNNING, "COMPLETED", "FAILED"):
        raise DamagedError(f"{TRIAL}: expected a status, got {status!r}")
    point = content.get("hyperparameters")
    values = point.get("values") if isinstance(point, dict) else None
    return TrialRecord(name, status, check_values(values, settings))


def check_trial_id(name: Any, settings: Settings) -> str:
    """Returns the number of a trial if the sweep can have such a trial.

    Raises:
      DamagedError: the number is something else, a path for example.
    """
    most = settings.sweep.max_trials or 1_000_000
    if (
        isinstance(name, str)
        and re.fullmatch("[0-9]{1,7}", name)
        and int(name) < most
        and name == trial_id(int(name), settings)
    ):
        return name
    raise DamagedError(
        f"expected a trial's number below {most}, got {name!r:.40}"
    )


def check_values(values: Any, settings: Settings) -> dict[str, Any]:
    """Returns a point if the sweep can have proposed it.

    Raises:
      DamagedError: a name is missing or unknown, or a value is out of range.
    """
    if not isinstance(values, dict):
        raise DamagedError(f"expected hyperparameters, got {values!r:.80}")
    hyperband = settings.sweep.tuner == "hyperband"
    required = {*settings.axes, *(_HYPERBAND if hyperband else ())}
    optional = {PREVIOUS} if hyperband else set()
    if not required <= values.keys() <= required | optional:
        raise DamagedError(
            f"expected the hyperparameters {', '.join(sorted(required))}, got"
            f" {', '.join(map(repr, values))[:200]}"
        )
    for name, value in values.items():
        if name in settings.axes:
            _check_axis(name, value, settings)
        elif name == PREVIOUS:
            check_trial_id(value, settings)
        elif not _is_count(value, settings.recipe.epochs):
            raise DamagedError(f"{name}: expected a count, got {value!r}")
    if hyperband and not values[EPOCHS]:
        raise DamagedError(f"{EPOCHS}: expected at least 1, got 0")
    return dict(values)


def _check_axis(name: str, value: Any, settings: Settings) -> None:
    axis = settings.axes[name]
    try:
        recipes.specs(Recipe)[name].check(value)
    except ValueError as error:
        raise DamagedError(f"{name}: {error}") from None
    if axis.choices:
        inside = value in axis.choices
    else:  # the powers of logarithms are rounded
        slack = 1e-9 * max(abs(axis.low), abs(axis.high))
        inside = value in Interval(axis.low - slack, axis.high + slack)
    if not inside:
        raise DamagedError(f"{name}: expected a value of {axis}, got {value}")


def _is_count(value: Any, most: int) -> bool:
    return type(value) is int and 0 <= value <= most


def read_outcome(folder: pathlib.Path, settings: Settings) -> Outcome:
    """Reads outcome.json in the folder of a trial.

    Raises:
      DamagedError: the file cannot be read, or a value is wrong.
    """
    content = _read(folder / OUTCOME)
    try:
        outcome = safejson.decode_fields(Outcome, content)
    except ValueError as error:
        raise DamagedError(f"{OUTCOME}: {error}") from None
    needed = {settings.sweep.objective, "val_accuracy"}
    if not outcome.reason and not needed <= outcome.figures.keys():
        raise DamagedError(
            f"{OUTCOME}: expected {' and '.join(sorted(needed))}, got"
            f" {', '.join(outcome.figures) or 'no figures'}"
        )
    return outcome


def printable(text: str) -> str:
    """Returns text without control characters, cut to one readable line."""
    return "".join(c if c.isprintable() else "?" for c in text)[:_MAX_REASON]


def _read(path: pathlib.Path) -> dict[str, Any]:
    """Returns the JSON object that a file holds."""
    try:
        return files.read_object(path, "a file of a sweep", _MAX_BYTES)
    except DataError as error:
        raise DamagedError(str(error)) from None


def read_seed_state(path: pathlib.Path) -> int:
    """Returns the number of draws in oracle.json, or 0 if it is damaged."""
    try:
        value = _read(path).get("seed_state")
    except DamagedError:
        return 0
    return value if type(value) is int else 0


def write(path: pathlib.Path, content: Mapping[str, Any]) -> None:
    """Writes a JSON object, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with runfolder.replacing(path) as beside:
        beside.write_text(
            json.dumps(content, indent=2) + "\n", encoding="utf-8"
        )
