"""The states of a training on disk: written atomically, checked when read.

    state/step-000000240-9f86d081884c7d65.npz      the newest state
    state/step-000000120-60303ae22b998861.npz      the state before

The name holds the step and the first 16 hex digits of the file's SHA-256. A
file is written under another name, synced and renamed, and then the oldest
file is removed, so a whole state exists at any moment. A state is a plain .npz
of numeric arrays and one JSON document as bytes, so reading runs no code.
"""

import dataclasses
import hashlib
import io
import json
import pathlib
import re
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from mnistpipe import safejson
from mnistpipe.data import files
from mnistpipe.runs import runfolder
from mnistpipe.training.facts import StateFacts

FOLDER = runfolder.STATE
KEEP = 2  # the newest, and one more in case the newest is damaged
_MAX_BYTES = 1 << 32  # The widest network with all moments has 0.7 GB.
_FACTS = "facts"
_NAME = re.compile(r"step-(\d{9,})-([0-9a-f]{16})\.npz")


@dataclasses.dataclass(frozen=True)
class State:
    """A training after a number of steps.

    Attributes:
      step: the number of steps, counted over all epochs.
      facts: what the run was begun with, and the memory of the training.
      arrays: numeric arrays by name.
    """

    step: int
    facts: StateFacts
    arrays: Mapping[str, np.ndarray]


class DamagedError(ValueError):
    """A state's file differs from what was written; says briefly how."""


def write(run: pathlib.Path, state: State) -> None:
    """Saves a state in a run's folder, then removes the oldest states.

    Raises:
      OSError: the state cannot be written; the earlier states are unchanged.
    """
    folder = run / FOLDER
    folder.mkdir(exist_ok=True)
    facts = json.dumps({"step": state.step, **state.facts.to_json()}).encode()
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {
        _FACTS: np.frombuffer(facts, np.uint8),
        **state.arrays,
    }
    np.savez(buffer, **arrays)
    content = buffer.getbuffer()
    name = f"step-{state.step:09}-{_digest(content)}.npz"
    with runfolder.replacing(folder / name) as beside:
        beside.write_bytes(content)
    for path in _paths(run)[KEEP:]:
        path.unlink()


def newest(run: pathlib.Path) -> tuple[State | None, list[str]]:
    """Returns the newest whole state, and the damage of newer states."""
    damaged: list[str] = []
    for path in _paths(run):
        try:
            return read(path), damaged
        except DamagedError as error:
            damaged.append(f"{FOLDER}/{path.name} is damaged ({error})")
    return None, damaged


def read(path: pathlib.Path) -> State:
    """Reads one state.

    Raises:
      DamagedError: the file differs from what was written.
    """
    _, step, digest = path.stem.split("-")
    try:
        # A special file, such as a FIFO, could block the reader for ever.
        with files.open_regular(path) as file:
            content = file.read(_MAX_BYTES + 1)
    except (OSError, files.DataError) as error:
        raise DamagedError("it cannot be read as a file") from error
    if len(content) > _MAX_BYTES:
        raise DamagedError(f"it has more than {_MAX_BYTES} bytes")
    if _digest(content) != digest:
        raise DamagedError("its checksum differs")
    try:
        # A few compressed bytes could expand to more than the memory.
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if any(m.compress_type for m in archive.infolist()):
                raise ValueError("compressed")
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = dict(file)
        content = safejson.loads(arrays.pop(_FACTS).tobytes())
        if content.pop("step") != int(step):
            raise ValueError("another step")
    # A file with a forged checksum can make the libraries raise any error.
    except Exception as error:
        raise DamagedError("it is not a saved state") from error
    try:
        return State(int(step), StateFacts.from_json(content), arrays)
    except ValueError as error:
        raise DamagedError(f"it is not a saved state: {error}") from None


def discard_after(run: pathlib.Path, state: State | None) -> None:
    """Removes states that a resumed run will write again, or are damaged."""
    step = -1 if state is None else state.step
    for path in _paths(run):
        if _step(path) > step:
            path.unlink()
    for beside in (run / FOLDER).glob(".new-*"):
        beside.unlink()


def _paths(run: pathlib.Path) -> list[pathlib.Path]:
    """Returns the files of the states, the newest first."""
    files = (run / FOLDER).glob("step-*.npz")
    return sorted(
        (p for p in files if _NAME.fullmatch(p.name) and not p.is_dir()),
        key=_step,
        reverse=True,
    )


def _step(path: pathlib.Path) -> int:
    return int(path.stem.split("-")[1])


def _digest(content: bytes | memoryview) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
