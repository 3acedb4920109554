"""Resuming a run: what the run was begun with, and what may differ now.

A resumed run ends with the bits of a run that was never interrupted. So
everything that decides these bits must be the same as before: the recipe, the
data, the options, and the versions of mnistpipe, TensorFlow, Keras and its
backend. These may differ: more epochs (unless the schedule depends on their
number), `--save_every`, `--verbose`, and the path of the data, because the
data are recognised by their fingerprint. Other hardware, Python and NumPy are
reported and not refused. Under JAX the number of devices may differ, too: then
the results agree up to rounding, and a line says so.
"""

import dataclasses
import hashlib
import pathlib
import sys
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
from mnistpipe.runs.record import Machine, RunRecord
from mnistpipe.runs.runfolder import RunFolder, RunFolderError
from mnistpipe.training import checkpoint

_FREE = {"save_every", "verbose", "data", "run_dir", "resume"}
_DECIDING = ("mnistpipe", "tensorflow", "keras", *("backend", "jax", "torch"))


def settings(
    folder: RunFolder, given: Mapping[str, Any]
) -> tuple[Recipe, RunOptions]:
    """Returns a run's recipe and options, with the permitted changes.

    Args:
      folder: the run's folder, reopened.
      given: the flags of the command line, by name.

    Raises:
      RunFolderError: flags.cfg is damaged, or a flag differs from the run's.
    """
    path = str(folder.path)
    flagfile = folder.path / runfolder.FLAGS
    try:
        recipe, options = flagfiles.read(str(flagfile), whole=True)
    except UserError as error:
        raise RunFolderError(
            f"resume: expected the {runfolder.FLAGS} that the run wrote, got a"
            f" damaged {flagfile}: {error}"
        ) from None
    given = dict(given)
    for name in ("resume", "run_dir"):
        if pathlib.Path(given.pop(name, path)) != folder.path:
            raise RunFolderError(
                f"{name}: expected none beside --resume={path}, which names "
                "the folder"
            )
    run = {**dataclasses.asdict(recipe), **dataclasses.asdict(options)}
    _refuse(path, _differences(run, given))
    changes = {**given, "resume": path, "run_dir": path}
    fields = {f.name for f in dataclasses.fields(Recipe)}
    return (
        recipe.replace(**{n: changes[n] for n in changes.keys() & fields}),
        options.replace(**{n: changes[n] for n in changes.keys() - fields}),
    )


def deciding(recipe: Recipe, options: RunOptions) -> str:
    """Returns the fields that decide the result, as a digest in hex."""
    fields = {**dataclasses.asdict(recipe), **dataclasses.asdict(options)}
    kept = {n: v for n, v in fields.items() if n not in _FREE}
    return hashlib.sha256(repr(sorted(kept.items())).encode()).hexdigest()


def finished(folder: RunFolder, recipe: Recipe) -> RunRecord | None:
    """Returns the run's record if nothing is left to do.

    A metrics.json that is missing or damaged counts as unfinished, because the
    resumed run writes the file again.
    """
    try:
        done = record.read(folder.path / runfolder.METRICS)
    except data.DataError:
        return None
    return done if done.finished(recipe.epochs) else None


def load(
    folder: RunFolder,
    recipe: Recipe,
    options: RunOptions,
    digits: data.Digits,
    machine: Machine,
) -> checkpoint.State | None:
    """Returns the state from which a run continues.

    None is returned for a run that was killed before its first state. What
    the user should know is printed to standard error.

    Raises:
      RunFolderError: there is no undamaged state, or the run differs.
    """
    with folder.errors():
        state, damaged = checkpoint.newest(folder.path)
    if state is None:
        _refuse_without_state(folder, damaged)
        notes = ["the run was killed before its first state; it starts anew"]
    else:
        _check_facts(folder, state, recipe, options, digits)
        notes = [
            f"{line}; going on from the one before, of step {state.step}"
            for line in damaged
        ]
        notes += _inexact(_check_machine(folder, state, machine))
    notes += _inexact(_forgetful(recipe, machine))
    for note in notes:
        print(f"{folder.path}: {note}", file=sys.stderr)
    return state


def _check_facts(
    folder: RunFolder,
    state: checkpoint.State,
    recipe: Recipe,
    options: RunOptions,
    digits: data.Digits,
) -> None:
    """Raises RunFolderError if settings or data are not those of the state."""
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


def _check_machine(
    folder: RunFolder, state: checkpoint.State, machine: Machine
) -> list[str]:
    """Returns the differences that are not refused, as text.

    Raises:
      RunFolderError: other versions cannot give the same bits. Neither can
        another number of devices, which TensorFlow's strategies do not
        survive. JAX' program is the same but for the order of its sums.
    """
    facts = state.facts
    notes = []
    if machine.devices != facts.devices:
        if machine.versions["backend"] != "jax":
            raise RunFolderError(
                f"resume {folder.path}: expected the {facts.devices} devices "
                f"with which the run was begun, got {machine.devices}"
            )
        notes.append(
            f"{machine.devices} devices (the run has {facts.devices}), which "
            "agree up to rounding"
        )
    different = {
        # Runs from before other backends were possible name no backend.
        **_changed(
            {"backend": "tensorflow", **facts.versions}, machine.versions
        ),
        **_changed(vars(facts.hardware), vars(machine.hardware)),
    }
    deciding = [different.pop(name) for name in _DECIDING if name in different]
    _refuse(str(folder.path), deciding)
    notes += different.values()
    return [", ".join(notes)] if notes else []


def _forgetful(recipe: Recipe, machine: Machine) -> list[str]:
    """Returns what cannot be saved, and so differs in a resumed run."""
    causes = []
    if recipe.optimizer == "nadam" and machine.versions["keras"][0] == "2":
        causes.append("Keras 2's nadam, which counts steps in no variable")
    if machine.versions["backend"] == "torch":
        causes.append(
            "PyTorch, whose dropout draws from a generator that no state holds"
        )
    return causes


def _inexact(causes: Iterable[str]) -> list[str]:
    return [f"the same bits are not promised with {cause}" for cause in causes]


def _changed(
    before: Mapping[str, Any], now: Mapping[str, Any]
) -> dict[str, str]:
    return {
        name: f"{name} {value} (the run has {before.get(name)})"
        for name, value in now.items()
        if value != before.get(name)
    }


def _differences(run: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Describes the values of `now` that differ from the run's."""
    differences = []
    for name, value in now.items():
        if name in _FREE or value == run.get(name):
            continue
        text = f"{name}={value} (the run has {run.get(name)}"
        if name != "epochs":
            differences.append(f"{text})")
        elif run["schedule"] in SCHEDULES_BY_STEP:
            differences.append(f"{text}, on which {run['schedule']} depends)")
        elif value < run[name]:
            differences.append(f"{text}, which can only be raised)")
    return differences


def _refuse(path: str, differences: Iterable[str]) -> None:
    text = ", ".join(differences)
    if text:
        raise RunFolderError(
            f"resume {path}: expected the values of the run's beginning, got "
            f"{text}"
        )


def _refuse_without_state(folder: RunFolder, damaged: list[str]) -> None:
    """Raises RunFolderError if starting anew would destroy results."""
    if damaged:
        raise RunFolderError(
            f"resume {folder.path}: expected a whole state, got none: "
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
            f"{', '.join(kept)}, got none"
        )
