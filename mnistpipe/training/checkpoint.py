"""A training's states on disk: whole or not there, and checked when read.

    state/step-000000240-9f86d081884c7d65.npz      the newest
    state/step-000000120-60303ae22b998861.npz      the one before it

The name holds the step and the first 16 hex digits of the file's SHA-256. A
file is written beside, synced and renamed, and only then is the oldest one
removed, so at any moment there is a whole one. It is a plain .npz of numeric
arrays and one JSON document as bytes: reading it can run no code.
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

from mnistpipe.runs import runfolder

FOLDER = "state"
KEEP = 2  # the newest, and the one before it should that be damaged
_FACTS = "facts"
_NAME = re.compile(r"step-(\d{9,})-([0-9a-f]{16})\.npz")


@dataclasses.dataclass(frozen=True)
class State:
    """What a training was after so many steps.

    Attributes:
      step: counted over all epochs.
      facts: what JSON can say, NaN and infinities included.
      arrays: numeric arrays by name.
    """

    step: int
    facts: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]


class DamagedError(ValueError):
    """A file of states that is not what was written; a few words why."""


def write(run: pathlib.Path, state: State) -> None:
    """Saves a state in a run's folder, then removes the oldest.

    Raises:
      OSError: it cannot be written; those before it are still there.
    """
    folder = run / FOLDER
    folder.mkdir(exist_ok=True)
    facts = json.dumps({"step": state.step, **state.facts}).encode()
    buffer = io.BytesIO()
    np.savez(buffer, **{_FACTS: np.frombuffer(facts, np.uint8)}, **state.arrays)
    content = buffer.getbuffer()
    name = f"step-{state.step:09}-{_digest(content)}.npz"
    with runfolder.replacing(folder / name) as beside:
        beside.write_bytes(content)
    for path in _paths(run)[KEEP:]:
        path.unlink()


def newest(run: pathlib.Path) -> tuple[State | None, list[str]]:
    """The newest state that is whole, and what is wrong with newer ones."""
    damaged = []
    for path in _paths(run):
        try:
            return read(path), damaged
        except DamagedError as error:
            damaged.append(f"{FOLDER}/{path.name} is damaged ({error})")
    return None, damaged


def read(path: pathlib.Path) -> State:
    """Reads one state.

    Raises:
      DamagedError: the file is not what was written.
    """
    step, digest = _NAME.fullmatch(path.name).groups()
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DamagedError(error.strerror or "it cannot be read") from error
    if _digest(content) != digest:
        raise DamagedError("its checksum differs")
    try:
        # Compressed, a few bytes could claim all of the memory.
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if any(m.compress_type for m in archive.infolist()):
                raise ValueError("compressed")
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = dict(file)
        facts = json.loads(arrays.pop(_FACTS).tobytes())
        if facts.pop("step") != int(step):
            raise ValueError("another step")
    # Whatever a file with a forged checksum leads the libraries into.
    except Exception as error:
        raise DamagedError("it is not a saved state") from error
    return State(int(step), facts, arrays)


def discard_after(run: pathlib.Path, state: State | None) -> None:
    """Removes what a resumed run will write anew, and what is damaged."""
    step = -1 if state is None else state.step
    for path in _paths(run):
        if _step(path) > step:
            path.unlink()
    for beside in (run / FOLDER).glob(".new-*"):
        beside.unlink()


def _paths(run: pathlib.Path) -> list[pathlib.Path]:
    """The states' files, the newest first."""
    files = (run / FOLDER).glob("step-*.npz")
    return sorted(
        (path for path in files if _NAME.fullmatch(path.name)),
        key=_step,
        reverse=True,
    )


def _step(path: pathlib.Path) -> int:
    return int(_NAME.fullmatch(path.name)[1])


def _digest(content: bytes | memoryview) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
