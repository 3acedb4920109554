"""Folders with MNIST's four IDX files, each gzipped or not.

An IDX file of unsigned bytes has a big-endian header and then the values. The
header has the magic number 0x0000080D for D dimensions and D lengths of 32
bits; the number of values is the product of the lengths. The content decides
whether a file is gzipped, since browsers unpack a download and keep its name.
If several spellings of a name exist, the first of `spellings` is taken, so a
plain file is preferred to a gzipped one.
"""

import io
import math
import os
import struct
from collections.abc import Sequence
from gzip import GzipFile
from pathlib import Path
from typing import IO, cast

import numpy as np

from mnistpipe.data.examples import (
    ARRAYS,
    MAX_BYTES,
    Stored,
    check_layout,
    data_error,
)
from mnistpipe.data.files import (
    check_inside,
    damage_as_data_error,
    names_in,
    open_regular,
    read_exactly,
)

# array: (beginning of the file's name, dimensions)
_FILES = {
    "x_train": ("train-images", 3),
    "y_train": ("train-labels", 1),
    "x_test": ("t10k-images", 3),
    "y_test": ("t10k-labels", 1),
}
_GZIP_MAGIC = b"\x1f\x8b"


def read_idx_folder(
    folder: Path, names: Sequence[str] = ARRAYS
) -> dict[str, Stored]:
    """Reads the named arrays, uint8 [N, H, W] and [N]; checks each file."""
    stored: dict[str, Stored] = {}
    room = MAX_BYTES
    for name in names:
        path = _find(folder, name)
        stored[name] = _read_file(path, name, room)
        room -= stored[name].array.nbytes
    return stored


def spellings(name: str) -> list[str]:
    """Returns the file names of an array of `ARRAYS`, best first."""
    stem, dimensions = _FILES[name]
    kind = f"idx{dimensions}-ubyte"
    return [
        f"{stem}{separator}{kind}{suffix}"
        for suffix in ("", ".gz")
        for separator in ("-", ".")
    ]


def is_idx_folder(folder: Path) -> bool:
    """Tells whether any of the four files exists."""
    return any(
        os.path.lexists(folder / spelling)
        for name in ARRAYS
        for spelling in spellings(name)
    )


def _find(folder: Path, name: str) -> Path:
    """Finds an array's file; refuses a link that leads out of the folder."""
    names = spellings(name)
    path = next(
        (folder / n for n in names if os.path.lexists(folder / n)), None
    )
    if path is None:
        raise data_error(folder, " or ".join(names), names_in(folder))
    check_inside(path, folder)
    return path


def _read_file(path: Path, name: str, room: int) -> Stored:
    where = str(path)
    with (
        open_regular(path) as raw,
        damage_as_data_error(path, "an undamaged IDX file"),
    ):
        file = io.BufferedReader(raw)
        stream: IO[bytes]
        if file.peek(2)[:2] == _GZIP_MAGIC:
            stream = cast(IO[bytes], GzipFile(fileobj=file))
            shape = _read_header(stream, where, name, room)
        else:
            stream = file
            shape = _read_header(stream, where, name, room)
            _check_length(raw, where, shape)
        values = read_exactly(stream, math.prod(shape), where)
    return Stored(where, values.reshape(shape))


def _read_header(
    stream: IO[bytes], where: str, name: str, room: int
) -> tuple[int, ...]:
    dimensions = _FILES[name][1]
    magic = 0x0800 + dimensions
    length = 4 * (1 + dimensions)
    header = stream.read(length)
    if len(header) >= 4 and header[:4] != magic.to_bytes(4, "big"):
        wanted = f"an IDX file with magic 0x{magic:08x}"
        raise data_error(where, wanted, f"magic 0x{header[:4].hex()}")
    if len(header) < length:
        wanted = f"an IDX header of {length} bytes"
        raise data_error(where, wanted, f"only {len(header)} bytes")
    _, *shape = struct.unpack(f">{1 + dimensions}I", header)
    check_layout(where, name, tuple(shape), np.dtype(np.uint8), room)
    return tuple(shape)


def _check_length(raw: io.FileIO, where: str, shape: tuple[int, ...]) -> None:
    """Compares an unpacked file's length with its header, before reading."""
    length = os.fstat(raw.fileno()).st_size
    expected = 4 * (1 + len(shape)) + math.prod(shape)
    if length != expected:
        wanted = f"{expected} bytes, as its header says {tuple(shape)}"
        raise data_error(where, wanted, f"{length} bytes")
