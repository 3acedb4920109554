"""The answers of a run's network on its test images, kept for its report.

test_probabilities.npy    float32 [N, classes], in the order of the data
"""

import pathlib

import numpy as np

from mnistpipe.runs import runfolder

NAME = "test_probabilities.npy"


def write(folder: pathlib.Path, probabilities: np.ndarray) -> None:
    """Keeps probabilities float [N, classes] as float32."""
    with runfolder.replacing(folder / NAME) as beside, open(beside, "wb") as f:
        np.save(f, probabilities.astype(np.float32), allow_pickle=False)


def read(
    folder: pathlib.Path, examples: int, classes: int
) -> np.ndarray | None:
    """Reads the probabilities, if they are there and sound.

    A file that is missing, damaged, of another shape, or not probabilities is
    None: a report then leaves out what is computed from it.
    """
    path = folder / NAME
    try:
        if not path.is_file() or path.stat().st_size > 1 << 30:
            return None
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    sound = (
        array.dtype == np.float32
        and array.shape == (examples, classes)
        and np.isfinite(array).all()
        and (array >= 0).all()
    )
    return array if sound else None
