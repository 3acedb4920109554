"""Compares a run's accuracy on MNIST with its accuracy on pictures in files.

python tools/pictures_beside_mnist.py runs/X [number of test digits]

The tool writes test digits as JPEG files that look like photographs: five times
as large, dark ink on coloured paper, off-centre with wide margins, with noise.
mnistpipe.data reads the files back, and the run is scored on both.
"""

import pathlib
import sys
import tempfile

import numpy as np
from PIL import Image

from mnistpipe import data
from mnistpipe.evaluation import prediction, scoring
from mnistpipe.runs import finished

SCALE = 5
PAPER, INK = np.array([250, 240, 200]), np.array([30, 40, 110])


def photograph(digit: np.ndarray, rng: np.random.Generator) -> Image.Image:
    """Draws a digit, uint8 [H, W], with ink on paper."""
    size = (SCALE * digit.shape[1], SCALE * digit.shape[0])
    large = Image.fromarray(digit).resize(size, Image.Resampling.BICUBIC)
    margins = rng.integers(0, 2 * SCALE * 10, (2, 2))
    strength = np.pad(np.asarray(large) / 255, margins)[..., np.newaxis]
    picture = PAPER * (1 - strength) + INK * strength
    picture += rng.normal(0, 4, picture.shape)
    return Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))


def main() -> None:
    """Prints both accuracies."""
    run = finished.read(sys.argv[1])
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 10_000
    test = data.load().test
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as folder:
        for index in range(count):
            path = pathlib.Path(folder, str(test.labels[index]))
            path.mkdir(exist_ok=True)
            photo = photograph(test.images[index, ..., 0], rng)
            photo.save(path / f"{index:05}.jpg", quality=85)
        read = data.load_test(folder)
    order = [int(pathlib.Path(file).stem) for file in read.files]
    for name, images in (
        ("as stored", test.images[order]),
        ("from pictures", read.examples.images),
    ):
        answers = prediction.Predictor(run).probabilities(images)
        scores = scoring.score(answers, read.examples.labels)
        print(f"{name:<15}{scores.accuracy:.4%} of {scores.examples:,}")


if __name__ == "__main__":
    main()
