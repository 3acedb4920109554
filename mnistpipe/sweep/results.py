"""What a sweep's folder says of its trials, and the best of them."""

import contextlib
import json
import math
import pathlib
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mnistpipe.recipes import Recipe
from mnistpipe.sweep import records, space
from mnistpipe.sweep.options import OBJECTIVES
from mnistpipe.sweep.settings import Settings

_LEVEL = 0.05  # share of sweeps without any difference that may claim one


@dataclass(frozen=True)
class Row:
    """One trial.

    Attributes:
      trial: its number, as in the name of its folder.
      status: "running", "completed" or "failed".
      reason: why it failed.
      values: its point, by hyperparameter.
      epochs: its budget.
      figures: metrics by name, as means over the seeds.
      validation_examples: on which, over all seeds.
      seconds: duration of the trainings that ended.
    """

    trial: str
    status: str
    reason: str
    values: dict[str, Any]
    epochs: int
    figures: dict[str, float]
    validation_examples: int
    seconds: float | None

    @property
    def documented(self) -> bool:
        """Whether it is the documented point."""
        return not int(self.trial)


def collect(folder: pathlib.Path, settings: Settings) -> list[Row]:
    """Returns all trials that were begun, in order, without damaged ones."""
    rows = []
    for path in sorted(folder.glob("trial_*")):
        with contextlib.suppress(records.DamagedError):
            rows.append(_row(path, settings))
    return rows


def _row(path: pathlib.Path, settings: Settings) -> Row:
    trial = records.read_trial(path, settings)
    outcome = records.Outcome("", {}, 0, None)
    if trial.status != records.RUNNING:
        outcome = records.read_outcome(path, settings)
    return Row(
        trial=trial.trial,
        status=trial.status.lower(),
        reason=outcome.reason,
        values={name: trial.values[name] for name in settings.axes},
        epochs=trial.values.get(records.EPOCHS, settings.recipe.epochs),
        figures=outcome.figures,
        validation_examples=outcome.validation_examples,
        seconds=outcome.seconds,
    )


def recipe_of(row: Row, settings: Settings) -> Recipe:
    """The recipe that a trial trained."""
    return space.recipe_at(settings.recipe, row.values, row.epochs)


def candidates(rows: Sequence[Row], settings: Settings) -> list[Row]:
    """The trials that may be the best: completed, and on the whole budget."""
    return [
        row
        for row in rows
        if row.status == "completed" and row.epochs == settings.recipe.epochs
    ]


def best(rows: Sequence[Row], settings: Settings) -> Row | None:
    """The best trial; of equal ones the first, so the documented one."""
    objective = settings.sweep.objective
    sign = 1 if OBJECTIVES[objective] == "max" else -1
    return max(
        candidates(rows, settings),
        key=lambda row: sign * row.figures[objective],
        default=None,
    )


def comparison(rows: Sequence[Row], settings: Settings) -> str:
    """The best beside the documented point, and what chance alone can do.

    The accuracies p₁ and p₂ of two equally good networks on n images differ by
    a normal z × sqrt(2 p (1 − p) / n), p their mean: the test of two
    proportions in Dietterich, "Approximate Statistical Tests for Comparing
    Supervised Classification Learning Algorithms", Neural Computation 10(7),
    1998. It takes the two sets of images for different ones, so on the same
    images it asks for too much rather than for too little. One of k others
    was picked, so z is the one-sided quantile at 5 % / k (Dunn, "Multiple
    Comparisons among Means", JASA 56, 1961).
    """
    found = best(rows, settings)
    if found is None:
        return "No trial was completed; there is nothing to compare."
    name = settings.sweep.objective
    head = f"Best: trial {found.trial}, {_figure(name, found.figures)}"
    first = next((r for r in rows if r.documented), None)
    if first is None or first.status != "completed":
        return f"{head}. The documented point did not finish: no comparison."
    others = _points(rows) - 1
    if found.documented:
        return f"{head}: the documented point, the best of {others + 1}."
    head += f"; documented point {_figure(name, first.figures)}"
    ours, theirs = found.figures["val_accuracy"], first.figures["val_accuracy"]
    bound, words = noise(ours, theirs, first.validation_examples, others)
    gain = ours - theirs
    verdict = "exceeds" if gain > bound else "does not exceed"
    return (
        f"{head}. In accuracy {gain:+.2%}, which {verdict} what chance alone"
        f" gives the best of {others} other points, {bound:.2%}: {words}."
    )


def _points(rows: Sequence[Row]) -> int:
    """How many points were judged; Hyperband judges one more than once."""
    done = [row for row in rows if row.status == "completed"]
    return len({json.dumps(row.values) for row in done})


def noise(
    ours: float, theirs: float, examples: int, others: int
) -> tuple[float, str]:
    """The largest difference that chance explains, and how it comes about."""
    mean = (ours + theirs) / 2
    z = statistics.NormalDist().inv_cdf(1 - _LEVEL / others)
    bound = z * math.sqrt(2 * mean * (1 - mean) / examples)
    return bound, (
        f"{z:.2f} × sqrt(2 p (1 − p) / n), p = {mean:.2%}, n = {examples:,}"
        f" (Dietterich 1998; one-sided 5 %, Dunn 1961)"
    )


def _figure(name: str, figures: dict[str, float]) -> str:
    value = figures[name]
    return f"{name} " + (
        f"{value:.2%}" if name.endswith("accuracy") else f"{value:.4f}"
    )
