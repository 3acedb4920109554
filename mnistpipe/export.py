"""Exports finished networks, with their preprocessing, to other runtimes.

python -m mnistpipe.export --run=runs/X --format=litert
python -m mnistpipe.export --run=runs/X,runs/Y --format=onnx --out=ensemble

The model takes uint8 pictures and gives probabilities. README.md beside the
model says what it takes, what it is worth, and how to call it.
"""

import os
import pathlib

import numpy as np

from mnistpipe import data
from mnistpipe.cli import app, flags
from mnistpipe.runs import backends, finished, runfolder
from mnistpipe.runs.finished import FinishedRun
from mnistpipe.serving.export_options import ExportOptions

_COMPARED = 1000  # test images on which the file is compared with the network


def main(argv: list[str]) -> None:
    """Writes the model and its card into a new folder."""
    del argv  # the parser allows nothing but flags
    options = flags.read(ExportOptions)
    # Errors are found before TensorFlow takes seconds to load.
    runs = [finished.read(path) for path in options.runs]
    sizes = finished.sizes(runs)
    default = f"{options.runs[0]}/export-{options.format}"
    folder = runfolder.RunFolder(pathlib.Path(options.out or default))
    folder.check()
    digits = data.load(runs[0].record.options.data or None)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    backends.load()
    from mnistpipe.evaluation.prediction import Predictor
    from mnistpipe.serving import card, exporting

    exporting.check(options.format)
    model = exporting.with_preprocessing(
        [Predictor(run).network for run in runs]
    )
    with folder.errors():
        folder.path.mkdir(parents=True, exist_ok=True)
        path = folder.path / exporting.FILES[options.format]
        if options.int8:
            exporting.write_int8(model, path, digits.train.images)
        else:
            exporting.write(model, options.format, path, digits.train.images)
        measured = _measure(options, path, runs, digits)
        text = card.text(
            runs, options.format, sizes.shape, digits.names, measured
        )
        (folder.path / "README.md").write_text(text, "utf-8")
    print(f"{path}\n{measured}")


def _measure(
    options: ExportOptions,
    path: pathlib.Path,
    runs: list[FinishedRun],
    digits: data.Digits,
) -> str:
    """Compares the file with the networks that are in it."""
    from mnistpipe.evaluation.prediction import Predictor
    from mnistpipe.serving import exporting

    count = len(digits.test) if options.int8 else _COMPARED
    images, labels = digits.test.images[:count], digits.test.labels[:count]
    try:
        found = exporting.answers(options.format, path)(images)
    except ImportError as error:
        return f"not compared with the network: {error.name} is not installed"
    own = np.mean(
        [Predictor(run).probabilities(images) for run in runs], axis=0
    )
    most = np.abs(found - own).max()
    accuracy, before = (
        np.mean(one.argmax(axis=1) == labels) for one in (found, own)
    )
    return (
        f"on {len(labels):,} test images, probabilities differ by at most"
        f" {most:.1e} from the network's, and accuracy is {accuracy:.2%} where"
        f" the network's is {before:.2%}"
    )


if __name__ == "__main__":
    flags.define(ExportOptions)
    app.run(main)
