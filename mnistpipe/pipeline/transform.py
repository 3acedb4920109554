"""What a transform is, and their composition.

A transform is a frozen dataclass with two methods: ``draw`` makes the random
parameters of a batch, ``apply`` uses them. A Compose does both in one
program compiled by XLA. Pictures are ``[B, H, W, C]``, uint8 or float; they
become float32 where the first transform computes, with their range of
values unchanged (0 to 255 stays so until a Rescale).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from mnistpipe.pipeline import draws, warp

Drawn = dict[str, tf.Tensor]
Shape = tuple[warp.Size, warp.Size, warp.Size]

_APPLIED = "applied"


@dataclasses.dataclass(frozen=True, repr=False)
class Transform:
    """One step of an augmentation; subclass it to write your own.

    A subclass is a frozen dataclass that overrides ``apply``, and ``draw``
    if it is random. One that moves pixels overrides ``apply_to_mask`` too.

    Attributes:
      probability: that an example is transformed at all, drawn per example.
    """

    # Whether examples need keys; a subclass without draws sets it to False.
    random: ClassVar[bool] = True
    # Whether what is drawn has the pictures' height and width, so that
    # pictures and masks of another size can't follow.
    drawn_per_pixel: ClassVar[bool] = False

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
        raise NotImplementedError  # abstract: each transform has its own

    def apply_to_mask(self, mask: tf.Tensor, drawn: Drawn) -> tf.Tensor:
        """Moves a mask [B, H, W, C] with its picture, its dtype kept.

        Here for the transforms that do not move pixels: unchanged.
        """
        del drawn
        return mask

    @property
    def needs_keys(self) -> bool:
        """Whether anything is drawn."""
        return self.random or self.probability < 1.0

    def get_config(self) -> dict[str, Any]:
        """The arguments that make it; Keras registers what has this."""
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
        }

    def __repr__(self) -> str:
        """The call that makes it, without the fields at their defaults."""
        return f"{type(self).__name__}({', '.join(_changed_fields(self))})"


def _changed_fields(instance: Any) -> Iterator[str]:
    # The inherited probability comes first, but reads best last.
    fields = sorted(dataclasses.fields(instance), key=lambda f: f.kw_only)
    for field in fields:
        value = getattr(instance, field.name)
        required = field.default is dataclasses.MISSING
        if required or not np.array_equal(value, field.default):
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

    Either way every number lies in [low, high].
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
    return tf.reshape(parameter, [-1, 1, 1, 1])


@dataclasses.dataclass(frozen=True, repr=False)
class Compose:
    """Transforms one after the other, as one compiled program.

        augment = Compose([RandomAffine(rotation=10), Rescale(1 / 255)])
        pictures = augment(images, keys)

    Called eagerly, in a tf.data map or in a ``tf.function``, it runs the
    same program compiled by XLA, so an example with the same key gives the
    same bits in any batch. It is compiled anew for every height and width,
    for a second or so each: bring pictures of many sizes to one first.

    Attributes:
      transforms: in order. A Compose among them counts as its transforms.
      dtype: of the result. An integer one rounds and saturates.
    """

    transforms: tuple[Transform, ...]
    dtype: str = "float32"

    def __init__(
        self, transforms: Sequence[Transform | Compose], dtype: str = "float32"
    ) -> None:
        flat: list[Transform] = []
        for transform in transforms:
            if isinstance(transform, Compose):
                flat.extend(transform.transforms)
            elif isinstance(transform, Transform):
                flat.append(transform)
            else:
                raise TypeError(
                    "Expected transforms (instances of Transform or "
                    f"Compose). Received: {transform!r}"
                )
        object.__setattr__(self, "transforms", tuple(flat))
        object.__setattr__(self, "dtype", tf.as_dtype(dtype).name)

    def __repr__(self) -> str:
        """The recipe, a transform a line."""
        lines = "".join(f"    {step!r},\n" for step in self.transforms)
        dtype = "" if self.dtype == "float32" else f", dtype={self.dtype!r}"
        return f"Compose([\n{lines}]{dtype})"

    def __getstate__(self) -> dict[str, Any]:
        """Without the compiled program, which can't be pickled."""
        return {"transforms": self.transforms, "dtype": self.dtype}

    @property
    def needs_keys(self) -> bool:
        """Whether any transform draws."""
        return any(transform.needs_keys for transform in self.transforms)

    def deterministic(self) -> Compose:
        """Only the transforms that draw nothing: what evaluation wants."""
        kept = [step for step in self.transforms if not step.needs_keys]
        return Compose(kept, self.dtype)

    def draw(self, keys: tf.Tensor, shape: Shape) -> tuple[Drawn, ...]:
        """Draws every transform's parameters, to look at or replay.

        Args:
          keys: uint32[B, 2].
          shape: (H, W, C) of the pictures.

        Returns:
          One dict of tensors per transform.
        """
        return tuple(
            self._draw_one(place, step, keys, shape)
            for place, step in enumerate(self.transforms)
        )

    @staticmethod
    def _draw_one(
        place: int, step: Transform, keys: tf.Tensor | None, shape: Shape
    ) -> Drawn:
        if not step.needs_keys:
            return {}
        rng = draws.Draws(keys, place)
        drawn = step.draw(rng, shape) if step.random else {}
        if step.probability < 1.0:
            drawn = {**drawn, _APPLIED: rng.applied(step.probability)}
        return drawn

    def apply(self, images: tf.Tensor, drawn: tuple[Drawn, ...]) -> tf.Tensor:
        """Transforms pictures by given parameters.

        Args:
          images: [B, H, W, C], uint8 or float.
          drawn: what ``draw`` returned, or the like.

        Returns:
          [B, H, W, C] of ``dtype``.
        """
        if images.dtype not in (tf.uint8, tf.float32):
            images = tf.cast(images, tf.float32)
        for step, parameters in zip(self.transforms, drawn, strict=True):
            result = step.apply(images, parameters)
            # What is drawn for a transform suits the shape that came in.
            if not result.shape.is_compatible_with(images.shape):
                raise ValueError(
                    f"Expected {type(step).__name__} to keep the pictures' "
                    f"shape, {images.shape}. Received: {result.shape}"
                )
            if _APPLIED in parameters:
                result = tf.where(
                    per_example(parameters[_APPLIED]),
                    result,
                    tf.cast(images, result.dtype),
                )
            images = result
        return _to_dtype(images, tf.as_dtype(self.dtype))

    def apply_to_mask(
        self, mask: tf.Tensor, drawn: tuple[Drawn, ...]
    ) -> tf.Tensor:
        """Moves a mask [B, H, W, C] as its pictures, its dtype kept."""
        for step, parameters in zip(self.transforms, drawn, strict=True):
            moved = step.apply_to_mask(mask, parameters)
            if _APPLIED in parameters and moved is not mask:
                applied = per_example(parameters[_APPLIED])
                moved = tf.where(applied, moved, mask)
            mask = moved
        return mask

    @tf.autograph.experimental.do_not_convert  # nothing here needs it
    def __call__(
        self,
        images: Any,
        keys: tf.Tensor | None = None,
        *,
        masks: Any = None,
    ) -> Any:
        """Draws and applies, compiled.

        Args:
          images: [B, H, W, C] or one picture [H, W, C], uint8 or float; or
            a structure (tuple, list, dict) of such, all moved by one draw.
          keys: uint32[B, 2] (for one picture uint32[2]), from
            ``example_keys``, a Stream or ``with_keys``. Optional only where
            nothing is drawn.
          masks: [B, H, W, C] or [B, H, W] (for one picture without B), or a
            structure of such; moved like the pictures by nearest neighbour,
            in their own dtype.

        Returns:
          Pictures of ``dtype``; with masks, (pictures, masks).

        Raises:
          ValueError: for keys that are missing or of another shape than
            the pictures ask for, or pictures of another rank.
        """
        images = tf.nest.map_structure(tf.convert_to_tensor, images)
        with_masks = masks is not None
        masks = masks if with_masks else ()
        masks = tf.nest.map_structure(tf.convert_to_tensor, masks)
        rank = tf.nest.flatten(images)[0].shape.rank
        for image in tf.nest.flatten(images):
            _check_rank("pictures", image, rank if rank in (3, 4) else 4)
        for mask in tf.nest.flatten(masks):
            _check_rank("masks", mask, rank - 1, rank)
        self._check_sizes(tf.nest.flatten((images, masks)), rank)
        if self.needs_keys:
            keys = self._check_keys(keys, tf.nest.flatten(images)[0])
        else:
            keys = None

        def with_channels(mask: tf.Tensor) -> tf.Tensor:
            return mask if mask.shape.rank == rank else mask[..., None]

        def as_given(moved: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
            return moved if mask.shape.rank == rank else moved[..., 0]

        inputs = (
            images,
            tf.nest.map_structure(with_channels, masks),
            () if keys is None else keys,
        )
        if rank == 3:
            inputs = tf.nest.map_structure(lambda x: x[None], inputs)
        result = self._program(*inputs)
        if rank == 3:
            result = tf.nest.map_structure(lambda x: x[0], result)
        pictures, moved = result
        if with_masks:
            return pictures, tf.nest.map_structure(as_given, moved, masks)
        return pictures

    def _check_sizes(self, tensors: list[tf.Tensor], rank: int) -> None:
        tied = [s for s in self.transforms if s.drawn_per_pixel]
        sizes = [tensor.shape[rank - 3 : rank - 1] for tensor in tensors]
        if tied and not all(
            size.is_compatible_with(sizes[0]) for size in sizes
        ):
            raise ValueError(
                "Expected pictures and masks of one height and width, since "
                f"{type(tied[0]).__name__} draws for every pixel. Received: "
                f"{', '.join(str(size) for size in sizes)}"
            )

    def _check_keys(
        self, keys: tf.Tensor | None, image: tf.Tensor
    ) -> tf.Tensor:
        if keys is None:
            names = [
                type(step).__name__
                for step in self.transforms
                if step.needs_keys
            ]
            raise ValueError(
                f"Expected keys, since {', '.join(names)} draw(s) by them. "
                "Received: none. Make them with example_keys(seed, epoch, "
                "index), or let host_dataset or augmented_dataset do so."
            )
        keys = tf.convert_to_tensor(keys)
        expected = (*image.shape[:-3], 2)
        if keys.dtype != tf.uint32 or not keys.shape.is_compatible_with(
            expected
        ):
            raise ValueError(
                f"Expected keys of dtype uint32 and shape {expected}, one per "
                f"picture. Received: {keys.dtype.name} {keys.shape}"
            )
        return keys

    @functools.cached_property
    def _program(self) -> Any:
        return tf.function(
            self._run,
            jit_compile=True,
            autograph=False,
            reduce_retracing=True,
        )

    def _run(self, images: Any, masks: Any, keys: Any) -> tuple[Any, Any]:
        # XLA folds a batch axis of length 1 away and then rounds otherwise:
        # a lone picture is computed beside a copy of itself.
        lone = self.needs_keys and keys.shape[0] in (1, None)
        if lone:
            count = tf.shape(keys)[0]
            copies = tf.maximum(0, 2 - count)  # a constant to XLA
            images, masks, keys = tf.nest.map_structure(
                lambda batch: tf.concat([batch, batch[:copies]], axis=0),
                (images, masks, keys),
            )

        def picture(image: tf.Tensor) -> tf.Tensor:
            return self.apply(image, self.draw(keys, warp.sizes(image)))

        def mask(values: tf.Tensor) -> tf.Tensor:
            drawn = self.draw(keys, warp.sizes(values))
            return self.apply_to_mask(values, drawn)

        # Drawn anew for each tensor of the structure, from the same keys:
        # the same numbers, in the units of that tensor's own size.
        result = (
            tf.nest.map_structure(picture, images),
            tf.nest.map_structure(mask, masks),
        )
        if lone:
            result = tf.nest.map_structure(lambda b: b[:count], result)
        return result


def _check_rank(name: str, tensor: tf.Tensor, *ranks: int) -> None:
    if tensor.shape.rank not in ranks:
        raise ValueError(
            f"Expected {name} of shape [batch, height, width, channels], or "
            "one without the batch; masks may lack the channels. Received: "
            f"{tensor.shape}"
        )


def _to_dtype(images: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    if dtype.is_integer and images.dtype.is_floating:
        return tf.saturate_cast(tf.round(images), dtype)
    return tf.cast(images, dtype)
