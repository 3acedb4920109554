"""Says which digit is in a picture, with finished runs.

python -m mnistpipe.predict --run=runs/X a.png b.png

Prints a line per picture: the class, and the probability of every class.
Several runs answer as an ensemble.
"""

import os
from pathlib import Path

import numpy as np

from mnistpipe.cli import app, flags
from mnistpipe.data import folders
from mnistpipe.errors import UsageError
from mnistpipe.evaluation.options import PredictionOptions
from mnistpipe.runs import backends, finished

_MOST_FILES = 10_000


def main(argv: list[str]) -> None:
    """Prints the answers for the pictures on the command line."""
    paths = argv[1:]
    if not 1 <= len(paths) <= _MOST_FILES:
        raise UsageError(
            f"expected 1 to {_MOST_FILES} pictures after the flags, got"
            f" {len(paths)}"
        )
    options = flags.read(PredictionOptions)
    # Errors are found before TensorFlow takes seconds to load.
    runs = [finished.read(path) for path in options.runs]
    sizes = finished.sizes(runs)
    identity = runs[0].record.data
    preparation = folders.preparation_for(
        sizes.shape, identity.preparation, options.normalize_pictures
    )
    names = identity.class_names or tuple(map(str, range(sizes.classes)))
    read = folders.reader(options.run, sizes.shape, preparation)
    images = np.stack([read(Path(path)) for path in paths])
    # Without a GPU, TensorFlow prints errors about CUDA that mean nothing.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    backends.load()
    from mnistpipe.evaluation import answers

    found = answers.answer(runs, images, paths, options, preparation, names)
    print(answers.to_json(found) if options.json else answers.text(found))


if __name__ == "__main__":
    flags.define(PredictionOptions)
    app.run(main, files=True)
