"""The files and the printed table of a sweep.

sweep.csv      one row per trial
sweep.png      the objective against each hyperparameter
best.cfg       the best trial as a flagfile of the trainer
tensorboard/   the trials in TensorBoard's HParams
"""

import csv
import io
import math
import pathlib
import shlex
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from mnistpipe import recipes
from mnistpipe.recipes import RunOptions, flagfiles
from mnistpipe.runs import runfolder
from mnistpipe.sweep import results
from mnistpipe.sweep.results import Row
from mnistpipe.sweep.settings import RUN_OPTIONS, Settings
from mnistpipe.sweep.space import Axis

CSV = "sweep.csv"
PLOT = "sweep.png"
BEST = "best.cfg"
TENSORBOARD = "tensorboard"
_COLUMNS = 4  # of the plot


class Reporter:
    """Prints a line per trial, and keeps the files of a sweep up to date."""

    def __init__(self, folder: pathlib.Path, settings: Settings) -> None:
        self._folder = folder
        self._settings = settings
        self._headed = False

    def __call__(self, trial_id: str) -> None:
        """Reports that a trial has begun or ended."""
        rows = results.collect(self._folder, self._settings)
        row = next((row for row in rows if row.trial == trial_id), None)
        if row is None:  # the file was damaged meanwhile
            return
        if not self._headed:
            print(_head(self._settings), flush=True)
            self._headed = True
        best = results.best(rows, self._settings)
        print(table_row(row, self._settings, best), flush=True)
        write_csv(self._folder, rows, self._settings)
        if row.status == "completed":
            write_hparams(self._folder, row, self._settings)
            write_best(self._folder, rows, self._settings)

    def finish(self) -> list[Row]:
        """Draws the plot and prints the summary; returns all trials."""
        rows = results.collect(self._folder, self._settings)
        write_csv(self._folder, rows, self._settings)
        write_plot(self._folder, rows, self._settings)
        print(f"\n{summary(self._folder, rows, self._settings)}", flush=True)
        return rows


def _head(settings: Settings) -> str:
    return f"trial  status     {settings.sweep.objective:>12}  epochs  seconds"


def table_row(row: Row, settings: Settings, best: Row | None) -> str:
    """Returns a line of the table; a star marks the best trial so far."""
    figure = row.figures.get(settings.sweep.objective)
    score = "" if row.status != "completed" else f"{figure:.4f}"
    star = "*" if best is not None and row.trial == best.trial else " "
    seconds = "" if row.seconds is None else f"{row.seconds:.1f}"
    if row.status == "running":
        return f"{row.trial:>5}  running"
    point = "documented" if row.documented else _point(row.values)
    return (
        f"{row.trial:>5}  {row.status:<9} {score:>12}{star} {row.epochs:>6}"
        f"  {seconds:>7}  {row.reason or point}"
    ).rstrip()


