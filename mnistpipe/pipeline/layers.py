"""The pipeline as Keras layers: in a model, or in front of one.

Import this module before you load a model that holds an ``Augment``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mnistpipe.pipeline import draws, ops, saving
from mnistpipe.pipeline.compose import Compose
from mnistpipe.pipeline.transform import Transform

# Each replica of a distributed model counts the same steps, so the first
# replica's count serves all. Keras 2 expects TensorFlow's enumeration.
_FIRST_REPLICA = (
    "only_first_replica"
    if hasattr(keras, "Variable")
    else tf.VariableAggregation.ONLY_FIRST_REPLICA
)

_BACKENDS = ("tensorflow", "jax")


def _check_backend() -> None:
    if keras.backend.backend() not in _BACKENDS:
        raise ValueError(
            f"Expected Keras' backend to be {' or '.join(_BACKENDS)}, in which "
            f"the pipeline is written. Received: {keras.backend.backend()}"
        )


def _in_jax() -> bool:
    return keras.backend.backend() == "jax"


@keras.saving.register_keras_serializable(package="mnistpipe")
class Augment(keras.layers.Layer):
    """A pipeline as a layer of a model; pictures are new at every step.

        model = keras.Sequential([
            keras.Input((28, 28, 1), dtype="uint8"),
            Augment([RandomAffine(rotation=10), Rescale(1 / 255)], seed=1),
            ...
        ])

    During training every call counts as a step, and the pictures' keys are
    ``example_keys(seed, step, place in the batch)``. The count is a weight,
    saved and loaded with the others. Outside of training only the
    transforms that draw nothing are applied, such as Rescale. Everything
    compiles with XLA, so the model may keep ``jit_compile``. A parallel
    ``tf.data`` map would increase the count in any order: pass ``keys``
    there, or use ``augmented_dataset``. Under JAX a ``tf.data`` map needs
    keys, since TensorFlow cannot count in a variable of JAX.

    Give every layer of a model its own seed: two layers with the same seed
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
        self.augment = Compose.of(augment)
        self._evaluate = self.augment.deterministic()
        self._seed = draws.check_seed(seed)
        self._step = self.add_weight(
            name="step",
            shape=(),
            # JAX has no int64 unless its users switch it on.
            dtype="int32" if _in_jax() else "int64",
            initializer="zeros",
            trainable=False,
            aggregation=_FIRST_REPLICA,
        )

    def __call__(self, images: Any, *args: Any, **kwargs: Any) -> Any:
        """Calls the layer; within tf.data also under JAX."""
        if _in_jax() and tf.is_symbolic_tensor(images):
            # Keras would convert TensorFlow's tensors to JAX' arrays.
            return self.call(images, *args, **kwargs)
        return super().__call__(images, *args, **kwargs)

    def call(
        self,
        images: tf.Tensor,
        keys: tf.Tensor | None = None,
        training: bool | None = None,
        masks: Any = None,
    ) -> Any:
        """Augments a batch or a single picture.

        Args:
          images: [B, H, W, C] or one picture [H, W, C], uint8 or float.
          keys: uint32[B, 2] (for one picture uint32[2]), to draw by these
            and count no step.
          training: whether to draw at all.
          masks: [B, H, W, C] or [B, H, W] (for one picture without B), or a
            structure of such; they move with their pictures.

        Returns:
          Pictures of the pipeline's dtype, which is float32 by default;
          with masks, (pictures, masks).

        Raises:
          ValueError: keys are missing in a tf.data map under JAX.
        """
        _check_channels(images.shape)
        if not training:
            return self._evaluate(images, masks=masks)
        if keys is None and self.augment.needs_keys:
            single = len(images.shape) == 3
            if _in_jax() and not ops.is_jax(images):
                raise ValueError(
                    "Expected keys for pictures in a tf.data map under JAX. "
                    "Received: no keys"
                )
            if _in_jax():
                keys = self._next_jax_keys(images.shape[0])
            else:
                count = 1 if single else tf.shape(images, tf.int64)[0]
                keys = self._next_keys(count)
            keys = keys[0] if single else keys
        return self.augment(images, keys, masks=masks)

    def _next_keys(self, batch_size: tf.Tensor | int) -> tf.Tensor:
        step = tf.identity(tf.convert_to_tensor(self._step))
        self._step.assign_add(1)
        # A replica's places in the batch follow those of the replica before.
        replica = tf.distribute.get_replica_context()
        number = replica.replica_id_in_sync_group if replica else 0
        place = tf.range(tf.cast(batch_size, tf.int64))
        place = tf.cast(number, tf.int64) * 2**32 + place
        return draws.example_keys(self._seed, step, place)

    def _next_jax_keys(self, batch_size: int) -> Any:
        step = self._step.value
        self._step.assign_add(1)
        place = ops.of(step).range(batch_size)
        return draws.example_keys(self._seed, step, place)

    def compute_output_shape(
        self, input_shape: tuple[int | None, ...], *args: Any
    ) -> tuple[int | None, ...]:
        """The shape of the pipeline's pictures."""
        del args
        return _output_shape(self.augment, input_shape)

    def compute_output_spec(
        self,
        images: keras.KerasTensor,
        keys: keras.KerasTensor | None = None,
        training: bool | None = None,
        masks: Any = None,
    ) -> Any:
        """Keras 3 takes shape and dtype from here, not from the inputs."""
        del keys, training
        _check_channels(images.shape)
        shape = _output_shape(self.augment, images.shape)
        pictures = keras.KerasTensor(shape, dtype=self.augment.dtype)
        if masks is None:
            return pictures
        height_width = shape[-3:-1]

        def moved(mask: keras.KerasTensor) -> keras.KerasTensor:
            before = len(shape) - 3  # the axes before the height
            rest = mask.shape[before + 2 :]
            return keras.KerasTensor(
                (*mask.shape[:before], *height_width, *rest), dtype=mask.dtype
            )

        return pictures, tf.nest.map_structure(moved, masks)

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


