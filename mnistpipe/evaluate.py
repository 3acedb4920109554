"""Scores finished runs on labelled pictures.

python -m mnistpipe.evaluate --run=runs/X
python -m mnistpipe.evaluate --run=runs/X,runs/Y --data=handwriting/ --tta=10

Prints the accuracy with its interval, the accuracy of each class, the confusion
matrix, the calibration and the hardest examples. Several runs answer as an
ensemble. Files are written only if --out names a new folder.
"""

import os
import pathlib
from collections.abc import Sequence

from mnistpipe import data
from mnistpipe.cli import app, flags
from mnistpipe.data import folders
from mnistpipe.errors import UserError
from mnistpipe.evaluation.options import EvaluationOptions
from mnistpipe.runs import backends, finished, runfolder
from mnistpipe.runs.finished import FinishedRun


def main(argv: list[str]) -> None:
    """Scores the runs that the flags name, and prints the scores."""
    del argv  # the parser allows nothing but flags
    options = flags.read(EvaluationOptions)
    # Errors are found before TensorFlow takes seconds to load.
    runs = [finished.read(path) for path in options.runs]
    folder = pathlib.Path(options.out) if options.out else None
    if folder is not None:
        runfolder.RunFolder(folder).check()
    test = _test_set(runs, options)
    # Without a GPU, TensorFlow prints errors about CUDA that mean nothing.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    backends.load()
    from mnistpipe.evaluation import scorecard, scorecard_text

    card = scorecard.score(runs, test, options)
    print(
        scorecard.to_json(card) if options.json else scorecard_text.text(card)
    )
    if folder is not None:
        with runfolder.RunFolder(folder).errors():
            folder.mkdir(parents=True, exist_ok=True)
            scorecard.write(card, test, folder)


def _test_set(
    runs: Sequence[FinishedRun], options: EvaluationOptions
) -> data.TestSet:
    sizes = finished.sizes(runs)
    identity = runs[0].record.data
    test = data.load_test(
        options.data or _own_data(runs),
        shape=sizes.shape,
        class_names=identity.class_names
        or tuple(map(str, range(sizes.classes))),
        preparation=folders.preparation_for(
            sizes.shape, identity.preparation, options.normalize_pictures
        ),
    )
    changed = [
        run for run in runs if run.record.own_test(test.fingerprint) is False
    ]
    if changed and not options.data:
        raise UserError(
            f"data: expected the test set that {changed[0].path} was trained"
            f" with, got another in {test.name}; name this data with --data to"
            " use it"
        )
    return test


def _own_data(runs: Sequence[FinishedRun]) -> str | None:
    """Returns the data that all runs were trained on; None is MNIST."""
    paths = {run.record.options.data for run in runs}
    if len(paths) > 1:
        names = ", ".join(sorted(path or "embedded MNIST" for path in paths))
        raise UserError(
            "data: expected --data=PATH, since the runs were trained on"
            f" different data, got none ({names})"
        )
    return paths.pop() or None


if __name__ == "__main__":
    flags.define(EvaluationOptions)
    app.run(main, extra="train")
