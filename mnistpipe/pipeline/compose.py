"""Transforms one after the other, as one program compiled by XLA."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import tensorflow as tf

from mnistpipe.pipeline import checks, draws, ops, warp
from mnistpipe.pipeline.transform import Drawn, Shape, Transform
from mnistpipe.pipeline.transforms import geometry


@dataclasses.dataclass(frozen=True, repr=False)
class Compose:
    """Transforms one after the other, as one compiled program.

        augment = Compose([RandomAffine(rotation=10), Rescale(1 / 255)])
        pictures = augment(images, keys)

    An eager call, a tf.data map and a ``tf.function`` all run the same
    program compiled by XLA, so an example with the same key gives the same
    bits in any batch. XLA compiles anew for every height and width, which
    takes a second or so: bring pictures of many sizes to one size first.
    Neighbours that move pixels (crop, resize, affine, perspective) are
    computed in one resampling: see ``transforms.geometry``.

    Attributes:
      transforms: in order. A Compose among them counts as its transforms.
      dtype: of the result. An integer dtype rounds and saturates.
    """

    transforms: tuple[Transform, ...]
    dtype: str = "float32"

    def __init__(
        self, transforms: Sequence[Transform | Compose], dtype: str = "float32"
    ) -> None:
        if not isinstance(transforms, Iterable):
            raise TypeError(
                f"Expected a list of transforms. Received: {transforms!r}"
            )
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
        checks.warn_of_ranges(self.transforms, None)

    @classmethod
    def of(cls, augment: Any) -> Compose:
        """A Compose of what was given: itself, a transform, or several.

        Raises:
          TypeError: for anything else.
        """
        if isinstance(augment, Compose):
            return augment
        if isinstance(augment, Transform):
            return cls([augment])
        if isinstance(augment, (list, tuple)):
            return cls(augment)
        raise TypeError(
            "Expected a Compose, a Transform or a list of transforms. "
            f"Received: {augment!r}"
        )

    def __repr__(self) -> str:
        """The call that makes it, a transform a line."""
        lines = "".join(f"    {step!r},\n" for step in self.transforms)
        dtype = "" if self.dtype == "float32" else f", dtype={self.dtype!r}"
        return f"Compose([\n{lines}]{dtype})"

    def __getstate__(self) -> dict[str, Any]:
        """The fields, without the compiled program: it cannot be pickled."""
        return {"transforms": self.transforms, "dtype": self.dtype}

    @property
    def needs_keys(self) -> bool:
        """Whether any transform draws."""
        return any(transform.needs_keys for transform in self.transforms)

    def deterministic(self) -> Compose:
        """What evaluation does: the transforms that draw nothing.

        A random transform that changes the size has a counterpart that
        draws nothing and returns the same size.
        """
        kept = [step.for_evaluation() for step in self.transforms]
        return Compose([step for step in kept if step is not None], self.dtype)

    def output_shape(self, shape: Shape) -> Shape:
        """(H, W, C) of the result, from (H, W, C) of the pictures.

        Raises:
          ValueError: a transform cannot take pictures of such a shape.
        """
        for step in self.transforms:
            shape = step.output_shape(shape)
        return shape

    def draw(self, keys: tf.Tensor, shape: Shape) -> tuple[Drawn, ...]:
        """Draws every transform's parameters, to look at or to replay.

        Args:
          keys: uint32[B, 2].
          shape: (H, W, C) of the pictures.

        Returns:
          One dict of tensors per transform.
        """
        drawn = []
        for place, step in enumerate(self.transforms):
            parameters: Drawn = {}
            if step.needs_keys:
                rng = draws.Draws(keys, place)
                parameters = step.draw_with_probability(rng, shape)
            drawn.append(parameters)
            shape = step.output_shape(shape)
        return tuple(drawn)

    def apply(self, images: Any, drawn: tuple[Drawn, ...]) -> tf.Tensor:
        """Transforms pictures by given parameters.

        Args:
          images: [B, H, W, C], uint8 or float.
          drawn: what ``draw`` returned, or the like.

        Returns:
          [B, H, W, C] of ``dtype``.
        """
        xp = ops.of(images)
        if not ops.is_jax(images):
            images = tf.convert_to_tensor(images)
        if images.dtype not in (tf.uint8, tf.float32):
            images = xp.cast(images, tf.float32)
        for steps, parameters in self._grouped(drawn):
            if len(steps) > 1:
                images = geometry.resample(images, steps, parameters)
            else:
                images = steps[0].apply_where_drawn(images, parameters[0])
        return _to_dtype(images, tf.as_dtype(self.dtype))

    def apply_to_mask(self, mask: Any, drawn: tuple[Drawn, ...]) -> tf.Tensor:
        """Moves a mask [B, H, W, C] with its pictures; keeps its dtype."""
        mask = tf.convert_to_tensor(mask)
        for step in self.transforms:
            step.check_masks()
        for steps, own in self._grouped(drawn):
            if len(steps) > 1:
                mask = geometry.resample(mask, steps, own, mask=True)
            else:
                mask = steps[0].apply_to_mask_where_drawn(mask, own[0])
        return mask

    def _grouped(
        self, drawn: Sequence[Drawn]
    ) -> Iterator[tuple[list[Any], list[Drawn]]]:
        """Transforms that share a resampling, with what they drew."""
        if len(drawn) != len(self.transforms):
            raise ValueError(
                f"Expected what {len(self.transforms)} transforms drew. "
                f"Received: {len(drawn)}"
            )
        for places in geometry.groups(self.transforms):
            steps = [self.transforms[place] for place in places]
            yield steps, [drawn[place] for place in places]

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
            a structure (tuple, list, dict) of such. All of its pictures
            are moved by the same draws.
          keys: uint32[B, 2] (for one picture uint32[2]), from
            ``example_keys``, a Stream or ``with_keys``. They may be left
            out only if nothing is drawn.
          masks: [B, H, W, C] or [B, H, W] (for one picture without B), or a
            structure of such. Masks move like the pictures, by nearest
            neighbour, and keep their dtype.

        Returns:
          Pictures of ``dtype``; with masks, (pictures, masks).

        Raises:
          ValueError: keys are missing or do not suit the pictures' shape,
            or pictures have another rank, or masks cannot follow.
        """
        if ops.is_jax(images):
            return self._call_in_jax(images, keys, masks)
        images = tf.nest.map_structure(tf.convert_to_tensor, images)
        with_masks = masks is not None
        masks = masks if with_masks else ()
        masks = tf.nest.map_structure(tf.convert_to_tensor, masks)
        rank = checks.check_ranks(images, masks)
        self._check(images, masks, rank)
        if self.needs_keys:
            first = tf.nest.flatten(images)[0]
            keys = checks.check_keys(self.transforms, keys, first)
        else:
            keys = None
        pictures, moved = self._call_program(images, masks, keys, rank)
        return (pictures, moved) if with_masks else pictures

    def check_jax(self) -> None:
        """Raises ValueError if a transform cannot run inside a JAX program."""
        together = len(geometry.groups(self.transforms)) < len(self.transforms)
        checks.check_jax(self.transforms, together)

    def _call_in_jax(self, images: Any, keys: Any, masks: Any) -> Any:
        """Draws and applies in JAX: a batch of pictures without masks."""
        self.check_jax()
        if masks is not None or images.ndim != 4:
            raise ValueError(
                "Expected pictures of shape [batch, height, width, channels] "
                "and no masks inside a JAX program. Received: "
                f"{'masks' if masks is not None else images.shape}"
            )
        if self.needs_keys:
            keys = checks.check_keys(self.transforms, keys, images)
        else:
            keys = ()
        return self._jax_program(images, keys)

    @functools.cached_property
    def _jax_program(self) -> Any:
        return ops.jit_in_jax(
            lambda images, keys: self._run(images, (), keys)[0]
        )

    def _check(self, images: Any, masks: Any, rank: int) -> None:
        everything = tf.nest.flatten((images, masks))
        checks.check_sizes(self.transforms, everything, rank)
        if tf.nest.flatten(masks):
            for step in self.transforms:
                step.check_masks()
        # Once: looking at the values of a batch takes time.
        if "_ranges_checked" not in self.__dict__:
            self.__dict__["_ranges_checked"] = True
            if any(step.expected_range for step in self.transforms):
                given = checks.range_of(tf.nest.flatten(images)[0])
                if given is not None:
                    checks.warn_of_ranges(self.transforms, given)

    def _call_program(
        self, images: Any, masks: Any, keys: Any, rank: int
    ) -> tuple[Any, Any]:
        """Calls the program, whose tensors all have the axes [B, H, W, C]."""

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
        if not tf.executing_eagerly():
            self._compile_foreign(inputs)
        try:
            result = self._program(*inputs)
        except (tf.errors.OpError, ValueError) as error:
            readable = checks.not_compiled(self.transforms, error)
            if readable is None:
                raise
            raise readable from error
        if rank == 3:
            result = tf.nest.map_structure(lambda x: x[0], result)
        pictures, moved = result
        return pictures, tf.nest.map_structure(as_given, moved, masks)

    def _compile_foreign(self, inputs: Any) -> None:
        """Compiles now if a transform holds code of the user's own.

        In a graph, such as that of a tf.data map, TensorFlow would compile at
        the first batch and raise an error that names no transform.
        """
        shapes = [x.shape[1:] for x in tf.nest.flatten(inputs)]
        known = all(shape.is_fully_defined() for shape in shapes)
        if known and checks.foreign(self.transforms):
            with tf.init_scope():
                images, masks, keys = tf.nest.map_structure(
                    lambda x: tf.zeros([2, *x.shape[1:]], x.dtype), inputs
                )
                # A copy, so that the traces of this Compose stay as they are.
                copy = Compose(self.transforms, self.dtype)
                copy._call_program(images, masks, keys, rank=4)

    @functools.cached_property
    def _program(self) -> Any:
        # A partial rather than a method: TensorFlow counts the traces of
        # every function that shares its code, so that the programs of some
        # Composes would together look like one that is traced too often.
        return tf.function(
            functools.partial(Compose._run, self),
            jit_compile=True,
            autograph=False,
            reduce_retracing=True,
        )

    def _run(self, images: Any, masks: Any, keys: Any) -> tuple[Any, Any]:
        # XLA removes a batch axis of length 1 and then rounds differently:
        # a lone picture is computed beside a copy of itself.
        lone = self.needs_keys and keys.shape[0] in (1, None)
        if lone:
            xp = ops.of(keys)
            count = xp.shape(keys)[0]
            # TensorFlow may not know the count, which is a constant to XLA.
            copies = 1 if ops.is_jax(keys) else tf.maximum(0, 2 - count)
            images, masks, keys = tf.nest.map_structure(
                lambda batch: xp.concat([batch, batch[:copies]], axis=0),
                (images, masks, keys),
            )

        def picture(image: tf.Tensor) -> tf.Tensor:
            return self.apply(image, self.draw(keys, warp.sizes(image)))

        def mask(values: tf.Tensor) -> tf.Tensor:
            drawn = self.draw(keys, warp.sizes(values))
            return self.apply_to_mask(values, drawn)

        # Each tensor of the structure draws anew from the same keys: the
        # same numbers, in the units of that tensor's own size.
        result = (
            tf.nest.map_structure(picture, images),
            tf.nest.map_structure(mask, masks),
        )
        if lone:
            result = tf.nest.map_structure(lambda b: b[:count], result)
        return result


def _to_dtype(images: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    xp = ops.of(images)
    if dtype.is_integer and tf.as_dtype(images.dtype).is_floating:
        return xp.saturate_cast(xp.round(images), dtype)
    return xp.cast(images, dtype)
