"""The folder that a run leaves behind.

    flags.cfg      the effective flagfile: `--flagfile=…/flags.cfg` repeats it
    history.csv    one row per epoch, no times
    tensorboard/   the same figures as scalars
    best.keras     the network of the best epoch (if the run validated)
    last.keras     the network after the last step
    metrics.json   the results, with everything that produced them
    state/         what `--resume` continues from (see checkpoint.py)

A program that trains claims its folder once, with `claim` or `reopen`, before
all other work. Both hold a lock on the folder, so no other process can train
in the folder at the same time.
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

    @classmethod
    @contextlib.contextmanager
    def claim(cls, path: str | os.PathLike[str]) -> Iterator["RunFolder"]:
        """Makes and locks the folder of a new run.

        A folder that is still empty at the end is removed, if this call made
        the folder.

        Raises:
          RunFolderError: the folder holds files, cannot be written, or
            another process has claimed the folder.
        """
        folder = cls(pathlib.Path(path))
        folder.check()
        with folder.errors():
            parents = [folder.path, *folder.path.parents]
            made = [parent for parent in parents if not parent.exists()]
            folder.path.mkdir(parents=True, exist_ok=True)
        try:
            with folder.locked():
                # Another process may have used the folder meanwhile.
                folder.check()
                yield folder
        finally:
            with contextlib.suppress(OSError):  # not empty
                for parent in made:
                    parent.rmdir()

    @classmethod
    @contextlib.contextmanager
    def reopen(cls, path: str | os.PathLike[str]) -> Iterator["RunFolder"]:
        """Locks the folder of a run that is resumed.

        Raises:
          RunFolderError: the folder holds no run, or the run is still going.
        """
        folder = cls(pathlib.Path(path))
        with folder.errors():
            if not (folder.path / FLAGS).is_file():
                raise RunFolderError(
                    f"resume: expected the folder of a run, got {path}, which "
                    f"has no {FLAGS}"
                )
        with folder.locked():
            folder._check_folders()
            yield folder

    def check(self) -> None:
        """Refuses a used or unwritable folder, and touches nothing."""
        with self.errors():
            if self.path.is_dir() and any(self.path.iterdir()):
                raise RunFolderError(
                    f"run folder {self.path}: expected a new or an empty "
                    "folder, got one that already holds files"
                )
            existing = next(
                p
                for p in (self.path, *self.path.absolute().parents)
                if p.exists()
            )
            if not existing.is_dir():
                raise NotADirectoryError(f"{existing} is not a folder")
            if not os.access(existing, os.W_OK | os.X_OK):
                raise PermissionError(f"{existing} is not writable")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes from training in this folder.

        The system releases the lock when the process ends, however it ends.
        """
        with self.errors():
            descriptor = os.open(self.path, os.O_RDONLY)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RunFolderError(
                    f"run folder {self.path}: expected a run that has ended, "
                    "got one that is still going"
                ) from None
            except OSError:
                pass  # The file system has no locks.
            yield
        finally:
            os.close(descriptor)

    def _check_folders(self) -> None:
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
            # Line ends stay as they are, because csv uses \r\n.
            beside.write_text(text, encoding="utf-8", newline="")

    def read(self, name: str) -> str:
        """Returns the text of a file, or "" if the file is missing."""
        with self.errors():
            try:
                return (self.path / name).read_bytes().decode("utf-8")
            except FileNotFoundError:
                return ""

    def remove(self, name: str) -> None:
        """Removes a file, which may be missing."""
        with self.errors():
            (self.path / name).unlink(missing_ok=True)

    def save_network(self, network: Any, name: str) -> None:
        """Saves a Keras model as `name`, whole or not at all."""
        with self.errors(), replacing(self.path / name) as beside:
            network.save(beside)

    def write_json(self, name: str, content: Any) -> None:
        """Writes finite JSON, whole or not at all."""
        text = json.dumps(content, indent=2, allow_nan=False) + "\n"
        self.write(name, text)

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Turns an OSError into one line that names the folder."""
        try:
            yield
        except OSError as error:
            raise RunFolderError(
                f"run folder {self.path}: expected a folder that can be "
                f"written: {error}"
            ) from error


def default(arch: str) -> pathlib.Path:
    """Returns runs/<arch>-<time> for a run whose folder nobody named."""
    # A line of shell can start several runs within a second.
    now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S-%f")[:-3]
    return pathlib.Path(f"runs/{arch}-{now}")


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a file to write beside `path`, then puts the file at `path`.

    Keras writes in place, so a run that is killed meanwhile would leave half
    a network where a whole one was. The file is synced before the renaming,
    and the folder after the renaming, so a power cut leaves the old file or
    the new file.
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