def _check_channels(shape: Sequence[int | None]) -> None:
    """Raises ValueError for a batch of pictures without channels."""
    if len(shape) == 3 and shape[0] is None and shape[1] is not None:
        raise ValueError(
            "Expected pictures of shape [batch, height, width, channels]. "
            f"Received: {tuple(shape)}; add the channels as a last axis"
        )


# Stand-ins for a side that is unknown: a result that is the same for both
# does not depend on that side.
_SIDES = (2**15, 2**15 + 1)


def _output_shape(
    augment: Compose, shape: Sequence[int | None]
) -> tuple[int | None, ...]:
    shape = tuple(shape)
    height, width, channels = shape[-3:]
    results = [
        augment.output_shape(
            (
                side if height is None else height,
                side if width is None else width,
                side if channels is None else channels,
            )
        )
        for side in _SIDES
    ]
    sizes = [
        one if one == other else None
        for one, other in zip(*results, strict=True)
    ]
    return *shape[:-3], *sizes


class Resident(keras.layers.Layer):
    """Pictures that lie on the device, gathered and augmented there.

        index = keras.Input((), dtype="int64")
        key = keras.Input((2,), dtype="uint32")
        pictures = Resident(images, augment)([index, key])
        trainer = keras.Model([index, key], network(pictures))

    The pictures are one tensor per device, made once, and each replica of a
    distributed model reads its own. Under JAX the pictures are a weight,
    because a compiled step receives only weights and batches, and the index
    is int32. The pictures are never saved: save the network instead.

    Args:
      images: uint8 or float [N, H, W, C].
      augment: what is done to a batch during training: a Compose, a
        transform or a list. Outside of training only the transforms that
        draw nothing are applied.
      devices: names such as "GPU:0", in the order of the replicas. Without
        names TensorFlow places the tensor. JAX ignores the names.

    Raises:
      ValueError: Keras' backend is PyTorch, or a transform does not run
        inside a JAX program.
    """

    def __init__(
        self,
        images: np.ndarray,
        augment: Compose | Transform | Sequence[Transform],
        devices: Sequence[str] = (),
    ) -> None:
        _check_backend()
        super().__init__(trainable=False, name="resident")
        self._augment = Compose.of(augment)
        self._evaluate = self._augment.deterministic()
        # A tuple, because Keras would wrap a list. A compiled step captures
        # the tensors; they are not constants of its program.
        if _in_jax():
            self._augment.check_jax()
            self._copies = (self._add_images(images),)
        else:
            self._copies = tuple(_copy(images, d) for d in devices or (None,))

    def _add_images(self, images: np.ndarray) -> Any:
        """The pictures as a weight, which a step takes and hands on."""
        return self.add_weight(
            name="images",
            shape=images.shape,
            dtype=images.dtype.name,
            initializer=lambda shape, dtype: images,
            trainable=False,
            autocast=False,
        )

    def save_own_variables(self, store: Any) -> None:
        """Saves nothing: the pictures belong to the data."""

    def load_own_variables(self, store: Any) -> None:
        """Loads nothing, since nothing was saved."""

    def call(
        self, inputs: list[tf.Tensor], training: bool | None = None
    ) -> tf.Tensor:
        """(index int64[b], key uint32[b, 2]) → pictures [b, H, W, C]."""
        index, key = inputs
        if _in_jax():
            images = ops.of(index).gather(self._copies[0].value, index)
        else:
            images = tf.gather(self._copies[_replica()], index)
        if training:
            return self._augment(images, key)
        return self._evaluate(images)

    def compute_output_shape(
        self, input_shape: list[tuple[int | None, ...]]
    ) -> tuple[int | None, ...]:
        """[b, H, W, C]."""
        shape = (input_shape[0][0], *self._copies[0].shape[1:])
        return _output_shape(self._augment, shape)

    def compute_output_spec(
        self, inputs: list[keras.KerasTensor], training: bool | None = None
    ) -> keras.KerasTensor:
        """Keras 3 takes the dtype from here, not from the index."""
        shape = self.compute_output_shape([x.shape for x in inputs])
        return keras.KerasTensor(shape, dtype=self._augment.dtype)


def _copy(images: np.ndarray, device: str | None) -> tf.Tensor:
    with tf.device(device):
        return tf.constant(images)


def _replica() -> int:
    """The number of the replica that is called; 0 without a strategy.

    TensorFlow's strategies call a model once for each device, so the number
    is known in Python.
    """
    context = tf.distribute.get_replica_context()
    number = context.replica_id_in_sync_group if context else 0
    return int(tf.get_static_value(number))
