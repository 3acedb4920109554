"""A finished run: its folder and its record.

TensorFlow is not imported here, so a wrong folder is reported at once.
"""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

from mnistpipe.data import files
from mnistpipe.data.examples import data_error
from mnistpipe.networks import networkfile
from mnistpipe.runs import record, runfolder
from mnistpipe.runs.record import RunRecord


@dataclasses.dataclass(frozen=True)
class FinishedRun:
    """A run's folder, as the user wrote it, and its record."""

    path: str
    record: RunRecord

    @property
    def network(self) -> pathlib.Path:
        """The saved network that counts."""
        return pathlib.Path(self.path) / self.record.weights

    def facts(self) -> dict[str, Any]:
        """Returns the facts that belong beside every score of this network."""
        content = self.record.to_json()
        names = (
            *("arch", "parameters", "weights", "best_epoch", "epochs_run"),
            *("interrupted", "seed", "protocol", "selected_on_test"),
            *("train_examples", "validation_examples"),
        )
        return {
            "run": self.path,
            "stem": self.record.recipe.stem,
            **{name: content[name] for name in names},
            "trained_on": content["data"],
            "trained_with": content["versions"],
            "words": self.record.summary(),
        }


def read_record(path: str) -> RunRecord:
    """Reads the figures in a run's folder.

    Raises:
      DataError: one line: there is no folder or no metrics.json in it, or the
        file is damaged.
    """
    folder = pathlib.Path(path)
    place = folder / runfolder.METRICS
    wanted = "the folder of a finished run, with metrics.json"
    with files.damage_as_data_error(path, wanted, ValueError):  # a zero byte
        if not folder.is_dir():
            got = "a file" if folder.exists() else "no such folder"
            raise data_error(path, wanted, got)
        if not place.exists():
            raise data_error(path, wanted, files.names_in(folder))
    return record.read(place)


def read(path: str) -> FinishedRun:
    """Reads a run's folder.

    Raises:
      DataError: one line: as `read_record`, or the network is missing.
    """
    run = FinishedRun(path, read_record(path))
    if not run.network.is_file():
        wanted = f"the run's network, {run.record.weights}"
        raise data_error(path, wanted, files.names_in(pathlib.Path(path)))
    return run


def sizes(runs: Sequence[FinishedRun]) -> networkfile.Sizes:
    """Returns the input and output sizes that all the runs' networks share.

    Raises:
      DataError: the sizes differ, or a network cannot be loaded safely.
    """
    first, *others = [networkfile.read(run.network).sizes for run in runs]
    for run, got in zip(runs[1:], others, strict=True):
        if got != first:
            raise data_error(
                run.path,
                f"a network for images {first.shape} and {first.classes}"
                f" classes, as that of {runs[0].path}",
                f"one for {got.shape} and {got.classes}",
            )
    return first
