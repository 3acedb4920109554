"""The pipeline and its peers: endless batches of recipe 1's augmentation.

Each maker takes uint8 pictures [N, H, W, C] and a batch size, and gives an
iterator over augmented batches. A peer's package is imported by its maker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf
from benchmark_kornia import kornia
from benchmark_pictures import NOISE, ROTATION, SHEAR, SHIFT, ZOOM

from mnistpipe import pipeline

Batches = Iterator[object]
Candidate = Callable[[np.ndarray, int], Batches]


def ours(images: np.ndarray, batch_size: int) -> Batches:
    """The vectorised pipeline, on the host."""
    labels = np.zeros(len(images), np.int64)
    return iter(training_dataset(images, labels, batch_size))


def training_dataset(
    images: np.ndarray, targets: np.ndarray, batch_size: int
) -> tf.data.Dataset:
    """Recipe 1's augmentation as training uses it."""
    augment = pipeline.Compose(
        [
            pipeline.RandomAffine(
                rotation=ROTATION,
                width_shift=SHIFT,
                height_shift=SHIFT,
                shear=SHEAR,
                zoom=ZOOM,
            ),
            pipeline.Rescale(1 / 255),
            pipeline.GaussianNoise(NOISE),
        ]
    )
    stream = pipeline.Stream(len(images), batch_size, drop_remainder=True)
    return pipeline.host_dataset(images, targets, stream, augment, stop=10**9)


def _image_data_generator(
    images: np.ndarray, batch_size: int, noise: Callable
) -> Batches:
    try:
        from keras.src.legacy.preprocessing import image
    except ImportError:  # Keras 2
        from keras.preprocessing import image
    generator = image.ImageDataGenerator(
        rotation_range=ROTATION,
        width_shift_range=SHIFT,
        height_shift_range=SHIFT,
        shear_range=SHEAR,
        zoom_range=ZOOM,
        fill_mode="nearest",
        preprocessing_function=noise,
    )
    return generator.flow(
        images.astype(np.float32) / 255, batch_size=batch_size
    )


def image_data_generator(images: np.ndarray, batch_size: int) -> Batches:
    """Keras' own class, with the noise function that recipe 1 documents."""
    return _image_data_generator(
        images,
        batch_size,
        lambda x: x + tf.random.normal(tf.shape(x), stddev=NOISE),
    )


def image_data_generator_numpy(images: np.ndarray, batch_size: int) -> Batches:
    """Keras' own class, with noise by NumPy, which is faster on it."""
    rng = np.random.default_rng(0)
    return _image_data_generator(
        images,
        batch_size,
        lambda x: x + NOISE * rng.standard_normal(x.shape, np.float32),
    )


def keras_layers(images: np.ndarray, batch_size: int) -> Batches:
    """Keras' Random* layers and GaussianNoise, batched in tf.data."""
    layers = keras.layers
    steps = [
        layers.Rescaling(1 / 255),
        layers.RandomRotation(ROTATION / 360, fill_mode="nearest"),
        layers.RandomTranslation(SHIFT, SHIFT, fill_mode="nearest"),
        layers.RandomZoom(ZOOM, ZOOM, fill_mode="nearest"),
    ]

    def augment(batch: tf.Tensor) -> tf.Tensor:
        batch = tf.cast(batch, tf.float32)
        for step in steps:
            batch = step(batch, training=True)
        # keras.layers.GaussianNoise fails in a tf.data map (Keras 3).
        return batch + tf.random.normal(tf.shape(batch), stddev=NOISE)

    return mapped(images, batch_size, augment)


def projective_transform(images: np.ndarray, batch_size: int) -> Batches:
    """TensorFlow's own warp operation and a stateless normal."""

    def augment(batch: tf.Tensor) -> tf.Tensor:
        count, size = batch_size, images.shape[1]
        low = [-ROTATION, -SHIFT * size, -SHIFT * size, -SHEAR, 1 - ZOOM]
        high = [ROTATION, SHIFT * size, SHIFT * size, SHEAR, 1 + ZOOM]
        drawn = tf.random.uniform([count, 5])
        drawn = drawn * (np.float32(high) - low) + np.float32(low)
        theta, sigma = drawn[:, 0] * np.pi / 180, drawn[:, 3] * np.pi / 180
        zoom, half = drawn[:, 4], (size - 1) / 2
        a, b = zoom * tf.cos(theta), -zoom * tf.sin(theta + sigma)
        c, d = zoom * tf.sin(theta), zoom * tf.cos(theta + sigma)
        x = drawn[:, 1] + half - a * half - b * half
        y = drawn[:, 2] + half - c * half - d * half
        zero = tf.zeros_like(a)
        moved = tf.raw_ops.ImageProjectiveTransformV3(
            images=tf.cast(batch, tf.float32) / 255,
            transforms=tf.stack([a, b, x, c, d, y, zero, zero], axis=1),
            output_shape=images.shape[1:3],
            interpolation="BILINEAR",
            fill_mode="NEAREST",
            fill_value=0.0,
        )
        seed = tf.random.uniform([2], maxval=2**31 - 1, dtype=tf.int32)
        return moved + tf.random.stateless_normal(
            tf.shape(moved), seed, stddev=NOISE
        )

    return mapped(images, batch_size, augment)


def mapped(images: np.ndarray, batch_size: int, augment: Callable) -> Batches:
    """Batches of shuffled pictures, augmented in parallel by tf.data."""
    dataset = tf.data.Dataset.from_tensor_slices(images)
    dataset = dataset.shuffle(len(images)).repeat()
    dataset = dataset.batch(batch_size, drop_remainder=True)
    dataset = dataset.map(augment, num_parallel_calls=tf.data.AUTOTUNE)
    return iter(dataset.prefetch(tf.data.AUTOTUNE))


def albumentations(images: np.ndarray, batch_size: int) -> Batches:
    """Albumentations, picture by picture in one process, its usual way."""
    import albumentations as a
    import cv2

    augment = a.Compose(
        [
            a.Affine(
                rotate=(-ROTATION, ROTATION),
                translate_percent=(-SHIFT, SHIFT),
                shear=(-SHEAR, SHEAR),
                scale=(1 - ZOOM, 1 + ZOOM),
                border_mode=cv2.BORDER_REPLICATE,
                p=1,
            ),
            a.GaussNoise(std_range=(NOISE, NOISE), p=1),
        ]
    )
    rng = np.random.default_rng(0)
    while True:
        rows = rng.integers(0, len(images), batch_size)
        yield np.stack(
            [
                augment(image=images[row].astype(np.float32) / 255)["image"]
                for row in rows
            ]
        )


# By the package that each needs, TensorFlow and Keras being here anyway.
CANDIDATES: dict[str, tuple[str, Candidate]] = {
    "mnistpipe": ("tensorflow", ours),
    "ImageDataGenerator, recipe 1": ("keras", image_data_generator),
    "ImageDataGenerator, NumPy noise": ("keras", image_data_generator_numpy),
    "Keras layers": ("keras", keras_layers),
    "ImageProjectiveTransformV3": ("tensorflow", projective_transform),
    "albumentations": ("albumentations", albumentations),
    "kornia": ("kornia", kornia),
}
