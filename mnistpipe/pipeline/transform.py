"""What a transform is.

A transform is a frozen dataclass with two methods: ``draw`` makes the random
parameters of a batch, ``apply`` uses them. ``compose.Compose`` calls both in
one program that XLA compiles. Pictures are ``[B, H, W, C]``, uint8 or float.
They become float32 in the first transform that computes with them, and their
range of values stays as it is (0 to 255 until a Rescale).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from mnistpipe.pipeline import draws, ops, warp

# Tensors by name. A transform that holds others nests their dicts.
Drawn = dict[str, Any]
Shape = tuple[warp.Size, warp.Size, warp.Size]
Range = tuple[float, float]

_APPLIED = "applied"


@dataclasses.dataclass(frozen=True, repr=False)
class Transform:
    """One step of an augmentation; subclass it to write your own.

    A subclass is a frozen dataclass. It overrides ``apply``, and ``draw`` if
    it is random. A subclass that moves pixels overrides ``apply_to_mask``
    too; any other sets ``moves_pixels = False``, or masks are refused. A
    subclass that changes the pictures' shape overrides ``output_shape``.

    Attributes:
      probability: the probability, per example, that the example is
        transformed at all.
    """

    # Whether examples need keys; a subclass without draws sets it to False.
    random: ClassVar[bool] = True
    # Whether draws have the pictures' height and width, so that pictures and
    # masks of another size cannot follow.
    drawn_per_pixel: ClassVar[bool] = False
    # False says that every pixel stays in its place, so masks need no change.
    moves_pixels: ClassVar[bool | None] = None
    # Whether the pictures' range of values is the same afterwards.
    keeps_range: ClassVar[bool] = False
    # Whether the transform also runs inside a JAX program. A subclass that
    # sets it computes by the operations of ``ops`` only.
    runs_in_jax: ClassVar[bool] = False

    probability: float = dataclasses.field(default=1.0, kw_only=True)

    def __post_init__(self) -> None:
        """Checks the fields; a subclass extends it."""
        check_in_range(self, "probability", 0.0, 1.0)

    def draw(self, rng: draws.Draws, shape: Shape) -> Drawn:
        """Draws the parameters of a batch.

        Args:
          rng: the draws that belong to this transform.
          shape: (H, W, C) of the pictures.

        Returns:
          Tensors whose first axis is the batch, by name.
        """
        del rng, shape
        return {}

    def apply(self, images: tf.Tensor, drawn: Drawn) -> tf.Tensor:
        """Transforms [B, H, W, C], uint8 or float32, into float32."""
        raise NotImplementedError(
            f"Expected {type(self).__name__} to define apply(images, drawn). "
            "Received: a subclass of Transform without it"
        )

    def apply_to_mask(self, mask: tf.Tensor, drawn: Drawn) -> tf.Tensor:
        """Moves a mask [B, H, W, C] with its picture and keeps its dtype.

        This default is for transforms that do not move pixels: the mask is
        returned unchanged.
        """
        del drawn
        return mask

    def output_shape(self, shape: Shape) -> Shape:
        """(H, W, C) of the result, from (H, W, C) of the pictures.

        Raises:
          ValueError: the transform cannot take pictures of this shape.
        """
        return shape

    def for_evaluation(self) -> Transform | None:
        """What evaluation does instead: nothing (None) if this is random."""
        return None if self.needs_keys else self

    def check_masks(self) -> None:
        """Raises ValueError if it is unknown how masks follow."""
        moves = type(self).apply_to_mask is not Transform.apply_to_mask
        if not moves and self.moves_pixels is not False:
            raise ValueError(
                f"Expected {type(self).__name__} to define apply_to_mask, or "
                "moves_pixels = False if every pixel stays in its place. "
                "Received: masks, and neither of the two"
            )

    @property
    def needs_keys(self) -> bool:
        """Whether anything is drawn."""
        return self.random or self.probability < 1.0

    @property
    def expected_range(self) -> Range | None:
        """Black and white of the pictures it is made for; None for any."""
        return getattr(self, "value_range", None)

    def range_after(self, given: Range | None) -> Range | None:
        """Black and white of the result; None if they are unknown."""
        return given if self.keeps_range else None

    def draw_with_probability(self, rng: draws.Draws, shape: Shape) -> Drawn:
        """What ``draw`` draws, and which examples are transformed at all."""
        drawn = self.draw(rng, shape) if self.random else {}
        if self.probability < 1.0:
            drawn = {**drawn, _APPLIED: rng.applied(self.probability)}
        return drawn

    def apply_where_drawn(self, images: tf.Tensor, drawn: Drawn) -> tf.Tensor:
        """``apply``, for the examples that are transformed at all.

        Raises:
          ValueError: the result has another shape than ``output_shape``.
        """
        xp = ops.of(images)
        result = self.apply(images, drawn)
        shape = self.output_shape(warp.sizes(images))
        static = [s if isinstance(s, int) else None for s in shape]
        expected = tf.TensorShape([images.shape[0], *static])
        if not expected.is_compatible_with(result.shape):
            if expected.is_compatible_with(images.shape):
                promise = "keep the pictures' shape"
            else:
                promise = "return the shape that its output_shape says"
            raise ValueError(
                f"Expected {type(self).__name__} to {promise}, {expected}. "
                f"Received: {result.shape}"
            )
        if _APPLIED not in drawn:
            return result
        applied = per_example(drawn[_APPLIED])
        return xp.where(applied, result, xp.cast(images, result.dtype))

    def apply_to_mask_where_drawn(
        self, mask: tf.Tensor, drawn: Drawn
    ) -> tf.Tensor:
        """``apply_to_mask``, for the examples that are transformed at all."""
        xp = ops.of(mask)
        moved = self.apply_to_mask(mask, drawn)
        if _APPLIED not in drawn or moved is mask:
            return moved
        return xp.where(per_example(drawn[_APPLIED]), moved, mask)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments; Keras registers what has this."""
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
        }

    def __repr__(self) -> str:
        """The call that makes it, without the fields at their defaults."""
        return f"{type(self).__name__}({', '.join(_changed_fields(self))})"


