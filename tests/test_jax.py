"""The pipeline inside a JAX program, beside TensorFlow's pictures."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from mnistpipe import pipeline

if importlib.util.find_spec("jaxlib") is None:
    pytest.skip(
        "jax is not installed: pip install mnistpipe[jax]",
        allow_module_level=True,
    )
import jax

HERE = pathlib.Path(__file__).parent
SEED = 2**40 + 5  # of more than 32 bits
PORTED = [
    pipeline.RandomAffine(
        rotation=15, width_shift=0.1, shear=10, zoom=0.1, horizontal_flip=True
    ),
    pipeline.RandomAffine(
        rotation=20, fill_mode="constant", interpolation="nearest"
    ),
    pipeline.RandomAffine(height_shift=0.2, fill_mode="wrap"),
    pipeline.RandomAffine(
        rotation=20, vertical_flip=True, fill_mode="reflect", probability=0.5
    ),
    pipeline.RandomErasing(),
    pipeline.RandomErasing(fill="noise", probability=0.5),
    pipeline.GaussianNoise(9.0),
    pipeline.ChannelShift(20),
    pipeline.Brightness(0.3, 0.2),
    pipeline.Contrast(0.5),
    pipeline.ElasticDistortion(alpha=8, sigma=1.5),
    pipeline.ElasticDistortion(alpha=34, sigma=4, fill_mode="constant"),
    pipeline.Rescale(1 / 255, offset=0.1),
    pipeline.Compose(
        [
            pipeline.RandomAffine(rotation=15, zoom=0.1),
            pipeline.RandomErasing(probability=0.5),
            pipeline.GaussianNoise(50.0),
        ],
        dtype="uint8",
    ),
]


def pictures(rng, count, shape=(28, 28, 1)):
    return rng.integers(0, 256, (count, *shape)).astype(np.uint8)


def test_keys_are_those_of_tensorflow():
    index = np.arange(300)
    keys = pipeline.example_keys(
        SEED, jax.numpy.int32(3), jax.numpy.asarray(index)
    )
    wanted = pipeline.example_keys(SEED, 3, index)
    np.testing.assert_array_equal(keys, wanted)


@pytest.mark.parametrize("augment", PORTED, ids=repr)
def test_pictures_are_those_of_tensorflow(rng, augment):
    augment = pipeline.Compose.of(augment)
    keys = pipeline.example_keys(SEED, 3, np.arange(256)).numpy()
    for shape, counts in (
        ((28, 28, 1), (1, 7, 64, 256)),
        ((8, 6, 3), (1, 256)),
    ):
        images = pictures(rng, 256, shape)
        wanted = augment(images, keys).numpy()
        for count in counts:
            found = augment(
                jax.numpy.asarray(images[:count]),
                jax.numpy.asarray(keys[:count]),
            )
            assert found.dtype == wanted.dtype
            np.testing.assert_array_equal(found, wanted[:count])


@pytest.mark.parametrize(
    "augment, named",
    [
        (
            pipeline.RandomAffine(output_size=14),
            "Received: RandomAffine, which needs TensorFlow",
        ),
        (pipeline.Posterize(4), "Received: Posterize, which needs TensorFlow"),
        (
            [pipeline.RandomAffine(), pipeline.RandomAffine()],
            "Received: RandomAffine, RandomAffine",
        ),
    ],
)
def test_what_is_not_ported_is_refused_by_name(rng, augment, named):
    images = jax.numpy.asarray(pictures(rng, 2))
    keys = jax.numpy.zeros((2, 2), "uint32")
    with pytest.raises(ValueError, match=named) as error:
        pipeline.Compose.of(augment)(images, keys)
    assert "\n" not in str(error.value)


def test_the_layers_in_a_model():
    """In a process of its own, since Keras has one backend in a process."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-n0"),
            *("-p", "no:cacheprovider", "jax_checks.py", "test_layers.py"),
            "-k",
            "jax_checks or identity_when or nothing_at or exact_numbers",
        ],
        cwd=HERE,
        env={
            **os.environ,
            "KERAS_BACKEND": "jax",
            "PYTHONPATH": os.pathsep.join(
                [str(HERE.parent), os.environ.get("PYTHONPATH", "")]
            ),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
