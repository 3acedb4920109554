"""Going on with a run: what it was begun with, and what may differ now.

A resumed run ends with the bits of one that was never interrupted, so what
decides them must be what it was: the recipe, the data, the options, and the
versions of mnistpipe, TensorFlow, Keras and its backend. What may differ: more
epochs (unless the schedule depends on their number), `--save_every`,
`--verbose`, and the path of the data, which are known by their fingerprint.
Other hardware, Python and NumPy are pointed out and not refused.
"""

import dataclasses
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from mnistpipe import data
from mnistpipe.errors import UserError
from mnistpipe.recipes import (
    SCHEDULES_BY_STEP,
    Recipe,
    RunOptions,
    flagfiles,
)
from mnistpipe.runs import record, runfolder
from mnistpipe.runs.record import Hardware, RunRecord
from mnistpipe.runs.runfolder import RunFolder, RunFolderError
from mnistpipe.training import checkpoint

_FREE = {"save_every", "verbose", "data", "run_dir", "resume"}
_DECIDING = ("mnistpipe", "tensorflow", "keras", *("backend", "jax", "torch"))


def settings(path: str, given: Mapping[str, Any]) -> tuple[Recipe, RunOptions]:
    """Recipe and options of the run in a folder, with what may be changed.

    Args:
      path: the run's folder.
      given: the flags of the command line, by name.

    Raises:
      RunFolderError: there is no run, or a flag differs from the run's.
    """
    flagfile = pathlib.Path(path) / runfolder.FLAGS
    if not flagfile.is_file():
        raise RunFolderError(
            f"resume: expected the folder of a run, came {path}, which has no "
            f"{runfolder.FLAGS}"
        )
    try:
        recipe, options = flagfiles.read(str(flagfile), whole=True)
    except UserError as error:
        raise RunFolderError(
            f"resume: expected the {runfolder.FLAGS} that the run wrote, got a"
            f" damaged {flagfile}: {error}"
        ) from None
    given = {**given, "resume": path}
    if pathlib.Path(given.pop("run_dir", path)) != pathlib.Path(path):
        raise RunFolderError(
            f"run_dir: expected none beside --resume={path}, which says where"
        )
    run = {**dataclasses.asdict(recipe), **dataclasses.asdict(options)}
    _refuse(path, _differences(run, given))
    changes = {**given, "run_dir": path}
    fields = {f.name for f in dataclasses.fields(Recipe)}
    return (
        recipe.replace(**{n: changes[n] for n in changes.keys() & fields}),
        options.replace(**{n: changes[n] for n in changes.keys() - fields}),
    )


def finished(path: str, recipe: Recipe) -> RunRecord | None:
    """Returns the run's record if nothing is left to do.

    A metrics.json that is missing or damaged counts as unfinished, since the
    resumed run writes it anew.
    """
    try:
        done = record.read(pathlib.Path(path) / runfolder.METRICS)
    except data.DataError:
        return None
    return done if done.finished(recipe.epochs) else None


def load(
    folder: RunFolder, recipe: Recipe, options: RunOptions, digits: data.Digits
) -> tuple[checkpoint.State | None, list[str]]:
    """The state to go on from, and what the user should know about it.

    Returns:
      The state, or None for a run that was killed before its first one, and
      lines of text.

    Raises:
      RunFolderError: there is no whole state, or the run differs.
    """
    with folder.errors():
        state, damaged = checkpoint.newest(folder.path)
    if state is None:
        _refuse_without_state(folder, damaged)
        return None, [f"{folder.path}: killed before it began; starts anew"]
    facts = state.facts
    now = {**dataclasses.asdict(recipe), **dataclasses.asdict(options)}
    differences = _differences(
        {**vars(facts.recipe), **vars(facts.options)}, now
    )
    if digits.fingerprint != facts.data.fingerprint:
        differences.append(
            f"data {digits.name} of fingerprint {digits.fingerprint[:12]} (the "
            f"run has {facts.data.name} of {facts.data.fingerprint[:12]})"
        )
    _refuse(str(folder.path), differences)
    return state, [
        f"{folder.path}: {line}; going on from the one before, of step "
        f"{state.step}"
        for line in damaged
    ]


def check_devices(
    folder: RunFolder, state: checkpoint.State, devices: int
) -> None:
    """Raises RunFolderError unless as many devices train as before."""
    before = state.facts.devices
    if devices != before:
        raise RunFolderError(
            f"resume {folder.path}: expected the {before} devices that the run "
            f"was begun with, came {devices}"
        )


def check_machine(
    folder: RunFolder,
    state: checkpoint.State,
    versions: Mapping[str, str],
    hardware: Hardware,
) -> list[str]:
    """What differs but is not refused, as lines of text.

    Raises:
      RunFolderError: the same numbers are not to be had with these versions.
    """
    different = {
        # Those that do not tell are TensorFlow's.
        **_changed({"backend": "tensorflow", **state.facts.versions}, versions),
        **_changed(vars(state.facts.hardware), vars(hardware)),
    }
    deciding = [different.pop(name) for name in _DECIDING if name in different]
    _refuse(str(folder.path), deciding)
    if not different:
        return []
    return [
        f"{folder.path}: the same bits are not promised with "
        + ", ".join(different.values())
    ]


def _changed(
    before: Mapping[str, Any], now: Mapping[str, Any]
) -> dict[str, str]:
    return {
        name: f"{name} {value} (the run has {before.get(name)})"
        for name, value in now.items()
        if value != before.get(name)
    }


def _differences(run: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The fields of `now` that are not the run's, in words."""
    differences = []
    for name, value in now.items():
        if name in _FREE or value == run.get(name):
            continue
        words = f"{name}={value} (the run has {run.get(name)}"
        if name != "epochs":
            differences.append(f"{words})")
        elif run["schedule"] in SCHEDULES_BY_STEP:
            differences.append(f"{words}, on which {run['schedule']} depends)")
        elif value < run[name]:
            differences.append(f"{words}, which can only be raised)")
    return differences


def _refuse(path: str, differences: Iterable[str]) -> None:
    words = ", ".join(differences)
    if words:
        raise RunFolderError(
            f"resume {path}: expected what the run was begun with, came {words}"
        )


def _refuse_without_state(folder: RunFolder, damaged: list[str]) -> None:
    """Starting anew must destroy nothing."""
    if damaged:
        raise RunFolderError(
            f"resume {folder.path}: expected a whole state, came none: "
            + ", ".join(damaged)
        )
    with folder.errors():
        kept = [
            name
            for name in (
                *(runfolder.HISTORY, runfolder.METRICS),
                *(runfolder.BEST, runfolder.LAST),
            )
            if (folder.path / name).exists()
        ]
    if kept:
        raise RunFolderError(
            f"resume {folder.path}: expected a saved state beside "
            f"{', '.join(kept)}, came none"
        )
