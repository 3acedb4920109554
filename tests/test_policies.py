"""The policies beside Pillow, operation by operation, and their draws."""

import numpy as np
import PIL.Image
import PIL.ImageEnhance
import PIL.ImageOps
import pytest
import scipy.stats
import tensorflow as tf

from mnistpipe import pipeline
from mnistpipe.pipeline.mixing import distributions
from mnistpipe.pipeline.transforms.policies import (
    augmix,
    operations,
    randaugment,
)

SHAPE = (16, 20, 3)


def pictures(rng, count):
    coarse = rng.integers(0, 256, (count, 4, 5, 3))
    return coarse.repeat(4, axis=1).repeat(4, axis=2).astype(np.uint8)


def affine(image, *data):
    return image.transform(image.size, PIL.Image.Transform.AFFINE, data)


# The operations as the authors of AutoAugment and torchvision have them.
BY_PILLOW = {
    "Identity": lambda image, _: image,
    "ShearX": lambda image, t: affine(image, 1, t, 0, 0, 1, 0),
    "ShearY": lambda image, t: affine(image, 1, 0, 0, t, 1, 0),
    "TranslateX": lambda image, x: affine(image, 1, 0, -x, 0, 1, 0),
    "TranslateY": lambda image, y: affine(image, 1, 0, 0, 0, 1, -y),
    "Rotate": lambda image, degrees: image.rotate(degrees),
    "Brightness": lambda image, f: PIL.ImageEnhance.Brightness(image).enhance(
        1 + f
    ),
    "Color": lambda image, f: PIL.ImageEnhance.Color(image).enhance(1 + f),
    "Contrast": lambda image, f: PIL.ImageEnhance.Contrast(image).enhance(
        1 + f
    ),
    "Sharpness": lambda image, f: PIL.ImageEnhance.Sharpness(image).enhance(
        1 + f
    ),
    "Posterize": lambda image, bits: PIL.ImageOps.posterize(image, int(bits)),
    "Solarize": lambda image, t: PIL.ImageOps.solarize(image, t),
    "AutoContrast": lambda image, _: PIL.ImageOps.autocontrast(image),
    "Equalize": lambda image, _: PIL.ImageOps.equalize(image),
}
STRENGTHS = {
    "ShearX": (0.09, -0.29, 0.99),
    "ShearY": (0.09, -0.29, -0.99),
    "TranslateX": (3, -7, 32),
    "TranslateY": (2, -5, -32),
    "Rotate": (9.3, -29.1, 90, 134.7),
    "Posterize": (8, 7, 4, 2),
    "Solarize": (255, 178.5, 100, 0),
}
COLOURS = ("Brightness", "Color", "Contrast", "Sharpness")
# Pillow cuts fractions off, and rounds the pictures with which it blends.
ROUNDED = (*COLOURS, "AutoContrast")


def chain(images, names, strengths, **changes):
    fields = {"value_range": (0.0, 255.0), "fill": 0.0}
    drawn = {
        "operation": tf.constant(
            [[operations.PLACES[name] for name in row] for row in names]
        ),
        "strength": tf.constant(strengths, tf.float32),
    }
    images = tf.constant(images, tf.float32)
    fields = {**fields, "interpolation": "nearest", **changes}
    return operations.apply_chain(images, drawn, **fields).numpy()


def test_each_operation_is_that_of_pillow(rng):
    """All at once: each picture of the batch takes another branch."""
    cases = [
        (name, strength)
        for name in operations.OPERATIONS
        for strength in STRENGTHS.get(
            name, (-0.9, -0.3, 0.0, 0.5, 0.9) if name in COLOURS else (0,)
        )
    ]
    images = pictures(rng, len(cases))
    images[-1, ..., 0] //= 3
    names = [[name] for name, _ in cases]
    result = chain(images, names, [[strength] for _, strength in cases])
    unit = chain(
        images / 255,
        names,
        [[strength] for _, strength in cases],
        value_range=(0.0, 1.0),
    )
    for i, (name, strength) in enumerate(cases):
        wanted = BY_PILLOW[name](PIL.Image.fromarray(images[i]), strength)
        wanted = np.asarray(wanted, np.float32)
        tolerance = 1.5 + 1e-3 if name in ROUNDED else 0
        for given, rounding in ((result[i], 0), (255 * unit[i], 1e-3)):
            np.testing.assert_allclose(
                given,
                wanted,
                rtol=0,
                atol=tolerance + rounding,
                err_msg=f"{name} {strength}",
            )


