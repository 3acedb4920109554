"""The pictures of a report and the hyperparameters, for TensorBoard.

A run's `tensorboard/` gets a batch as the network saw it, the hardest test
examples and the confusion matrix under IMAGES, and the recipe with the scores
under HPARAMS.
"""

import dataclasses
import io
import pathlib

import numpy as np
import tensorflow as tf

from mnistpipe import data
from mnistpipe.reports import figures, run_report
from mnistpipe.runs import predictions, runfolder
from mnistpipe.runs.record import RunRecord


def write(
    folder: pathlib.Path, record: RunRecord, digits: data.Digits | None
) -> None:
    """Adds a run's pictures and hyperparameters to its TensorBoard folder.

    A picture whose source is missing is left out, as in the report.

    Args:
      folder: the run folder.
      record: what its metrics.json holds.
      digits: the run's data; without them, no pictures are written.
    """
    from tensorboard.plugins.hparams import api

    path = str(folder / runfolder.TENSORBOARD)
    writer = tf.summary.create_file_writer(path)
    with writer.as_default(step=record.epochs_run):
        api.hparams(dataclasses.asdict(record.recipe), trial_id=folder.name)
        if record.test_accuracy is not None:
            tf.summary.scalar("score/test_accuracy", record.test_accuracy)
        if digits is not None:
            _image("batch", run_report.batch_sheet(record, digits))
            found = predictions.read(folder, len(digits.test), digits.classes)
            if found is not None and record.test_accuracy is not None:
                worst = run_report.hardest(found, digits)
                _image("hardest", figures.tile(digits.test.images[worst], 10))
                matrix = run_report.confusion_figure(found, digits)
                _image("confusion", _pixels(matrix))
    writer.close()


def _image(name: str, pixels: np.ndarray) -> None:
    """Writes uint8 [H, W] or [H, W, C] as one picture."""
    shape = (1, *pixels.shape) if pixels.ndim == 3 else (1, *pixels.shape, 1)
    tf.summary.image(f"report/{name}", pixels.reshape(shape))


def _pixels(figure: figures.Figure) -> np.ndarray:
    """Draws a figure into uint8 [H, W, 3]."""
    from PIL import Image

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return np.asarray(Image.open(buffer).convert("RGB"))
