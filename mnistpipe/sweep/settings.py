"""The settings of a sweep, which its folder keeps in sweep.json.

The result of a sweep depends on its `Settings` only. A sweep continues only
with the settings that it began with. The machine and the number of workers are
not among them, so they may change from one start to the next.
"""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mnistpipe.data import files
from mnistpipe.errors import UserError
from mnistpipe.recipes import Recipe, RunOptions
from mnistpipe.runs import runfolder
from mnistpipe.sweep import space
from mnistpipe.sweep.options import SweepOptions

SETTINGS = "sweep.json"
_MAX_BYTES = 1 << 24
_SPACE = "space of "


class SweepError(UserError):
    """A sweep cannot start or continue; the message is one line."""


# The options of a run that its result depends on, and that a sweep can set.
RUN_OPTIONS = (
    "data",
    "train_examples",
    "validation_size",
    "input",
    "seed",
    "jit_compile",
)
_SWEEP_OPTIONS = ("tuner", "max_trials", "objective", "seeds_per_trial")


@dataclass(frozen=True)
class Settings:
    """Everything that the result of a sweep depends on.

    Attributes:
      recipe: the documented point.
      run: the options of every trial.
      sweep: the sweep's own options.
      axes: the hyperparameters that are searched, by name.
      fingerprint: SHA-256 of the data.
    """

    recipe: Recipe
    run: RunOptions
    sweep: SweepOptions
    axes: Mapping[str, space.Axis]
    fingerprint: str

    def to_json(self) -> dict[str, Any]:
        """Returns the content of sweep.json."""
        return {
            "recipe": dataclasses.asdict(self.recipe),
            "run": {name: getattr(self.run, name) for name in RUN_OPTIONS},
            "sweep": {
                name: getattr(self.sweep, name) for name in _SWEEP_OPTIONS
            },
            "space": space.to_json(self.axes),
            "data": {"fingerprint": self.fingerprint},
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> "Settings":
        """Returns the settings that sweep.json holds.

        Raises:
          KeyError, TypeError, ValueError: a value is missing or wrong.
        """
        for name in ("recipe", "run", "sweep", "space", "data"):
            if not isinstance(kept[name], dict):
                raise ValueError(
                    f"{name}: expected names, got {kept[name]!r:.40}"
                )
        if not isinstance(kept["data"]["fingerprint"], str):
            raise ValueError("data: expected a fingerprint")
        recipe = Recipe(**kept["recipe"])
        return cls(
            recipe=recipe,
            run=trial_options(RunOptions(**kept["run"])),
            sweep=SweepOptions(**kept["sweep"]),
            axes=space.from_json(kept["space"], recipe),
            fingerprint=kept["data"]["fingerprint"],
        )


def trial_options(options: RunOptions) -> RunOptions:
    """Returns a trial's options: a trial never reads the test set."""
    kept = {name: getattr(options, name) for name in RUN_OPTIONS}
    return RunOptions(
        **kept, validation="split", evaluate_test=False, verbose=2
    )


def keep(folder: pathlib.Path, settings: Settings) -> bool:
    """Writes the settings into a new folder, or compares them.

    Returns:
      Whether the folder already held this sweep.

    Raises:
      SweepError: the folder holds something else, or the sweep with other
        settings, which the message names.
      runfolder.RunFolderError: the folder cannot be written.
    """
    if (folder / SETTINGS).exists():
        _compare(folder, settings.to_json())
        return True
    run_folder = runfolder.RunFolder(folder)
    run_folder.check()
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(settings.to_json(), indent=2) + "\n"
    with runfolder.replacing(folder / SETTINGS) as beside:
        beside.write_text(text, encoding="utf-8")
    return False


def load(folder: pathlib.Path) -> Settings:
    """Reads the settings of the sweep that a folder holds.

    Raises:
      SweepError: the folder holds no sweep, or sweep.json is damaged.
    """
    path = folder / SETTINGS
    expected = f"run_dir: expected the folder of a sweep, got {folder}, "
    if not path.is_file():
        raise SweepError(f"{expected}which has no file {SETTINGS}")
    try:
        content = files.read_object(path, "the settings of a sweep", _MAX_BYTES)
        return Settings.from_json(content)
    except KeyError as error:
        reason = f"{error} is missing"
    except (TypeError, AttributeError, ValueError) as error:
        reason = str(error)
    raise SweepError(
        f"{expected}whose {SETTINGS} is damaged ({reason}); start the sweep in"
        " a new folder"
    )


def _compare(folder: pathlib.Path, asked: Mapping[str, Any]) -> None:
    old, new = _flat(load(folder).to_json()), _flat(asked)
    changes = [
        f"{name} was {json.dumps(old.get(name))}, got"
        f" {json.dumps(new.get(name))}"
        for name in dict.fromkeys([*old, *new])
        if old.get(name) != new.get(name) and not _searched_once(name, old, new)
    ]
    if changes:
        raise SweepError(
            f"run_dir: expected a new folder, or the settings of the sweep in"
            f" {folder}: {'; '.join(changes)}"
        )


def _searched_once(name: str, *both: Mapping[str, Any]) -> bool:
    """Says whether only one of both searches the axis; `search` shows that."""
    return name.startswith(_SPACE) and not all(name in one for one in both)


def _flat(kept: Mapping[str, Any]) -> dict[str, Any]:
    """Returns each setting under the name that users know."""
    axes = kept["space"]
    return {
        **kept["recipe"],
        **kept["run"],
        **kept["sweep"],
        "search": ",".join(axes),
        **{f"{_SPACE}{name}": axis for name, axis in axes.items()},
        "data's fingerprint": kept["data"]["fingerprint"],
    }
