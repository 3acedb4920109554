"""Opening files and reading them within bounds.

What lies at a path may be a pipe that never ends or a few bytes that
decompress to terabytes, so: regular files only, and never a byte more than
the caller asked for.
"""

import io
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO

import numpy as np

from mnistpipe.data.examples import DataError, data_error

# Decompressors hand out a whole request at once; a piece at a time keeps a
# second copy of a big array out of memory.
_PIECE = 1 << 20
_NAMES_SHOWN = 8

# What reading a damaged or vanished file raises, gzipped or not. Kept narrow:
# a ValueError from this project's own code is a bug, and stays loud.
_DAMAGE = (OSError, EOFError, zlib.error)


@contextmanager
def damage_as_data_error(
    where: object, expected: str, *more: type[Exception]
) -> Iterator[None]:
    """Turns what a library says about damaged bytes into a DataError.

    Args:
        where: the file, for the message.
        expected: what it should have been, for the message.
        *more: what the library raises beside the errors of plain reading.
    """
    damage: tuple[type[Exception], ...] = (*_DAMAGE, *more)
    try:
        yield
    except damage as error:
        if isinstance(error, DataError):
            raise
        said = getattr(error, "strerror", None) or str(error)
        came = said or type(error).__name__
        raise data_error(where, expected, came) from error


def open_regular(path: Path) -> io.FileIO:
    """Opens a regular file for unbuffered reading, and nothing else."""
    with damage_as_data_error(path, "a readable file"):
        # Before opening: that alone would wait forever on a named pipe.
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "a special file"
            raise data_error(path, "a regular file", kind)
        return io.FileIO(path)


def check_inside(path: Path, folder: Path) -> None:
    """Refuses a link that leads out of the folder, or nowhere."""
    # strict: a link to nowhere, or in a circle, is an error like any other.
    # Python 3.10 to 3.12 call the circle a RuntimeError.
    with damage_as_data_error(path, "a readable file", RuntimeError):
        target = path.resolve(strict=True)
        home = folder.resolve(strict=True)
    if not target.is_relative_to(home):
        raise data_error(path, f"a file inside {folder}", f"a link to {target}")


def read_exactly(stream: IO[bytes], count: int, where: str) -> np.ndarray:
    """Reads uint8 [count] to the end of a stream, which must be right there.

    Asking for one byte more also makes zipfile and gzip check their CRC.
    """
    buffer = np.empty(count, np.uint8)
    view = buffer.data
    done = 0
    while done < count:
        piece = stream.read(min(_PIECE, count - done))
        if not piece:
            raise data_error(where, f"{count} bytes of data", f"only {done}")
        view[done : done + len(piece)] = piece
        done += len(piece)
    if stream.read(1):
        raise data_error(where, f"{count} bytes of data", "more than that")
    return buffer


def names_in(folder: Path) -> str:
    """Lists a few names of a folder, for an error message."""
    with (
        damage_as_data_error(folder, "a readable folder"),
        os.scandir(folder) as entries,
    ):
        names = [entry.name for entry in islice(entries, 1000)]
    return shorten(sorted(names))


def shorten(names: list[str]) -> str:
    """Writes a list of names so that no list can flood a message."""
    shown = [name if len(name) <= 60 else name[:57] + "..." for name in names]
    text = ", ".join(shown[:_NAMES_SHOWN]) or "nothing"
    more = len(names) - _NAMES_SHOWN
    return f"{text} and {more} more" if more > 0 else text
