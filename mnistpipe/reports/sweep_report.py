"""report.html of a sweep: its trials beside the documented point."""

import pathlib

from mnistpipe.recipes import RunOptions, flagfiles
from mnistpipe.reports import figures, page
from mnistpipe.runs import runfolder
from mnistpipe.sweep import results
from mnistpipe.sweep import settings as sweep_settings
from mnistpipe.sweep.results import Row
from mnistpipe.sweep.settings import RUN_OPTIONS, Settings

NAME = "report.html"


def write(folder: pathlib.Path) -> pathlib.Path:
    """Writes report.html into a sweep's folder, and returns its path."""
    path = folder / NAME
    with runfolder.replacing(path) as beside:
        beside.write_text(html(folder), "utf-8")
    return path


def html(folder: pathlib.Path) -> str:
    """The page of a sweep that has finished or is still running.

    Raises:
      UserError: one line, if the folder is not that of a sweep.
    """
    settings = sweep_settings.load(folder)
    rows = results.collect(folder, settings)
    objective = settings.sweep.objective
    names = list(settings.axes)
    done = [row for row in rows if row.status == "completed"]
    points = [{**row.values, objective: row.figures[objective]} for row in done]
    documented = next(
        (place for place, row in enumerate(done) if row.documented), None
    )
    drawn = bool(points and names)
    arguments = (points, names, objective, documented)
    return page.render(
        "sweep.html",
        title=f"Sweep near {settings.recipe.arch}",
        summary=results.comparison(rows, settings),
        best_flagfile=_best_flagfile(rows, settings),
        objective=objective,
        against=figures.against_objective(*arguments) if drawn else "",
        parallel=figures.parallel_coordinates(*arguments) if drawn else "",
        columns=["trial", "status", objective, "epochs", "seconds", *names],
        rows=[
            {"cells": _cells(row, settings), "documented": row.documented}
            for row in rows
        ],
    )


def _cells(row: Row, settings: Settings) -> list[str]:
    figure = row.figures.get(settings.sweep.objective)
    return [
        row.trial,
        row.reason or row.status,
        "" if figure is None else f"{figure:.4f}",
        str(row.epochs),
        "" if row.seconds is None else f"{row.seconds:.1f}",
        *(_short(row.values.get(name)) for name in settings.axes),
    ]


def _short(value: object) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def _best_flagfile(rows: list[Row], settings: Settings) -> str:
    best = results.best(rows, settings)
    if best is None:
        return ""
    kept = {name: getattr(settings.run, name) for name in RUN_OPTIONS}
    return flagfiles.text(results.recipe_of(best, settings), RunOptions(**kept))
