"""The pipeline as Keras layers: in a model, or in front of one.

Import this module before loading a model that holds an ``Augment``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mnistpipe.pipeline import draws, saving
from mnistpipe.pipeline.transform import Compose, Transform

# Each replica of a distributed model makes the same step, and any one's
# count is everybody's. Keras 2 wants TensorFlow's enumeration.
_FIRST_REPLICA = (
    "only_first_replica"
    if hasattr(keras, "Variable")
    else tf.VariableAggregation.ONLY_FIRST_REPLICA
)


def _check_backend() -> None:
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "Expected Keras to run on TensorFlow, which the pipeline is "
            f"made of. Received: {keras.backend.backend()}"
        )


@keras.saving.register_keras_serializable(package="mnistpipe")
class Augment(keras.layers.Layer):
    """A pipeline as a layer of a model; pictures are new at every step.

        model = keras.Sequential([
            keras.Input((28, 28, 1), dtype="uint8"),
            Augment([RandomAffine(rotation=10), Rescale(1 / 255)], seed=1),
            ...
        ])

    When training, every call counts as a step, and the pictures' keys are
    ``example_keys(seed, step, place in the batch)``. The count is a weight,
    saved and loaded with the others. Otherwise only the transforms that
    draw nothing are applied, such as Rescale. Everything compiles with XLA,
    so the model may keep ``jit_compile``. In a parallel ``tf.data`` map the
    count is a race: pass ``keys`` there, or use ``augmented_dataset``.

    Give every layer of a model a seed of its own: two with the same one
    draw alike.

    Args:
      augment: a Compose, a transform, or several in order.
      seed: in [0, 2**63).
      **kwargs: Keras' own (name, ...).
    """

    def __init__(
        self,
        augment: Compose | Transform | Sequence[Transform],
        *,
        seed: int,
        **kwargs: Any,
    ) -> None:
        _check_backend()
        # Pictures keep their precision under a mixed precision policy.
        super().__init__(autocast=False, **kwargs)
        if isinstance(augment, Transform):
            augment = [augment]
        if not isinstance(augment, Compose):
            augment = Compose(augment)
        self.augment = augment
        self._evaluate = augment.deterministic()
        self._seed = draws.check_seed(seed)
        self._step = self.add_weight(
            name="step",
            shape=(),
            dtype="int64",
            initializer="zeros",
            trainable=False,
            aggregation=_FIRST_REPLICA,
        )

    def call(
        self,
        images: tf.Tensor,
        keys: tf.Tensor | None = None,
        training: bool | None = None,
    ) -> tf.Tensor:
        """Augments a batch.

        Args:
          images: [B, H, W, C], uint8 or float.
          keys: uint32[B, 2], to draw by these and count no step.
          training: whether to draw at all.

        Returns:
          [B, H, W, C] of the pipeline's dtype, float32 if not told.
        """
        if not training:
            return self._evaluate(images)
        if keys is None and self.augment.needs_keys:
            keys = self._next_keys(tf.shape(images, tf.int64)[0])
        return self.augment(images, keys)

    def _next_keys(self, batch_size: tf.Tensor) -> tf.Tensor:
        step = tf.identity(tf.convert_to_tensor(self._step))
        self._step.assign_add(1)
        # A replica's places in the batch follow on from the one's before.
        replica = tf.distribute.get_replica_context()
        number = replica.replica_id_in_sync_group if replica else 0
        place = tf.cast(number, tf.int64) * 2**32 + tf.range(batch_size)
        return draws.example_keys(self._seed, step, place)

    def compute_output_shape(
        self, input_shape: tuple[int | None, ...], *args: Any
    ) -> tuple[int | None, ...]:
        """The pictures' own."""
        del args
        return tuple(input_shape)

    def compute_output_spec(
        self,
        images: keras.KerasTensor,
        keys: keras.KerasTensor | None = None,
        training: bool | None = None,
    ) -> keras.KerasTensor:
        """Keras 3 takes the dtype from here: not that of uint8 pictures."""
        return keras.KerasTensor(images.shape, dtype=self.augment.dtype)

    def get_config(self) -> dict[str, Any]:
        """The pipeline and the seed, beside Keras' own."""
        config = super().get_config()
        config["augment"] = saving.to_config(self.augment)
        config["seed"] = self._seed
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Augment:
        """The layer that ``get_config`` described."""
        augment = saving.from_config(config["augment"])
        return super().from_config({**config, "augment": augment})


class Resident(keras.layers.Layer):
    """Pictures that lie on the device, gathered and augmented there.

        index = keras.Input((), dtype="int64")
        key = keras.Input((2,), dtype="uint32")
        pictures = Resident(images, augment)([index, key])
        trainer = keras.Model([index, key], network(pictures))

    The pictures are one tensor per device, made once, and each replica of a
    distributed model reads its own. They are neither a weight nor saved:
    save the network instead.

    Args:
      images: uint8 or float [N, H, W, C].
      augment: what is done to a batch when training; otherwise only its
        transforms that draw nothing are.
      devices: names such as "GPU:0", in the order of the replicas; where
        TensorFlow puts a tensor by itself if none.
    """

    def __init__(
        self,
        images: np.ndarray,
        augment: Compose,
        devices: Sequence[str] = (),
    ) -> None:
        _check_backend()
        super().__init__(trainable=False, name="resident")
        self._augment = augment
        self._evaluate = augment.deterministic()
        # A tuple, which Keras leaves alone. In a step a capture, neither a
        # constant of the program nor an input of its batches.
        self._copies = tuple(_copy(images, d) for d in devices or (None,))

    def call(
        self, inputs: list[tf.Tensor], training: bool | None = None
    ) -> tf.Tensor:
        """(index int64[b], key uint32[b, 2]) → pictures [b, H, W, C]."""
        index, key = inputs
        images = tf.gather(self._copies[_replica()], index)
        if training:
            return self._augment(images, key)
        return self._evaluate(images)

    def compute_output_shape(
        self, input_shape: list[tuple[int | None, ...]]
    ) -> tuple[int | None, ...]:
        """[b, H, W, C]."""
        return (input_shape[0][0], *self._copies[0].shape[1:])

    def compute_output_spec(
        self, inputs: list[keras.KerasTensor], training: bool | None = None
    ) -> keras.KerasTensor:
        """Keras 3 takes the dtype from here: not the index' integers."""
        shape = self.compute_output_shape([x.shape for x in inputs])
        return keras.KerasTensor(shape, dtype=self._augment.dtype)


def _copy(images: np.ndarray, device: str | None) -> tf.Tensor:
    with tf.device(device):
        return tf.constant(images)


def _replica() -> int:
    """Which replica of a distributed model is called; else the first.

    A strategy of TensorFlow's that trains on several devices calls a model
    once for each, so the number is known then and not an op.
    """
    context = tf.distribute.get_replica_context()
    number = context.replica_id_in_sync_group if context else 0
    return int(tf.get_static_value(number))