def test_operations_follow_one_another(rng):
    images = pictures(rng, 3)
    names = [
        ["Rotate", "Posterize", "ShearX"],
        ["Equalize", "Identity", "TranslateY"],
        ["Solarize", "Solarize", "Identity"],
    ]
    strengths = [[20, 3, 0.21], [0, 0, -4], [128, 128, 0]]
    result = chain(images, names, strengths)
    for i in range(3):
        wanted = PIL.Image.fromarray(images[i])
        for name, strength in zip(names[i], strengths[i], strict=True):
            wanted = BY_PILLOW[name](wanted, strength)
        np.testing.assert_array_equal(result[i], wanted)


def test_fill_and_interpolation(rng):
    images = pictures(rng, 1)
    result = chain(images, [["TranslateX"]], [[5]], fill=9.0)
    assert (result[:, :, :5] == 9).all()
    np.testing.assert_array_equal(result[:, :, 5:], images[:, :, :-5])
    nearest = chain(images, [["Rotate"]], [[10]])
    smooth = chain(images, [["Rotate"]], [[10]], interpolation="bilinear")
    assert 0 < np.abs(nearest - smooth).mean() < 40


# The tables of torchvision.transforms.autoaugment, in NumPy.


def torchvision_table(bins, shear, translate_x, translate_y, degrees, factor):
    def rise(most):
        return np.linspace(0, most, bins)

    return {
        "ShearX": rise(shear),
        "ShearY": rise(shear),
        "TranslateX": np.trunc(rise(translate_x)),
        "TranslateY": np.trunc(rise(translate_y)),
        "Rotate": rise(degrees),
        **{name: rise(factor) for name in COLOURS},
        "Solarize": np.linspace(255, 0, bins),
    }


def bits_table(bins, most, fewer):
    return most - (np.arange(bins) / ((bins - 1) / fewer)).round()


@pytest.mark.parametrize(
    "space, wanted",
    [
        (
            randaugment.RAND_AUGMENT,
            {
                **torchvision_table(
                    31, 0.3, 150 / 331 * 500, 150 / 331 * 300, 30, 0.9
                ),
                "Posterize": bits_table(31, 8, 4),
            },
        ),
        (
            randaugment.TRIVIAL_AUGMENT_WIDE,
            {
                **torchvision_table(31, 0.99, 32, 32, 135, 0.99),
                "Posterize": bits_table(31, 8, 6),
            },
        ),
        (
            augmix.AUGMIX_ALL,
            {
                **torchvision_table(10, 0.3, 500 / 3, 100, 30, 0.9),
                "Posterize": bits_table(10, 4, 4),
            },
        ),
    ],
    ids=["RandAugment", "TrivialAugmentWide", "AugMix"],
)
def test_strengths_are_those_of_torchvision(space, wanted):
    for name, strengths in wanted.items():
        bins = len(strengths)
        level = tf.constant(np.arange(bins)[:, None] / (bins - 1), tf.float32)
        operation = tf.fill([bins, 1], operations.PLACES[name])
        for negative in (False, True):
            result = space.strengths(
                operation, level, tf.fill([bins, 1], negative), (300, 500, 3)
            ).numpy()[:, 0]
            signed = name not in ("Posterize", "Solarize")
            sign = -1 if negative and signed else 1
            # A translation loses its fraction: float32 may be just below.
            near = 1 if name.startswith("Translate") else 1e-4
            np.testing.assert_allclose(
                result, sign * strengths, rtol=0, atol=near, err_msg=name
            )
            exact = np.abs(result - sign * strengths) < 1e-4
            assert exact.mean() > 0.8, name


def draw(transform, count=4000, shape=(32, 48, 3)):
    keys = pipeline.example_keys(3, 0, np.arange(count))
    (drawn,) = pipeline.Compose([transform]).draw(keys, shape)
    return {name: values.numpy() for name, values in drawn.items()}


@pytest.mark.parametrize(
    "transform, space",
    [
        (pipeline.RandAugment(n=2), randaugment.RAND_AUGMENT),
        (pipeline.TrivialAugmentWide(), randaugment.TRIVIAL_AUGMENT_WIDE),
        (pipeline.AugMix(depth=2), augmix.AUGMIX_ALL),
        (pipeline.AugMix(depth=2, all_ops=False), augmix.AUGMIX),
    ],
    ids=repr,
)
def test_operations_are_equally_likely(transform, space):
    drawn = draw(transform)
    places = drawn["operation"].ravel()
    assert set(places) == set(space.places)
    counts = np.bincount(places)[space.places]
    mean = places.size / len(counts)
    # Chi square of at most 13 degrees of freedom: 45 once in 45,000 times.
    assert np.sum((counts - mean) ** 2 / mean) < 45
    turned = drawn["strength"][drawn["operation"] == 5]
    assert abs(np.mean(turned > 0) - np.mean(turned < 0)) < 0.2


