"""Different operations for different pictures, in one compiled program.

XLA has no operation that differs within a batch. Computing every operation
for every picture and selecting one of the results would cost as many times
more as there are operations. So a loop takes one picture after the other and
branches to the operations that were chosen for that picture. Other batches
are other trip counts of the same loop, so they cannot change a bit.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

# (float32 [1, H, W, C], parameters [1, ...]) → float32 [1, H, W, C].
Operation = Callable[[tf.Tensor, Any], tf.Tensor]


def apply_steps(
    images: tf.Tensor,
    choice: tf.Tensor,
    parameters: Any,
    operations: Sequence[Operation],
) -> tf.Tensor:
    """Applies to each picture the operations that are chosen for it.

    Args:
      images: float32 [B, H, W, C].
      choice: int32[B, S], the places of each picture's S steps among
        ``operations``.
      parameters: a tensor [B, S, ...] or a structure of such: what the
        operation of each step is given.
      operations: of which each keeps the picture's shape.

    Returns:
      float32 [B, H, W, C].
    """
    shape = images.shape[1:]
    signature = tf.TensorSpec(shape, tf.float32)
    count = choice.shape[1]
    if count == 0:
        return images

    def all_steps(example: tuple[tf.Tensor, tf.Tensor, Any]) -> tf.Tensor:
        picture, chosen, given = example

        def one_step(step: tf.Tensor, image: tf.Tensor) -> Any:
            now = tf.nest.map_structure(lambda p: p[step][None], given)
            branches = [functools.partial(f, image, now) for f in operations]
            result = tf.switch_case(chosen[step], branches)
            return step + 1, tf.ensure_shape(result, image.shape)

        _, picture = tf.while_loop(
            lambda step, _: step < count,
            one_step,
            (tf.constant(0), picture[None]),
            shape_invariants=(tf.TensorShape([]), tf.TensorShape([1, *shape])),
            maximum_iterations=count,
        )
        return picture[0]

    examples = (images, choice, parameters)
    if images.shape[0]:
        return tf.map_fn(all_steps, examples, fn_output_signature=signature)
    # XLA cannot slice an empty batch, so an empty one gets an example.
    number = tf.shape(images)[0]
    missing = tf.maximum(0, 1 - number)  # a constant to XLA

    def filled(batch: tf.Tensor) -> tf.Tensor:
        size = tf.concat([[missing], tf.shape(batch)[1:]], axis=0)
        return tf.concat([batch, tf.zeros(size, batch.dtype)], axis=0)

    examples = tf.nest.map_structure(filled, examples)
    changed = tf.map_fn(all_steps, examples, fn_output_signature=signature)
    return changed[:number]
