"""The probabilities of a run's network on the test images, for the report.

test_probabilities.npy    float32 [N, classes], in the order of the data
"""

import pathlib

import numpy as np

from mnistpipe.runs import runfolder

NAME = "test_probabilities.npy"


def write(folder: pathlib.Path, probabilities: np.ndarray) -> None:
    """Writes probabilities float [N, classes] as float32."""
    with runfolder.replacing(folder / NAME) as beside, open(beside, "wb") as f:
        np.save(f, probabilities.astype(np.float32), allow_pickle=False)


def read(
    folder: pathlib.Path, examples: int, classes: int
) -> np.ndarray | None:
    """Reads probabilities float32 [examples, classes].

    None is returned if the file is missing or damaged, or holds another shape
    or no probabilities. A report then leaves out what depends on the file.
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
