"""The trials of a sweep as rows, the best trial, and its comparison."""

import contextlib
import json
import math
import pathlib
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mnistpipe.recipes import Recipe
from mnistpipe.sweep import records, space
from mnistpipe.sweep.options import OBJECTIVES
from mnistpipe.sweep.settings import Settings

# The share of sweeps that may report a difference although there is none.
_LEVEL = 0.05


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
      validation_examples: number of validation images, over all seeds.
      seconds: duration of the trainings that ended.
    """

    trial: str
    status: str
    reason: str
    values: dict[str, Any]
    epochs: int
    figures: Mapping[str, float]
    validation_examples: int
    seconds: float | None

    @property
    def documented(self) -> bool:
        """Whether the trial is the documented point."""
        return not int(self.trial)


def collect(folder: pathlib.Path, settings: Settings) -> list[Row]:
    """Returns all trials that were begun, in order, except damaged trials."""
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
    """Returns the recipe that a trial trained."""
    return space.recipe_at(settings.recipe, row.values, row.epochs)


def candidates(rows: Sequence[Row], settings: Settings) -> list[Row]:
    """Returns the completed trials that trained for the whole budget."""
    return [
        row
        for row in rows
        if row.status == "completed" and row.epochs == settings.recipe.epochs
    ]


def best(rows: Sequence[Row], settings: Settings) -> Row | None:
    """Returns the best trial; the first, if several are equally good."""
    objective = settings.sweep.objective
    sign = 1 if OBJECTIVES[objective] == "max" else -1
    return max(
        candidates(rows, settings),
        key=lambda row: sign * row.figures[objective],
        default=None,
    )


def comparison(rows: Sequence[Row], settings: Settings) -> str:
    """Compares the best trial with the documented point.

    The accuracies p₁ and p₂ of two equally good networks on n images differ by
    a normal z × sqrt(2 p (1 − p) / n), where p is the mean of p₁ and p₂. This
    is the test of two proportions in Dietterich, "Approximate Statistical
    Tests for Comparing Supervised Classification Learning Algorithms", Neural
    Computation 10(7), 1998. The test assumes two independent sets of images.
    On the same images it is conservative. The best of k other points was
    picked, so z is the one-sided quantile at 5 % / k (Dunn, "Multiple
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
    bound, formula = noise(ours, theirs, first.validation_examples, others)
    gain = ours - theirs
    verdict = "exceeds" if gain > bound else "does not exceed"
    return (
        f"{head}. In accuracy {gain:+.2%}, which {verdict} what chance alone"
        f" gives the best of {others} other points, {bound:.2%}: {formula}."
    )


def _points(rows: Sequence[Row]) -> int:
    """Counts the points; Hyperband trains some points several times."""
    done = [row for row in rows if row.status == "completed"]
    return len({json.dumps(row.values) for row in done})


def noise(
    ours: float, theirs: float, examples: int, others: int
) -> tuple[float, str]:
    """Returns the largest difference that chance explains, and its formula."""
    mean = (ours + theirs) / 2
    z = statistics.NormalDist().inv_cdf(1 - _LEVEL / others)
    bound = z * math.sqrt(2 * mean * (1 - mean) / examples)
    return bound, (
        f"{z:.2f} × sqrt(2 p (1 − p) / n), p = {mean:.2%}, n = {examples:,}"
        f" (Dietterich 1998; one-sided 5 %, Dunn 1961)"
    )


def _figure(name: str, figures: Mapping[str, float]) -> str:
    value = figures[name]
    return f"{name} " + (
        f"{value:.2%}" if name.endswith("accuracy") else f"{value:.4f}"
    )
