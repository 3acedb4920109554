"""Endless batches in tf.data: mnistpipe and Keras' layers, per workload.

Each maker takes uint8 pictures [N, H, W, C] and a batch size, and gives an
iterator over batches, float32 [B, H, W, C] in [0, 1]. tf.data uses all cores.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import benchmark_peers
import benchmark_pictures as given
import keras
import numpy as np
import tensorflow as tf

from mnistpipe import pipeline

Batches = benchmark_peers.Batches


def _ours(*transforms: pipeline.Transform) -> Callable[..., Batches]:
    def make(images: np.ndarray, batch_size: int) -> Batches:
        stream = pipeline.Stream(len(images), batch_size, drop_remainder=True)
        labels = np.zeros(len(images), np.int64)
        augment = [*transforms, pipeline.Rescale(1 / 255)]
        return iter(
            pipeline.host_dataset(images, labels, stream, augment, stop=10**9)
        )

    return make


def _layers(
    steps: Callable[[int], Sequence[keras.layers.Layer]],
) -> Callable[..., Batches]:
    def make(images: np.ndarray, batch_size: int) -> Batches:
        made = [*steps(images.shape[1]), keras.layers.Rescaling(1 / 255)]

        def augment(batch: tf.Tensor) -> tf.Tensor:
            batch = tf.cast(batch, tf.float32)
            for step in made:
                batch = step(batch, training=True)
            return batch

        return benchmark_peers.mapped(images, batch_size, augment)

    return make


def crop(images: np.ndarray, batch_size: int) -> Batches:
    """mnistpipe: resized crop, flip and colour jitter."""
    jitter = (given.JITTER,) * 3
    return _ours(
        pipeline.RandomResizedCrop(images.shape[1]),
        pipeline.RandomAffine(horizontal_flip=True),
        pipeline.ColorJitter(*jitter, given.HUE),
    )(images, batch_size)


def rand_augment(images: np.ndarray, batch_size: int) -> Batches:
    """mnistpipe: RandAugment."""
    return _ours(pipeline.RandAugment(given.OPERATIONS, given.MAGNITUDE))(
        images, batch_size
    )


def _crop_layers(size: int) -> list[keras.layers.Layer]:
    layers = keras.layers
    return [
        # Keras has no resized crop; a zoom into the picture comes closest.
        layers.RandomZoom((-0.7, 0.0), (-0.7, 0.0)),
        layers.RandomFlip("horizontal"),
        layers.RandomColorJitter(
            brightness_factor=given.JITTER,
            contrast_factor=given.JITTER,
            saturation_factor=(0.3, 0.7),
            hue_factor=given.HUE,
        ),
    ]


def _rand_augment_layers(size: int) -> list[keras.layers.Layer]:
    level = given.MAGNITUDE / 30
    return [keras.layers.RandAugment(num_ops=given.OPERATIONS, factor=level)]


MAKERS: dict[str, dict[str, Callable[..., Batches]]] = {
    "recipe 1": {
        "mnistpipe": benchmark_peers.ours,
        "Keras layers": benchmark_peers.keras_layers,
        "ImageProjectiveTransformV3": benchmark_peers.projective_transform,
    },
    "crop, flip, jitter": {
        "mnistpipe": crop,
        "Keras layers": _layers(_crop_layers),
    },
    "RandAugment": {
        "mnistpipe": rand_augment,
        "Keras layers": _layers(_rand_augment_layers),
    },
}
