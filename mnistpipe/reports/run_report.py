"""report.html of one run, or of several runs side by side.

The page needs no network and no other file. Everything it shows comes from the
run's folder and its data set; a section whose source is missing is left out. A
folder may come from a stranger: Jinja2 escapes all text, and numbers are read
through `RunRecord`.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mnistpipe import data
from mnistpipe.errors import UserError
from mnistpipe.evaluation import scoring
from mnistpipe.networks import architectures
from mnistpipe.recipes import flagfiles
from mnistpipe.reports import figures, page
from mnistpipe.runs import predictions, runfolder, summary
from mnistpipe.runs.record import RunRecord

NAME = "report.html"
_HARDEST = 20
_BATCH = 40


def write(
    folder: pathlib.Path, record: RunRecord, digits: data.Digits | None = None
) -> pathlib.Path:
    """Writes report.html into a run's folder, and returns its path.

    The arguments are those of `html`, for one run.
    """
    path = folder / NAME
    with runfolder.replacing(path) as beside:
        beside.write_text(
            html({folder.name: (folder, record)}, digits), "utf-8"
        )
    return path


def html(
    runs: Mapping[str, tuple[pathlib.Path, RunRecord]],
    digits: data.Digits | None = None,
) -> str:
    """Returns the page of one or several runs.

    Args:
      runs: the folder and the record of each run, by name.
      digits: the data of all runs, if they are loaded already. By default
        the data of each run are loaded.
    """
    contexts = [
        _context(name, folder, record, digits or digits_of(record))
        for name, (folder, record) in runs.items()
    ]
    compared = len(runs) > 1
    histories = {name: record.history for name, (_, record) in runs.items()}
    return page.render(
        "run.html",
        title=", ".join(runs) if compared else f"Run {next(iter(runs))}",
        compared=compared,
        runs=contexts,
        curves=figures.curves(histories) if compared else "",
    )


def _context(
    name: str,
    folder: pathlib.Path,
    record: RunRecord,
    digits: data.Digits | None,
) -> dict[str, Any]:
    """Returns what the template shows of one run."""
    return {
        "name": name,
        "score": _score(record),
        "score_percent": _percent(record.test_accuracy),
        "watched_percent": _percent(_best_watched(record)),
        "selected": record.test_set_chose,
        "protocol": record.options.validation,
        "parameters": record.parameters,
        "epochs_run": record.epochs_run,
        "facts": _facts(record),
        "curves": figures.curves({"": record.history})
        if record.epochs_run
        else "",
        "scorecard": _scorecard(folder, record, digits),
        "batch": _batch(record, digits),
        "layers": _layers(record, digits),
        "flagfile": flagfiles.text(record.recipe, record.options),
    }


def _score(record: RunRecord) -> str:
    if record.interrupted:
        return "interrupted, not scored"
    correct, examples = record.test_correct, record.test_examples
    if record.test_accuracy is None or correct is None or not examples:
        return "not scored on the test set"
    interval = scoring.wilson(correct, examples)
    return (
        f"{record.test_accuracy:.2%} of {examples:,} test images "
        f"(95 % interval {interval.low:.2%} to {interval.high:.2%})"
    )


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.2f}"


def _best_watched(record: RunRecord) -> float | None:
    epoch = record.best_watched_epoch
    return None if epoch is None else record.watched[epoch]


def _facts(record: RunRecord) -> list[tuple[str, str]]:
    """The table at the top: what belongs beside the score."""
    rows = [
        ("protocol", record.protocol()),
        ("weights", record.which_weights()),
        ("watched", record.best_watched()),
        ("documented", summary.documented_score(record)),
        ("training", summary.training(record)),
        ("made with", summary.made_with(record.versions, record.hardware)),
        ("commits", ", ".join(record.commits)),
    ]
    return [(name, text) for name, text in rows if text]


def digits_of(record: RunRecord) -> data.Digits | None:
    """The run's own data, if they are still where the run found them."""
    try:
        digits = data.load(record.options.data or None)
    except UserError:
        return None
    same = digits.fingerprint == record.data.fingerprint
    return digits if same else None


def _scorecard(
    folder: pathlib.Path, record: RunRecord, digits: data.Digits | None
) -> dict[str, Any] | None:
    """Confusions, calibration and hardest examples of a scored run."""
    if digits is None or record.test_accuracy is None:
        return None
    probabilities = predictions.read(folder, len(digits.test), digits.classes)
    if probabilities is None:
        return None
    labels = digits.test.labels
    names = digits.names
    table = scoring.calibration(probabilities, labels)
    return {
        "confusion": figures.confusion(
            scoring.confusion(probabilities, labels).tolist(), names
        ),
        "calibration": figures.calibration([vars(one) for one in table.bins]),
        "error": f"{table.error:.4f}",
        "hardest": [
            _example(digits, probabilities, int(index), names)
            for index in hardest(probabilities, digits)
        ],
    }


def hardest(probabilities: np.ndarray, digits: data.Digits) -> np.ndarray:
    """Positions of the test examples that a report shows, hardest first."""
    return scoring.hardest(probabilities, digits.test.labels, _HARDEST)


def confusion_figure(
    probabilities: np.ndarray, digits: data.Digits
) -> figures.Figure:
    """The confusion matrix of a run as a matplotlib figure."""
    matrix = scoring.confusion(probabilities, digits.test.labels).tolist()
    return figures.confusion_figure(matrix, digits.names)


def _example(
    digits: data.Digits,
    probabilities: np.ndarray,
    index: int,
    names: Sequence[str],
) -> dict[str, Any]:
    label = int(digits.test.labels[index])
    answer = int(probabilities[index].argmax())
    pixels = figures.tile(digits.test.images[index : index + 1], 1)
    return {
        "index": index,
        "words": f"{names[label]} → {names[answer]}",
        "probability": f"{probabilities[index, label]:.4f}",
        "picture": figures.picture(pixels, max(1, 84 // pixels.shape[0])),
    }


def _batch(record: RunRecord, digits: data.Digits | None) -> str:
    if digits is None:
        return ""
    sheet = batch_sheet(record, digits)
    return figures.picture(sheet, max(1, 600 // sheet.shape[1]))


def batch_sheet(record: RunRecord, digits: data.Digits) -> np.ndarray:
    """The first training pictures as the network saw them in epoch 1, uint8."""
    from mnistpipe import pipeline
    from mnistpipe.networks import augmentation

    augment = augmentation.compose(record.recipe)
    count = min(_BATCH, len(digits.train))
    images = digits.train.images[:count]
    keys = pipeline.example_keys(record.seed, 0, np.arange(count))
    pictures = augment(images, keys) if augment.needs_keys else augment(images)
    return figures.tile(figures.to_uint8(np.asarray(pictures)), 10)


def _layers(
    record: RunRecord, digits: data.Digits | None
) -> list[dict[str, Any]]:
    """The network's layers with parameters and multiply-adds."""
    if digits is None:
        return []
    shaped = architectures.infer_shapes(
        record.recipe, digits.train.images.shape[1:], digits.classes
    )
    return [
        {
            "words": f"{one.layer.name} ({one.layer.kind})",
            "shape": " × ".join(map(str, one.shape)),
            "parameters": one.parameters,
            "multiply_adds": one.multiply_adds,
        }
        for one in shaped
    ]