def _point(values: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={_short(v)}" for name, v in values.items())


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def write_csv(
    folder: pathlib.Path, rows: Sequence[Row], settings: Settings
) -> None:
    """Writes one row per trial; a missing figure is empty."""
    figures = list(dict.fromkeys(name for row in rows for name in row.figures))
    text = io.StringIO()
    writer = csv.writer(text)
    facts = ("trial", "status", "epochs", "seconds", "reason")
    writer.writerow([*facts, *figures, *settings.axes])
    for row in rows:
        line = [getattr(row, name) for name in facts]
        line += [row.figures.get(name) for name in figures]
        writer.writerow(line + [row.values.get(n) for n in settings.axes])
    with runfolder.replacing(folder / CSV) as beside:
        beside.write_text(text.getvalue(), encoding="utf-8", newline="")


def write_best(
    folder: pathlib.Path, rows: Sequence[Row], settings: Settings
) -> None:
    """Writes the best trial's recipe and options as a flagfile."""
    row = results.best(rows, settings)
    if row is None:
        return
    kept = {name: getattr(settings.run, name) for name in RUN_OPTIONS}
    recipe = results.recipe_of(row, settings)
    name = settings.sweep.objective
    head = [
        f"The best of a sweep near {recipe.arch}: trial {row.trial},"
        f" {name} {row.figures[name]:.4f}.",
        f"python -m mnistpipe.main --flagfile={folder / BEST}",
        *_full_budget(settings),
    ]
    text = "".join(f"# {line}\n" for line in head)
    text += f"\n{flagfiles.text(recipe, RunOptions(**kept))}"
    with runfolder.replacing(folder / BEST) as beside:
        beside.write_text(text, encoding="utf-8")


def _full_budget(settings: Settings) -> list[str]:
    """Names the flags of the documented budget, if that is larger."""
    documented = recipes.recipe_for(settings.recipe.arch).epochs
    more = []
    if settings.recipe.epochs < documented:
        more.append(f"--epochs={documented}")
    if settings.run.train_examples:
        more.append("--train_examples=0")
    return [f"As long as documented: {' '.join(more)}"] if more else []


def summary(
    folder: pathlib.Path, rows: Sequence[Row], settings: Settings
) -> str:
    """Returns the comparison, and the command that trains the best trial."""
    failed = sum(row.status == "failed" for row in rows)
    texts = [results.comparison(rows, settings)]
    if failed:
        texts.append(f"{failed} of {len(rows)} trials failed; see {CSV}.")
    texts = [textwrap.fill(t, 79, break_on_hyphens=False) for t in texts]
    if (folder / BEST).exists():
        flagfile = shlex.quote(f"--flagfile={folder / BEST}")
        texts.append(f"python -m mnistpipe.main {flagfile}")
        texts += _full_budget(settings)
    return "\n".join(texts)


def write_plot(
    folder: pathlib.Path, rows: Sequence[Row], settings: Settings
) -> None:
    """Plots the objective against each hyperparameter.

    The documented point is a star. Trials that trained for a part of the
    budget are pale.
    """
    from matplotlib.figure import Figure  # takes most of a second to import

    name = settings.sweep.objective
    done = [row for row in rows if row.status == "completed"]
    count = len(settings.axes)
    columns = min(_COLUMNS, count)
    lines = math.ceil(count / columns)
    figure = Figure(figsize=(3.2 * columns, 2.8 * lines), layout="constrained")
    axes = figure.subplots(lines, columns, sharey=True, squeeze=False)
    for panel, (field, axis) in zip(
        axes.flat, settings.axes.items(), strict=False
    ):
        panel.set_xlabel(field)
        if axis.log:
            panel.set_xscale("log")
        if axis.choices:
            ticks = range(len(axis.choices))
            panel.set_xticks(ticks, [str(choice) for choice in axis.choices])
        for row in done:
            whole = row.epochs == settings.recipe.epochs
            panel.plot(
                _abscissa(axis, row.values[field]),
                row.figures[name],
                "*" if row.documented else "o",
                color="C1" if row.documented else "C0",
                markersize=11 if row.documented else 5,
                alpha=1.0 if whole else 0.3,
            )
    for panel in axes[:, 0]:
        panel.set_ylabel(name)
    for panel in axes.flat[count:]:
        panel.set_visible(False)
    with runfolder.replacing(folder / PLOT) as beside:
        figure.savefig(beside, dpi=120, format="png")


def _abscissa(axis: Axis, value: Any) -> float:
    return axis.choices.index(value) if axis.choices else value


def write_hparams(folder: pathlib.Path, row: Row, settings: Settings) -> None:
    """Writes a trial for TensorBoard's HParams.

    TensorFlow's summary writer is not used, because TensorFlow would reserve a
    GPU's memory.
    """
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.plugins.hparams import summary_v2 as hparams
    from tensorboard.plugins.scalar import summary as scalars
    from tensorboard.summary.writer import event_file_writer

    writer = event_file_writer.EventFileWriter(
        str(folder / TENSORBOARD / f"trial_{row.trial}")
    )
    point = {
        name: row.values.get(name, axis.documented)
        for name, axis in settings.axes.items()
    }
    summaries = [
        hparams.hparams_pb(point, trial_id=row.trial),
        *(scalars.scalar_pb(n, v) for n, v in row.figures.items()),
    ]
    for one in summaries:
        event = Event(step=row.epochs)
        # TensorFlow, where it is loaded, and TensorBoard have own classes.
        event.summary.ParseFromString(one.SerializeToString())
        writer.add_event(event)
    writer.close()
