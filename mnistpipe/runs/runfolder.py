"""The folder that a run leaves behind.

    flags.cfg      the effective flagfile: `--flagfile=…/flags.cfg` repeats it
    history.csv    one row per epoch, no times
    tensorboard/   the same, as scalars
    best.keras     the network at its best epoch (if the run validated)
    last.keras     the network as the last step left it
    metrics.json   what came out, with everything that produced it
    state/         what `--resume` continues from (see checkpoint.py)

A folder belongs to one run: it is refused if it holds anything, and claimed
by creating `flags.cfg`, which only one of two processes can do. A training
holds a lock on it, so that a run which is still going cannot be resumed.
"""

import contextlib
import dataclasses
import datetime
import fcntl
import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any

from mnistpipe.errors import UserError

FLAGS = "flags.cfg"
HISTORY = "history.csv"
TENSORBOARD = "tensorboard"
BEST = "best.keras"
LAST = "last.keras"
METRICS = "metrics.json"
STATE = "state"


class RunFolderError(UserError):
    """A run folder that cannot be used; the message is one line."""


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """Paths and safe writing within one run's folder."""

    path: pathlib.Path

    def check(self) -> None:
        """Refuses a used or unwritable folder, and touches nothing."""
        with self.errors():
            if self.path.is_dir() and any(self.path.iterdir()):
                raise RunFolderError(self._used())
            existing = next(
                p
                for p in (self.path, *self.path.absolute().parents)
                if p.exists()
            )
            if not existing.is_dir():
                raise NotADirectoryError(f"{existing} is not a folder")
            if not os.access(existing, os.W_OK | os.X_OK):
                raise PermissionError(f"{existing} is not writable")

    def create(self, flagfile: str) -> None:
        """Makes the folder and claims it with its flagfile."""
        self.check()
        with self.errors():
            self.path.mkdir(parents=True, exist_ok=True)
            try:
                with open(self.path / FLAGS, "x", encoding="utf-8") as file:
                    file.write(flagfile)
            except FileExistsError:
                raise RunFolderError(self._used()) from None

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes from training in this folder.

        The system gives the lock back however the process ends.
        """
        with self.errors():
            descriptor = os.open(self.path, os.O_RDONLY)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RunFolderError(
                    f"run folder {self.path}: expected a run that has ended, "
                    "found one that is still going"
                ) from None
            except OSError:
                pass  # a file system without locks
            yield
        finally:
            os.close(descriptor)

    def check_folders(self) -> None:
        """Refuses a run whose sub-folders are files or links.

        A link would make a resumed run write elsewhere.
        """
        for name in (STATE, TENSORBOARD):
            path = self.path / name
            if path.is_symlink() or (path.exists() and not path.is_dir()):
                got = "a link" if path.is_symlink() else "a file"
                raise RunFolderError(
                    f"run folder {self.path}: expected {name} to be a folder, "
                    f"got {got}"
                )

    def write(self, name: str, text: str) -> None:
        """Writes a text file, whole or not at all."""
        with self.errors(), replacing(self.path / name) as beside:
            # As it is: csv ends its lines with \r\n.
            beside.write_text(text, encoding="utf-8", newline="")

    def read(self, name: str) -> str:
        """The text of a file, or none if it is not there."""
        with self.errors():
            try:
                return (self.path / name).read_bytes().decode("utf-8")
            except FileNotFoundError:
                return ""

    def remove(self, name: str) -> None:
        """Removes a file that may not be there."""
        with self.errors():
            (self.path / name).unlink(missing_ok=True)

    def save_network(self, network: Any, name: str) -> None:
        """Saves a Keras model as `name`, whole or not at all."""
        with self.errors(), replacing(self.path / name) as beside:
            network.save(beside)

    def write_json(self, name: str, content: Any) -> None:
        """Writes JSON, which must be finite, whole or not at all."""
        text = json.dumps(content, indent=2, allow_nan=False) + "\n"
        self.write(name, text)

    def _used(self) -> str:
        return (
            f"run folder {self.path}: expected a new or an empty folder, "
            "found one that already holds files"
        )

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Turns what the system refuses into one line."""
        try:
            yield
        except OSError as error:
            raise RunFolderError(
                f"run folder {self.path}: expected a folder that can be "
                f"written: {error}"
            ) from error


def of(run_dir: str, arch: str) -> RunFolder:
    """The folder that was asked for, or by default runs/<arch>-<time>."""
    # To the millisecond: several runs are started by one line of shell.
    now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S-%f")[:-3]
    return RunFolder(pathlib.Path(run_dir or f"runs/{arch}-{now}"))


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a file to write beside `path`, then puts it in its place.

    Keras writes in place; a run killed meanwhile would leave half a network
    where a whole one was. The file is synced before it is renamed, and the
    folder after, so that a power cut leaves the old one or the new one.
    """
    beside = path.with_name(f".new-{path.name}")
    # A link of that name would lead the writer to another file.
    beside.unlink(missing_ok=True)
    try:
        yield beside
        _sync(beside)
        os.replace(beside, path)
        _sync(path.parent)
    finally:
        beside.unlink(missing_ok=True)


def _sync(path: pathlib.Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
