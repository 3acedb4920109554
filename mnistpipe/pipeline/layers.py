"""The pipeline as Keras layers."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from mnistpipe.pipeline.transform import Compose


class Resident(keras.layers.Layer):
    """Pictures that lie on the device, gathered and augmented there.

        index = keras.Input((), dtype="int64")
        key = keras.Input((2,), dtype="uint32")
        pictures = Resident(images, augment)([index, key])
        trainer = keras.Model([index, key], network(pictures))

    The pictures are one tensor, made once; they are neither a weight nor
    saved: save the network instead.

    Args:
      images: uint8 or float [N, H, W, C].
      augment: what is done to a batch when training; otherwise only its
        transforms that draw nothing are.
    """

    def __init__(self, images: np.ndarray, augment: Compose) -> None:
        super().__init__(trainable=False, name="resident")
        self._augment = augment
        self._evaluate = augment.deterministic()
        self._images = tf.constant(images)

    def call(
        self, inputs: list[tf.Tensor], training: bool | None = None
    ) -> tf.Tensor:
        """(index int64[b], key uint32[b, 2]) → pictures [b, H, W, C]."""
        index, key = inputs
        images = tf.gather(self._images, index)
        if training:
            return self._augment(images, key)
        return self._evaluate(images)

    def compute_output_shape(
        self, input_shape: list[tuple[int | None, ...]]
    ) -> tuple[int | None, ...]:
        """[b, H, W, C]."""
        return (input_shape[0][0], *self._images.shape[1:])

    def compute_output_spec(
        self, inputs: list[keras.KerasTensor], training: bool | None = None
    ) -> keras.KerasTensor:
        """Keras 3 takes the dtype from here: not the index' integers."""
        shape = self.compute_output_shape([x.shape for x in inputs])
        return keras.KerasTensor(shape, dtype=self._augment.dtype)
