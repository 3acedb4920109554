"""What is checked before computing: shapes, keys, ranges, dataset elements.

Each error is one line that says what was expected and what was received.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from mnistpipe.pipeline import ops
from mnistpipe.pipeline.transform import Range, Transform

UINT8_RANGE: Range = (0.0, 255.0)
# Two ranges differ for certain if one is this many times as wide.
_FACTOR = 8.0


def check_ranks(images: Any, masks: Any) -> int:
    """Returns the pictures' rank: 4, or 3 for a single picture.

    Raises:
      ValueError: pictures or masks have another rank.
    """
    pictures = tf.nest.flatten(images)
    if not pictures:
        raise ValueError("Expected at least one picture. Received: none")
    rank = pictures[0].shape.rank
    rank = rank if rank in (3, 4) else 4
    for image in pictures:
        _check_rank("pictures", image, rank)
    for mask in tf.nest.flatten(masks):
        _check_rank("masks", mask, rank - 1, rank)
    return rank


def _check_rank(name: str, tensor: tf.Tensor, *ranks: int) -> None:
    if tensor.shape.rank in ranks:
        return
    hint = ""
    if name == "pictures" and tensor.shape.rank == 2:
        hint = "; add the axis of channels with pictures[..., None]"
    raise ValueError(
        f"Expected {name} of shape [batch, height, width, channels], or one "
        "without the batch; masks may lack the channels. Received: "
        f"{tensor.shape}{hint}"
    )


def check_sizes(
    transforms: Sequence[Transform], tensors: list[tf.Tensor], rank: int
) -> None:
    """Raises ValueError if a field of draws cannot suit all tensors."""
    per_pixel = [step for step in transforms if step.drawn_per_pixel]
    sizes = [tensor.shape[rank - 3 : rank - 1] for tensor in tensors]
    if per_pixel and not all(
        size.is_compatible_with(sizes[0]) for size in sizes
    ):
        raise ValueError(
            "Expected pictures and masks of one height and width, since "
            f"{type(per_pixel[0]).__name__} draws for every pixel. Received: "
            f"{', '.join(str(size) for size in sizes)}"
        )


def check_keys(
    transforms: Sequence[Transform], keys: Any, image: tf.Tensor
) -> tf.Tensor:
    """Returns the keys as a tensor that has a key for each picture.

    Raises:
      ValueError: the keys are missing, or have another dtype or shape.
    """
    if keys is None:
        names = ", ".join(
            type(step).__name__ for step in transforms if step.needs_keys
        )
        raise ValueError(
            f"Expected keys, since {names} draw(s) by them. Received: none. "
            "Make them with example_keys(seed, epoch, index), or let "
            "host_dataset or augmented_dataset do so."
        )
    if ops.is_jax(image):
        return _check_jax_keys(keys, (*image.shape[:-3], 2))
    keys = tf.convert_to_tensor(keys)
    expected = (*image.shape[:-3], 2)
    if keys.dtype == tf.uint32 and keys.shape.is_compatible_with(expected):
        return keys
    counts = keys.shape.rank == 2 and keys.shape[0] == image.shape[0]
    if image.shape.rank == 3 and counts:
        raise ValueError(
            "Expected pictures of shape [batch, height, width, channels], "
            f"since there are keys of shape {keys.shape}. Received: "
            f"{image.shape}; add the axis that is missing, such as the "
            "channels with pictures[..., None]"
        )
    raise ValueError(
        f"Expected keys of dtype uint32 and shape {expected}, one per "
        f"picture. Received: {keys.dtype.name} {keys.shape}"
    )


def _check_jax_keys(keys: Any, expected: tuple[int, ...]) -> Any:
    if ops.is_jax(keys) and keys.dtype == np.uint32 and keys.shape == expected:
        return keys
    raise ValueError(
        f"Expected keys as a JAX array of uint32 and shape {expected}, one "
        f"per picture. Received: {type(keys).__name__} of shape "
        f"{np.shape(keys)}"
    )


def check_jax(transforms: Sequence[Transform], together: bool) -> None:
    """Raises ValueError for what a JAX program cannot compute.

    Args:
      transforms: in order.
      together: whether neighbours share one resampling.
    """
    for step in transforms:
        if not step.runs_in_jax:
            raise ValueError(
                f"Expected transforms that run inside a JAX program. "
                f"Received: {type(step).__name__}, which needs TensorFlow: "
                "augment in tf.data, or set KERAS_BACKEND=tensorflow"
            )
    if together:
        names = ", ".join(type(step).__name__ for step in transforms)
        raise ValueError(
            "Expected geometric transforms that are not neighbours inside a "
            f"JAX program. Received: {names}"
        )


def range_of(images: Any) -> Range | None:
    """Black and white of pictures, as far as they can be seen.

    Args:
      images: a tensor or an array. The values of float pictures are seen
        only outside of a graph.
    """
    dtype = tf.as_dtype(images.dtype)
    if dtype == tf.uint8:
        return UINT8_RANGE
    if not dtype.is_floating or tf.is_symbolic_tensor(images):
        return None
    values = np.asarray(images)
    largest = float(values.max(initial=0.0))
    if not 0.0 < largest < np.inf:
        return None
    if largest <= 1.0:
        return (0.0, 1.0)
    return (0.0, max(largest, UINT8_RANGE[1]))


def warn_of_ranges(
    transforms: Sequence[Transform], given: Range | None
) -> None:
    """Warns of a value_range that is not that of the pictures.

    Args:
      transforms: in order.
      given: black and white of the pictures. None says that they are
        unknown; then 0 to 255 is assumed from a Rescale on.
    """
    known = given is not None
    given = given or UINT8_RANGE
    for step in transforms:
        expected = step.expected_range
        if known and given and expected and _differ(expected, given):
            warnings.warn(
                f"Expected pictures with values in {expected}, the "
                f"value_range of {type(step).__name__}. Received: values in "
                f"about ({given[0]:g}, {given[1]:g}); set value_range",
                stacklevel=4,
            )
        before, given = given, step.range_after(given)
        known = known or given != before


def _differ(expected: Range, given: Range) -> bool:
    ratio = (expected[1] - expected[0]) / (given[1] - given[0] or 1.0)
    return ratio >= _FACTOR or ratio <= 1 / _FACTOR


# How XLA names an operation for which it has no kernel.
_UNSUPPORTED = re.compile(r"(\w+) \(No registered")


def not_compiled(
    transforms: Sequence[Transform], error: Exception
) -> ValueError | None:
    """The error to raise if XLA cannot compile an operation, else None."""
    message = str(error)
    if "unsupported operation" not in message:
        return None
    names = ", ".join(sorted(set(_UNSUPPORTED.findall(message)))) or "another"
    steps = ", ".join(foreign(transforms) or map(_class_name, transforms))
    return ValueError(
        "Expected transforms made of operations that XLA can compile. "
        f"Received: {names} in {steps}"
    )


def foreign(transforms: Sequence[Transform]) -> list[str]:
    """Returns the names of the transforms that hold code of the user's own."""
    package = __name__.rpartition(".")[0]
    names = []
    for step in transforms:
        own_class = not type(step).__module__.startswith(f"{package}.")
        if own_class or hasattr(step, "function"):  # of Apply
            names.append(_class_name(step))
        names += foreign(getattr(step, "transforms", ()))  # of a Choice
    return names


