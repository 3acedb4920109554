"""Colour transforms beside torchvision v2, where torchvision is installed.

torchvision computes in a process of its own, because importing TensorFlow
before PyTorch can end a process.
"""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from mnistpipe import pipeline

if importlib.util.find_spec("torchvision") is None:
    pytest.skip(
        "torchvision is not installed (extra `bench`)", allow_module_level=True
    )

REFERENCE = """
import sys
import numpy as np, torch
from torchvision.transforms.v2 import functional as f
given = np.load(sys.argv[1])
images = torch.from_numpy(given["images"]).permute(0, 3, 1, 2)
result = {}
def keep(name, made):
    result[name] = made.permute(0, 2, 3, 1).numpy()
for name, function in {
    "brightness": f.adjust_brightness,
    "contrast": f.adjust_contrast,
    "saturation": f.adjust_saturation,
    "sharpness": f.adjust_sharpness,
    "gamma": f.adjust_gamma,
}.items():
    for factor in (0.4, 1.7):
        keep(f"{name} {factor}", function(images, factor))
for turn in (-0.4, 0.1, 0.5):
    keep(f"hue {turn}", f.adjust_hue(images, turn))
keep("invert", f.invert(images))
keep("solarize", f.solarize(images, 0.4))
keep("autocontrast", f.autocontrast(images))
keep("grayscale", f.rgb_to_grayscale(images, 3))
keep("blur", f.gaussian_blur(images, [7, 7], [1.3, 1.3]))
levels = (images * 255).round().to(torch.uint8)
keep("posterize", f.posterize(levels, 3))
keep("equalize", f.equalize(levels))
np.savez(sys.argv[2], **result)
"""
ONE = (0.0, 1.0)


@pytest.fixture(scope="module")
def images():
    """Pictures in whole 8-bit levels from 0 to 1, float32."""
    levels = np.random.default_rng(7).integers(0, 256, (5, 14, 12, 3))
    return (levels / 255).astype(np.float32)


@pytest.fixture(scope="module")
def reference(images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("torchvision")
    np.savez(folder / "given.npz", images=images)
    paths = [str(folder / name) for name in ("given.npz", "made.npz")]
    subprocess.run([sys.executable, "-c", REFERENCE, *paths], check=True)
    return np.load(folder / "made.npz")


def jitter(**strength):
    """ColorJitter with one strength, in the order of its fields."""
    drawn = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0}
    drawn = {name: np.full(5, value) for name, value in drawn.items()}
    drawn |= {name: np.full(5, value) for name, value in strength.items()}
    order = np.tile(np.arange(4, dtype=np.int32), (5, 1))
    transform = pipeline.ColorJitter(1.0, 1.0, 1.0, 0.5, value_range=ONE)
    return transform, {**drawn, "order": order}


CASES = {
    **{
        f"{name} {factor}": jitter(**{name: factor})
        for name in ("brightness", "contrast", "saturation")
        for factor in (0.4, 1.7)
    },
    **{f"hue {turn}": jitter(hue=turn) for turn in (-0.4, 0.1, 0.5)},
    **{
        f"sharpness {factor}": (
            pipeline.Sharpness(1.0, value_range=ONE),
            {"factor": np.full(5, factor)},
        )
        for factor in (0.4, 1.7)
    },
    **{
        f"gamma {gamma}": (
            pipeline.Gamma(1.0, value_range=ONE),
            {"gamma": np.full(5, gamma)},
        )
        for gamma in (0.4, 1.7)
    },
    "invert": (pipeline.Invert(value_range=ONE), {}),
    "solarize": (
        pipeline.Solarize(0.4, value_range=ONE),
        {"threshold": np.full(5, 0.4)},
    ),
    "autocontrast": (pipeline.AutoContrast(value_range=ONE), {}),
    "grayscale": (pipeline.Grayscale(), {}),
    "blur": (
        pipeline.GaussianBlur(1.3, kernel_size=7),
        {"sigma": np.full(5, 1.3)},
    ),
}


def applied(transform, images, drawn):
    kinds = {"order": np.int32, "bits": np.int32}
    drawn = {
        name: tf.constant(np.asarray(value, kinds.get(name, np.float32)))
        for name, value in drawn.items()
    }
    return transform.apply(tf.constant(images), drawn).numpy()


@pytest.mark.parametrize("name", CASES)
def test_floats_are_those_of_torchvision(name, images, reference):
    # torchvision's weight of red is 0.2989, Pillow's 0.299.
    result = applied(CASES[name][0], images, CASES[name][1])
    np.testing.assert_allclose(result, reference[name], rtol=0, atol=3e-4)


@pytest.mark.parametrize(
    ("name", "transform", "drawn"),
    [
        ("posterize", pipeline.Posterize(3), {"bits": np.full(5, 3)}),
        ("equalize", pipeline.Equalize(), {}),
    ],
)
def test_levels_are_those_of_torchvision(
    name, transform, drawn, images, reference
):
    levels = np.round(images * 255).astype(np.uint8)
    result = applied(transform, levels, drawn)
    np.testing.assert_array_equal(result, reference[name])