def test_magnitudes():
    drawn = draw(pipeline.RandAugment(n=1, magnitude=15))
    rotations = drawn["strength"][drawn["operation"] == 5]
    np.testing.assert_allclose(np.abs(rotations), 15, rtol=1e-6)
    drawn = draw(pipeline.TrivialAugmentWide(), 20000)
    rotations = np.abs(drawn["strength"][drawn["operation"] == 5])
    levels, counts = np.unique((rotations / 4.5).round(), return_counts=True)
    np.testing.assert_array_equal(levels, np.arange(31))
    np.testing.assert_allclose(rotations % 4.5, 0, atol=1e-3)
    assert counts.min() > 15
    drawn = draw(pipeline.AugMix(severity=3))
    rotations = np.abs(drawn["strength"][drawn["operation"] == 5])
    assert set((rotations * 9 / 30).round(3)) == {0, 1, 2}


def test_masks_move_with_their_pictures(rng):
    """A picture that is its own mask, with movements only."""
    mask = rng.integers(0, 2, (50, 16, 20, 1)).astype(np.int16)
    drawn = {
        "operation": rng.integers(0, 6, (50, 3)).astype(np.int32),
        "strength": rng.choice([-8.0, 8.0], (50, 3)).astype(np.float32),
    }
    sheared = drawn["operation"] <= 2
    drawn["strength"][sheared] /= 20
    drawn = {name: tf.constant(value) for name, value in drawn.items()}
    transform = pipeline.RandAugment(n=3)
    moved = transform.apply_to_mask(tf.constant(mask), drawn).numpy()
    picture = transform.apply(tf.constant(mask, tf.float32), drawn).numpy()
    assert moved.dtype == np.int16
    np.testing.assert_array_equal(moved, picture)
    assert (moved != mask).any(axis=(1, 2, 3)).mean() > 0.8


# AugMix


def test_augmix_mixes_chains(rng):
    images = pictures(rng, 8).astype(np.float32)
    transform = pipeline.AugMix(width=2, interpolation="nearest")
    drawn = draw(transform, 8, SHAPE)
    given = {name: tf.constant(value) for name, value in drawn.items()}
    result = transform.apply(tf.constant(images), given).numpy()
    weights = drawn["weights"][..., None, None, None]
    wanted = weights[:, 0] * images
    for i in range(2):
        part = {
            name: tf.constant(drawn[name][:, i])
            for name in ("operation", "strength")
        }
        wanted += weights[:, 1 + i] * operations.apply_chain(
            tf.constant(images), part, (0.0, 255.0), 0.0, "nearest"
        )
    np.testing.assert_allclose(result, wanted, rtol=0, atol=1e-3)
    keys = pipeline.example_keys(0, 0, np.arange(8))
    augment = pipeline.Compose([transform])
    with pytest.raises(ValueError, match="no masks, since AugMix"):
        augment(images, keys, masks=images[..., :1])


def test_augmix_draws_depths_and_weights():
    drawn = draw(pipeline.AugMix(width=4))
    # What lies behind a chain's depth is Identity, which no space has.
    depth = (drawn["operation"] != 0).sum(axis=2)
    assert depth.shape == (4000, 4)
    assert np.bincount(depth.ravel())[1:].min() > 5000
    weights = drawn["weights"]
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-5)
    first = scipy.stats.kstest(weights[:, 0], "uniform")
    assert first.pvalue > 1e-4
    parts = weights[:, 1] / (1 - weights[:, 0])
    assert scipy.stats.kstest(parts, scipy.stats.beta(1, 3).cdf).pvalue > 1e-4


@pytest.mark.parametrize("alpha", [0.1, 0.4, 1.0, 3.5])
def test_gamma_and_beta_draws(rng, alpha):
    uniform = tf.constant(
        rng.random((20000, 2 * distributions.UNIFORMS_PER_GAMMA)), tf.float32
    )
    uniform = tf.minimum(uniform, np.float32(1 - 2**-24))
    log_gamma = distributions.log_gamma_draws(uniform, alpha).numpy()
    distribution = scipy.stats.loggamma(alpha)
    for column in log_gamma.T:
        assert scipy.stats.kstest(column, distribution.cdf).pvalue > 1e-4
    assert abs(np.corrcoef(log_gamma.T)[0, 1]) < 5 / np.sqrt(20000)
    beta = distributions.beta(uniform, alpha).numpy()
    assert beta.min() >= 0 and beta.max() <= 1
    wanted = scipy.stats.beta(alpha, alpha)
    # Not beyond 0.999, where float32 has too few numbers for small alphas.
    places = np.geomspace(1e-6, 0.999, 200)
    found = np.searchsorted(np.sort(beta), places) / beta.size
    assert np.abs(found - wanted.cdf(places)).max() < 2 / np.sqrt(beta.size)
