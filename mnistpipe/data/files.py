"""Opening files and reading them within bounds.

A path can lead to a pipe that never ends, or to a few bytes that decompress to
terabytes. Therefore only regular files are opened, and no more bytes are read
than the caller asks for.
"""

import io
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np

from mnistpipe import safejson
from mnistpipe.data.examples import DataError, data_error

# A decompressor returns a whole request at once. Reading in pieces avoids a
# second copy of a large array in memory.
_PIECE = 1 << 20
_NAMES_SHOWN = 8

# The errors of reading a damaged or missing file, gzipped or not. ValueError is
# not among them: from this project's own code it is a bug and must be seen.
_DAMAGE = (OSError, EOFError, zlib.error)


@contextmanager
def damage_as_data_error(
    where: object, expected: str, *more: type[Exception]
) -> Iterator[None]:
    """Turns a library's errors about damaged bytes into a DataError.

    Args:
        where: the file, for the message.
        expected: what the file should be, for the message.
        *more: the library's errors, besides those of plain reading.
    """
    damage: tuple[type[Exception], ...] = (*_DAMAGE, *more)
    try:
        yield
    except damage as error:
        if isinstance(error, DataError):
            raise
        said = getattr(error, "strerror", None) or str(error)
        got = said or type(error).__name__
        raise data_error(where, expected, got) from error


def open_regular(path: Path) -> io.FileIO:
    """Opens a regular file for unbuffered reading, and refuses others."""
    with damage_as_data_error(path, "a readable file"):
        # Checked before opening, since opening a named pipe would wait forever.
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "a special file"
            raise data_error(path, "a regular file", kind)
        return io.FileIO(path)


def read_object(path: Path, expected: str, most: int) -> dict[str, Any]:
    """Reads a JSON object.

    Args:
        path: a regular file.
        expected: what the file should hold, for the message.
        most: the largest number of bytes.

    Raises:
        DataError: one line: the file cannot be read, or holds something else.
    """
    with open_regular(path) as file, damage_as_data_error(path, expected):
        content = file.read(most + 1)
    if len(content) > most:
        raise data_error(path, f"at most {most} bytes", "more")
    try:
        parsed = safejson.loads(content)
    except ValueError as error:
        got = f"{type(error).__name__} {error}"
        raise data_error(path, f"{expected}, as JSON", got[:200]) from None
    if not isinstance(parsed, dict):
        got = f"a {type(parsed).__name__}"
        raise data_error(path, f"{expected}, as JSON", got)
    return parsed


def check_inside(path: Path, folder: Path) -> None:
    """Refuses a link that leads out of the folder, or to nothing."""
    # With strict, a link to nothing and a circle of links are errors. Python
    # 3.10 to 3.12 raise RuntimeError for the circle.
    with damage_as_data_error(path, "a readable file", RuntimeError):
        target = path.resolve(strict=True)
        home = folder.resolve(strict=True)
    if not target.is_relative_to(home):
        raise data_error(path, f"a file inside {folder}", f"a link to {target}")


def read_exactly(stream: IO[bytes], count: int, where: str) -> np.ndarray:
    """Reads uint8 [count], and checks that the stream ends there.

    To ask for one byte more makes zipfile and gzip check their CRC too.
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
    """Returns a list of names as text, cut to the length of a message."""
    shown = [name if len(name) <= 60 else name[:57] + "..." for name in names]
    text = ", ".join(shown[:_NAMES_SHOWN]) or "nothing"
    more = len(names) - _NAMES_SHOWN
    return f"{text} and {more} more" if more > 0 else text