def applied(drawn: Drawn) -> tf.Tensor | None:
    """bool[B], which examples are transformed; None if all of them are."""
    return drawn.get(_APPLIED)


def _changed_fields(instance: Any) -> Iterator[str]:
    # The inherited probability comes first, but reads best last.
    fields = sorted(dataclasses.fields(instance), key=lambda f: bool(f.kw_only))
    for field in fields:
        value = getattr(instance, field.name)
        default: Any = field.default
        required = default is dataclasses.MISSING
        if required or not np.array_equal(value, default):
            yield f"{field.name}={value!r}"


def _is_real(value: Any) -> bool:
    return (
        isinstance(value, (int, float, np.integer, np.floating))
        and not isinstance(value, bool)
        and bool(np.isfinite(value))
    )


def check_in_range(
    transform: Transform, name: str, low: float, high: float
) -> None:
    """Raises ValueError unless a field is a number in [low, high]."""
    value = getattr(transform, name)
    if not _is_real(value) or not low <= value <= high:
        raise ValueError(
            f"Expected {type(transform).__name__}.{name} to be a number in "
            f"[{low}, {high}]. Received: {value!r}"
        )


def check_bool(transform: Transform, name: str) -> None:
    """Raises ValueError unless a field is True or False."""
    value = getattr(transform, name)
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(
            f"Expected {type(transform).__name__}.{name} to be True or "
            f"False. Received: {value!r}"
        )


def check_choice(
    transform: Transform, name: str, choices: Sequence[str]
) -> None:
    """Raises ValueError unless a field is one of ``choices``."""
    value = getattr(transform, name)
    if value not in choices:
        raise ValueError(
            f"Expected {type(transform).__name__}.{name} to be one of "
            f"{', '.join(choices)}. Received: {value!r}"
        )


def check_interval(
    transform: Transform, name: str, low: float, high: float
) -> None:
    """Raises ValueError unless a field is r or (lo, hi), lo ≤ hi.

    In both forms every number lies in [low, high].
    """
    value = getattr(transform, name)
    pair = value if isinstance(value, (tuple, list)) else (value, value)
    good = (
        len(pair) == 2
        and all(_is_real(bound) and low <= bound <= high for bound in pair)
        and pair[0] <= pair[1]
    )
    if not good:
        raise ValueError(
            f"Expected {type(transform).__name__}.{name} to be a number or "
            f"(low, high), low <= high, in [{low}, {high}]. "
            f"Received: {value!r}"
        )


def per_example(parameter: tf.Tensor) -> tf.Tensor:
    """[B] → [B, 1, 1, 1], to broadcast over pictures."""
    xp = ops.of(parameter)
    return xp.reshape(parameter, [-1, 1, 1, 1])
