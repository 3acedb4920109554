"""Normalisation beside Keras' ImageDataGenerator and NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mnistpipe import pipeline
from mnistpipe.pipeline.transforms import normalize

if keras.__version__.startswith("2."):
    from keras.preprocessing import image as keras_image
else:
    from keras.src.legacy.preprocessing import image as keras_image


def coloured(rng, count=300, shape=(8, 6, 3)):
    """Pictures in [0, 1], of which each is lighter or darker as a whole."""
    base = rng.normal(0, 30, (count, *shape))
    base += rng.normal(0, 30, (count, 1, 1, 1)) + [60, 120, 180][: shape[2]]
    return np.clip(base / 255, 0, 1).astype(np.float32)


def standardized(generator, images):
    return np.stack([generator.standardize(image.copy()) for image in images])


# Keras' class centers wherever it divides by the deviation.
FLAGS = pytest.mark.parametrize("center, std", [(True, False), (True, True)])


@FLAGS
def test_samplewise_is_that_of_keras(rng, center, std):
    images = coloured(rng, 20)
    images[3] = 0.5  # no deviation at all
    generator = keras_image.ImageDataGenerator(
        samplewise_center=center, samplewise_std_normalization=std
    )
    transform = pipeline.SamplewiseNormalize(center=center, std=std)
    result = pipeline.Compose([transform])(images)
    wanted = standardized(generator, images)
    np.testing.assert_allclose(result, wanted, rtol=0, atol=1e-4)


@pytest.mark.parametrize("channels", [1, 3])
@FLAGS
def test_featurewise_is_that_of_keras(rng, channels, center, std):
    images = coloured(rng, shape=(8, 6, channels))
    generator = keras_image.ImageDataGenerator(
        featurewise_center=center, featurewise_std_normalization=std
    )
    generator.fit(images)
    transform = pipeline.FeaturewiseNormalize.fit(
        images, center=center, std=std
    )
    assert (transform.mean is not None, transform.std is not None) == (
        center,
        std,
    )
    result = pipeline.Compose([transform])(images[:20])
    wanted = standardized(generator, images[:20])
    np.testing.assert_allclose(result, wanted, rtol=0, atol=1e-4)


def test_the_deviation_alone(rng):
    images = coloured(rng, 20)
    samplewise = pipeline.SamplewiseNormalize(center=False)
    wanted = images / (images.std((1, 2, 3), keepdims=True) + 1e-6)
    result = pipeline.Compose([samplewise])(images)
    np.testing.assert_allclose(result, wanted, rtol=1e-5, atol=1e-5)
    featurewise = pipeline.FeaturewiseNormalize.fit(images, center=False)
    wanted = images / (images.std((0, 1, 2), dtype=np.float64) + 1e-6)
    result = pipeline.Compose([featurewise])(images)
    np.testing.assert_allclose(result, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(6, 5, 1), (5, 4, 3)])
def test_zca_is_that_of_keras(rng, shape):
    images = coloured(rng, shape=shape)
    generator = keras_image.ImageDataGenerator(zca_whitening=True)
    generator.fit(images)
    transform = pipeline.ZCAWhitening.fit(images)
    result = pipeline.Compose([transform])(images[:50])
    wanted = standardized(generator, images[:50])
    assert np.abs(wanted).max() > 1
    np.testing.assert_allclose(result, wanted, rtol=0, atol=1e-3)


def test_zca_whitens(rng):
    images = coloured(rng, 1000, (4, 4, 3))
    augment = pipeline.Compose([pipeline.ZCAWhitening.fit(images)])
    flat = augment(images).numpy().reshape(1000, -1).astype(np.float64)
    covariance = flat.T @ flat / 1000
    np.testing.assert_allclose(covariance, np.eye(48), atol=1e-3)
    before = images.reshape(1000, -1) - images.mean()
    assert np.abs(np.corrcoef(before.T) - np.eye(48)).max() > 0.3


def test_zca_of_fewer_pictures_than_values(rng):
    """Only the directions that the pictures span are kept, as in Keras."""
    images = coloured(rng, 30, (6, 6, 2))
    flat = (images - images.mean((0, 1, 2))).reshape(30, -1).astype(np.float64)
    u, s, _ = np.linalg.svd(flat.T, full_matrices=False)
    wanted = (u * np.sqrt(30) / (s + 0.1)) @ u.T
    transform = pipeline.ZCAWhitening.fit(images, epsilon=0.1)
    np.testing.assert_allclose(transform.matrix, wanted, rtol=0, atol=1e-5)


def test_fit_takes_the_data_in_pieces(rng, monkeypatch, tmp_path):
    images = rng.integers(0, 256, (100, 5, 4, 3)).astype(np.uint8)
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    whole = pipeline.FeaturewiseNormalize.fit(images)
    matrix = pipeline.ZCAWhitening.fit(images).matrix
    monkeypatch.setattr(normalize, "_CHUNK", 7)
    pieces = pipeline.FeaturewiseNormalize.fit(mapped)
    np.testing.assert_allclose(pieces.mean, whole.mean, rtol=1e-12)
    np.testing.assert_allclose(pieces.std, whole.std, rtol=1e-12)
    np.testing.assert_allclose(whole.mean, images.mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(whole.std, images.std((0, 1, 2)), rtol=1e-12)
    again = pipeline.ZCAWhitening.fit(mapped).matrix
    np.testing.assert_allclose(again, matrix, rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    "fit", [pipeline.FeaturewiseNormalize.fit, pipeline.ZCAWhitening.fit]
)
@pytest.mark.parametrize(
    "images, received",
    [
        (np.zeros((3, 4, 4)), r"\[3, 4, 4\]"),
        (np.zeros((0, 4, 4, 1)), r"\[0, 4, 4, 1\]"),
        (np.full((2, 4, 4, 1), np.nan), "NaN"),
    ],
)
def test_fit_refuses_what_it_cannot_measure(fit, images, received):
    with pytest.raises(ValueError, match=f"Received: .*{received}"):
        fit(images)


def test_pictures_of_another_shape_are_refused():
    images = np.zeros((2, 4, 4, 3), np.uint8)
    two = pipeline.FeaturewiseNormalize(mean=(1, 2), std=None)
    with pytest.raises(ValueError, match=r"of 2 channels.*Received: 3"):
        pipeline.Compose([two])(images)
    zca = pipeline.ZCAWhitening(np.eye(4), mean=(0.0,))
    with pytest.raises(ValueError, match=r"of 4 values.*\[4, 4, 3\]"):
        pipeline.Compose([zca])(images)


def test_the_matrix_is_a_copy_that_stays():
    matrix = np.eye(4)
    transform = pipeline.ZCAWhitening(matrix, mean=(0.0,))
    matrix[0, 0] = 5
    assert transform == pipeline.ZCAWhitening(np.eye(4), mean=(0.0,))
    assert transform != pipeline.ZCAWhitening(matrix, mean=(0.0,))
    assert transform != pipeline.ZCAWhitening(np.eye(4), mean=(1.0,))
    assert transform != "ZCAWhitening"
    with pytest.raises(ValueError, match="read-only"):
        transform.matrix[0, 0] = 5
    assert "float32[4, 4]" in repr(transform)


def test_numbers_may_be_arrays():
    transform = pipeline.FeaturewiseNormalize(
        mean=np.float32([1, 2, 3]), std=np.ones((1, 1, 3))
    )
    assert transform.mean == (1.0, 2.0, 3.0)
    assert transform.std == (1.0, 1.0, 1.0)
    result = transform.apply(tf.ones((1, 1, 1, 3)), {})
    np.testing.assert_allclose(result[0, 0, 0], [0, -1, -2], atol=1e-5)
