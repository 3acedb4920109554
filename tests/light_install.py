"""Checks an environment into which only the wheel was installed.

python tests/light_install.py

`.ci/run` runs this program outside of the tree. It exits with 1 and says what
is wrong.
"""

import importlib.util
import os
import subprocess
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from mnistpipe import pipeline
from mnistpipe.pipeline import image
from mnistpipe.pipeline.generator import ImageDataGenerator

# The error names them, so they may not have come with the light core.
EXTRA = ("jinja2", "matplotlib", "sklearn", "tensorboard", "keras_tuner")


def check_the_pipeline(images: np.ndarray) -> None:
    """Augments a batch, runs the drop-in class, and asks for a preview."""
    augment = pipeline.Compose(
        [pipeline.RandomAffine(rotation=10), pipeline.Rescale(1 / 255)]
    )
    keys = pipeline.example_keys(seed=1, epoch=0, index=np.arange(len(images)))
    pictures = np.asarray(augment(images, keys))
    assert pictures.shape == images.shape and 0 <= pictures.max() <= 1

    stream = pipeline.Stream(len(images), batch_size=4, seed=1)
    labels = np.arange(len(images))
    batches = list(pipeline.host_dataset(images, labels, stream, augment))
    assert len(batches) == len(images) // 4

    flow = ImageDataGenerator(rotation_range=10).flow(images, batch_size=4)
    assert next(flow).shape == (4, *images.shape[1:])
    assert image.img_to_array(image.array_to_img(images[0])).shape == (8, 9, 3)
    try:
        pipeline.preview(augment, images)
    except ImportError as error:
        assert "mnistpipe[preview]" in str(error), error
    else:
        raise AssertionError("expected an ImportError, got a figure")


def check_the_commands() -> None:
    """A command says in one line which extra it needs; --help needs none."""
    for command, extra in (
        *(("main", "train"), ("evaluate", "train"), ("report", "train")),
        *(("tune", "sweep"), ("preview", "preview"), ("demo", "demo")),
    ):
        program = [sys.executable, "-m", f"mnistpipe.{command}"]
        done = subprocess.run(program, capture_output=True, text=True)
        assert done.returncode == 1 and not done.stdout, done
        (line,) = done.stderr.splitlines()
        print(f"{command}: {line}")
        assert f"the extra `{extra}` (pip install" in line, line
        helped = subprocess.run(
            [*program, "--help"], capture_output=True, text=True
        )
        assert helped.returncode == 0 and "--" in helped.stdout, helped


def main() -> None:
    """Runs the checks."""
    came = [name for name in EXTRA if importlib.util.find_spec(name)]
    assert not came, f"expected no {', '.join(EXTRA)}, got {', '.join(came)}"
    rng = np.random.default_rng(0)
    check_the_pipeline(rng.integers(0, 256, (8, 8, 9, 3), np.uint8))
    check_the_commands()
    print("The light install works.")


if __name__ == "__main__":
    main()