def _class_name(step: Transform) -> str:
    return type(step).__name__


def check_pictures(images: Any) -> None:
    """Checks that arrays hold pictures [N, H, W, C].

    Raises:
      ValueError: an array has another rank.
    """
    for image in tf.nest.flatten(images):
        rank = image.shape.rank
        hint = "; add the channels with images[..., None]" if rank == 3 else ""
        if rank != 4:
            raise ValueError(
                "Expected pictures of shape [count, height, width, channels]"
                f". Received: {image.shape}{hint}"
            )


def check_elements(spec: Any, masks: bool | None) -> None:
    """Checks the elements of a dataset that is to be augmented.

    Args:
      spec: the dataset's element_spec.
      masks: whether the second member is a mask; None if the caller did not
        say.

    Raises:
      ValueError: the first member is not a single picture, a mask is missing,
        or the second member may be a mask and ``masks`` is None.
    """
    members = spec if isinstance(spec, tuple) else (spec,)
    needed = members[: 2 if masks else 1]
    if not all(isinstance(m, tf.TensorSpec) for m in needed) or (
        masks and len(members) < 2
    ):
        raise ValueError(
            "Expected elements that are pictures, or tuples of a picture, "
            f"{'its mask ' if masks else ''}and the rest. Received: {spec}"
        )
    picture = members[0].shape
    if picture.rank not in (3, None):
        hints = {
            2: "; add the channels with picture[..., None]",
            4: "; batches are made here: call unbatch() before",
        }
        raise ValueError(
            "Expected single pictures of shape [height, width, channels]. "
            f"Received: {picture}{hints.get(picture.rank, '')}"
        )
    if masks is None and len(members) > 1 and _may_be_mask(picture, members[1]):
        raise ValueError(
            "Expected masks=True to move the second member with its picture, "
            "or masks=False to leave it. Received: neither, and a second "
            f"member of the picture's height and width, {members[1].shape}"
        )


def _may_be_mask(picture: tf.TensorShape, member: Any) -> bool:
    if not isinstance(member, tf.TensorSpec) or picture.rank is None:
        return False
    shape = member.shape
    return shape.rank in (2, 3) and shape[:2].is_compatible_with(picture[:2])
