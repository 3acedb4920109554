"""A finished run, read back from its folder: who its network is, in words.

No TensorFlow here, so that a wrong folder is answered at once. A folder may
come from somebody else: metrics.json is bounded, and everything that is taken
from it has the type that the training writes; the network's file has one of
the two names that the training gives.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from mnistpipe import safejson
from mnistpipe.data import files
from mnistpipe.data.examples import DataError, data_error
from mnistpipe.errors import UserError
from mnistpipe.networks import networkfile
from mnistpipe.recipes import Recipe, RunOptions
from mnistpipe.runs import backends, runfolder

_MAX_BYTES = 1 << 26  # a history of 100,000 epochs

_TYPES: dict[str, type | tuple[type, ...]] = {
    "arch": str,
    "parameters": int,
    "protocol": str,
    "selected_on_test": bool,
    "seed": int,
    "train_examples": int,
    "validation_examples": int,
    "weights": str,
    "best_epoch": (int, type(None)),
    "epochs_run": int,
    "interrupted": bool,
    "data": dict,
    "versions": dict,
    "recipe": dict,
    "options": dict,
}


@dataclasses.dataclass(frozen=True)
class FinishedRun:
    """What is known of a finished run.

    Attributes:
      path: the folder, as the user wrote it.
      metrics: what metrics.json holds; of `_TYPES` at least.
      recipe: what was trained.
      options: how.
    """

    path: str
    metrics: Mapping[str, Any]
    recipe: Recipe
    options: RunOptions

    @property
    def network(self) -> pathlib.Path:
        """The saved network that counts."""
        return pathlib.Path(self.path) / self.metrics["weights"]

    @property
    def data(self) -> str:
        """What `--data` was; empty for the embedded MNIST."""
        return self.options.data

    def own_test(self, fingerprint: str) -> bool | None:
        """Whether this is the test set of the data that it trained on.

        None is that the run does not say.
        """
        own = self.metrics["data"].get("test_fingerprint")
        return None if own is None else own == fingerprint

    def selected_on(self, fingerprint: str) -> bool:
        """Whether this test set chose, or may have, epoch or learning rate."""
        own = self.own_test(fingerprint) is not False
        return self.metrics["selected_on_test"] and own

    def origin(self) -> dict[str, Any]:
        """What belongs beside every number that the network makes."""
        metrics = self.metrics
        return {
            "run": self.path,
            "arch": metrics["arch"],
            "stem": self.recipe.stem,
            "parameters": metrics["parameters"],
            "weights": metrics["weights"],
            "best_epoch": metrics["best_epoch"],
            "epochs_run": metrics["epochs_run"],
            "interrupted": metrics["interrupted"],
            "seed": metrics["seed"],
            "protocol": metrics["protocol"],
            "selected_on_test": metrics["selected_on_test"],
            "train_examples": metrics["train_examples"],
            "validation_examples": metrics["validation_examples"],
            "trained_on": metrics["data"],
            "trained_with": metrics["versions"],
        }

    def words(self) -> str:
        """The same for people, in a line."""
        metrics = self.metrics
        weights = "last weights"
        if metrics["weights"] == runfolder.BEST:
            weights = "best epoch"
            if metrics["best_epoch"] is not None:
                weights += f", {metrics['best_epoch'] + 1}"
        if metrics["interrupted"]:
            weights += ", interrupted"
        epochs = metrics["epochs_run"]
        return (
            f"{metrics['arch']}, seed {metrics['seed']}, protocol "
            f"{metrics['protocol']} ({self._held_out()}), "
            f"{epochs} epoch{'s' * (epochs != 1)} of "
            f"{metrics['train_examples']:,} images of "
            f"{metrics['data'].get('name')} ({weights}), "
            f"{backends.words(metrics['versions'])}"
        )

    def _held_out(self) -> str:
        if self.metrics["selected_on_test"]:
            return "the test images as validation images"
        count = self.metrics["validation_examples"]
        return (
            f"{count:,} training images held out" if count else "none held out"
        )


def read(path: str) -> FinishedRun:
    """Reads a run's folder.

    Raises:
      UserError: one line: no folder, no finished run, a damaged file.
    """
    folder = pathlib.Path(path)
    place = folder / runfolder.METRICS
    wanted = "the folder of a finished run, with metrics.json"
    with files.damage_as_data_error(path, wanted, ValueError):  # a zero byte
        if not folder.is_dir():
            came = "a file" if folder.exists() else "no such folder"
            raise data_error(path, wanted, came)
        if not place.exists():
            raise data_error(path, wanted, files.names_in(folder))
    metrics = _parsed(place)
    run = FinishedRun(path, metrics, *_settings(place, metrics))
    if not run.network.is_file():
        wanted = f"the run's network, {metrics['weights']}"
        raise data_error(path, wanted, files.names_in(folder))
    return run


def sizes(runs: Sequence[FinishedRun]) -> networkfile.Sizes:
    """What the runs' networks take and give, which all must share.

    Raises:
      UserError: they do not, or a network cannot be loaded safely.
    """
    first, *others = [networkfile.inspect(run.network) for run in runs]
    for run, came in zip(runs[1:], others, strict=True):
        if came != first:
            raise data_error(
                run.path,
                f"a network for images {first.shape} and {first.classes}"
                f" classes, as that of {runs[0].path}",
                f"one for {came.shape} and {came.classes}",
            )
    return first


def _parsed(place: pathlib.Path) -> dict[str, Any]:
    wanted = "the figures of a run, as JSON"
    with files.open_regular(place) as file:
        content = file.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise data_error(place, f"at most {_MAX_BYTES} bytes", "more")
    try:
        metrics = safejson.loads(content)
        _check_words(place, metrics)
    except DataError:
        raise
    except ValueError as error:
        came = f"{type(error).__name__} {error}"
        raise data_error(place, wanted, came[:200]) from None
    if not isinstance(metrics, dict):
        raise data_error(place, wanted, f"a {type(metrics).__name__}")
    for name, kind in _TYPES.items():
        value = metrics.get(name)
        # True is an int, but no seed.
        odd = isinstance(value, bool) and kind is not bool
        if name not in metrics or odd or not isinstance(value, kind):
            came = repr(value)[:80] if name in metrics else "none"
            raise data_error(place, f"{name} as a run writes it", came)
    return metrics


def _check_words(place: pathlib.Path, value: Any) -> None:
    """Refuses text that would reach the terminal as something else."""
    if isinstance(value, str) and not value.isprintable():
        raise data_error(place, "printable text", repr(value)[:80])
    if isinstance(value, dict):
        for key, item in value.items():
            _check_words(place, key)
            _check_words(place, item)
    if isinstance(value, list):
        for item in value:
            _check_words(place, item)


def _settings(
    place: pathlib.Path, metrics: Mapping[str, Any]
) -> tuple[Recipe, RunOptions]:
    names = (runfolder.BEST, runfolder.LAST)
    if metrics["weights"] not in names:
        came = repr(metrics["weights"])[:80]
        raise data_error(place, f"weights {' or '.join(names)}", came)
    wanted = "a recipe and options that this version of mnistpipe knows"
    try:
        recipe = Recipe(**metrics["recipe"])
        options = RunOptions(**metrics["options"])
    except (TypeError, UserError) as error:
        raise data_error(place, wanted, str(error)[:300]) from None
    told = (metrics["arch"], metrics["protocol"], metrics["selected_on_test"])
    kept = (recipe.arch, options.validation, options.validation == "test")
    if told != kept:
        raise data_error(place, f"{kept}, as in its recipe", f"{told}")
    return recipe, options
