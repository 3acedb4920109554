"""One `.npz` in Keras' layout: x_train, y_train, x_test, y_test, or a part.

The zip directory and each array's header are read first, by the readers of the
standard library and of NumPy. Their sizes must agree with each other to the
byte and lie within the limits before anything is decompressed. Nothing is
unpickled. Other members are ignored.
"""

import io
import math
import struct
import warnings
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from mnistpipe.data.examples import (
    ARRAYS,
    MAX_BYTES,
    DataError,
    Stored,
    check_layout,
    data_error,
)
from mnistpipe.data.files import (
    damage_as_data_error,
    open_regular,
    read_exactly,
    shorten,
)

# A directory of four members has 300 bytes. zipfile reads a directory at once
# and makes an object of each entry, which takes about ten times the bytes.
_DIRECTORY_BYTES = 1 << 22
# NumPy refuses headers of more than 10,000 characters only after reading them.
_HEADER_BYTES = 1 << 14
_END_OF_DIRECTORY = b"PK\x05\x06"
_END_LENGTH = 22
_ENCRYPTED = 0x1
# The errors of zipfile about damage in the directory, and in a member.
_DIRECTORY_ERRORS = (
    zipfile.BadZipFile,
    NotImplementedError,
    ValueError,
    OverflowError,
    struct.error,
)
_MEMBER_ERRORS = (
    zipfile.BadZipFile,
    NotImplementedError,
    UnicodeDecodeError,
    OverflowError,
    struct.error,
)
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class _ShortReads(io.BufferedReader):
    """A file that returns only short pieces."""

    def read(self, size: int | None = -1, /) -> bytes:
        most = _DIRECTORY_BYTES + 1
        asked = most if size is None or size < 0 else min(size, most)
        data = super().read(asked)
        if len(data) == most:
            expected = f"a zip directory of at most {_DIRECTORY_BYTES} bytes"
            raise data_error(self.name, expected, "a larger one")
        return data


def read_npz(path: Path, names: Sequence[str] = ARRAYS) -> dict[str, Stored]:
    """Reads the named arrays as they are stored, and checks the limits."""
    stored: dict[str, Stored] = {}
    room = MAX_BYTES
    with open_regular(path) as raw, _ShortReads(raw) as file:
        expected = "an undamaged .npz (zip) file"
        with damage_as_data_error(path, expected, *_DIRECTORY_ERRORS):
            archive = zipfile.ZipFile(file)
        members = _members(archive, path, names)
        _check_end(file, path)
        for name in names:
            member = members[f"{name}.npy"]
            stored[name] = _read_member(archive, member, path, name, room)
            room -= stored[name].array.nbytes
    return stored


def _members(
    archive: zipfile.ZipFile, path: Path, names: Sequence[str]
) -> dict[str, zipfile.ZipInfo]:
    members = {info.filename: info for info in archive.infolist()}
    times = Counter(archive.namelist())
    twice = [name for name, count in times.items() if count > 1]
    if twice:
        raise data_error(path, "each member once", f"twice {shorten(twice)}")
    missing = [name for name in names if f"{name}.npy" not in members]
    if missing:
        expected = f"arrays {', '.join(names)}"
        there = shorten([name.removesuffix(".npy") for name in members])
        raise data_error(path, expected, there)
    return members


def _check_end(file: io.BufferedReader, path: Path) -> None:
    """Refuses bytes after the directory, which zipfile ignores."""
    file.seek(-_END_LENGTH, io.SEEK_END)
    if file.read(4) != _END_OF_DIRECTORY:
        expected = "a zip file that ends with its directory"
        raise data_error(path, expected, "other bytes after it")


def _read_member(
    archive: zipfile.ZipFile,
    member: zipfile.ZipInfo,
    path: Path,
    name: str,
    room: int,
) -> Stored:
    where = f"{path}, {name}"
    if member.flag_bits & _ENCRYPTED or member.compress_type not in _METHODS:
        expected = "a stored or deflated member, not encrypted"
        got = f"method {member.compress_type}, flags {member.flag_bits:#x}"
        raise data_error(where, expected, got)
    expected = "an undamaged zip member"
    with damage_as_data_error(where, expected, *_MEMBER_ERRORS):
        with archive.open(member) as stream:
            shape, fortran, dtype, start = _read_header(stream, where)
        check_layout(where, name, shape, dtype, room)
        count = math.prod(shape) * dtype.itemsize
        if member.file_size != start + count:
            expected = f"{start + count} bytes for {shape} {dtype}"
            raise data_error(where, expected, f"{member.file_size} bytes")
        # The member is opened again: after a rewind, zipfile checks no CRC.
        with archive.open(member) as stream:
            stream.read(start)
            values = read_exactly(stream, count, where)
    array = values.view(dtype)
    if fortran:
        return Stored(where, array.reshape(shape[::-1]).T)
    return Stored(where, array.reshape(shape))


def _read_header(
    stream: IO[bytes], where: str
) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Reads shape, Fortran order, dtype, and the position of the data."""
    head = io.BytesIO(stream.read(_HEADER_BYTES))
    readers = {
        (1, 0): npy.read_array_header_1_0,
        (2, 0): npy.read_array_header_2_0,
    }
    expected = "an array in numpy's format 1.0 or 2.0"
    # NumPy gives the text to ast.literal_eval and np.dtype, which for hostile
    # text can raise any error (RecursionError, MemoryError, TokenError).
    try:
        version = npy.read_magic(head)
        if version not in readers:
            raise data_error(where, expected, f"version {version}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            shape, fortran, dtype = readers[version](head)
    except DataError:
        raise
    except Exception as error:
        got = f"a header with {type(error).__name__} {str(error)[:100]}"
        raise data_error(where, expected, got) from error
    return shape, fortran, dtype, head.tell()
