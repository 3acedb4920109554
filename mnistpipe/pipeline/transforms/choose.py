"""Transforms that choose among others, for each example separately.

Every transform is computed for the whole batch and each example takes the
results of those that were chosen for it, so one compiled program serves all
choices. The choice is a draw like any other: a pure function of the key.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from mnistpipe.pipeline import draws
from mnistpipe.pipeline.transform import (
    Drawn,
    Range,
    Shape,
    Transform,
    per_example,
)


@dataclasses.dataclass(frozen=True, repr=False)
class Choice(Transform):
    """What OneOf and SomeOf share; subclass it for a choice of your own.

    A subclass overrides ``draw``, which returns what it chose beside
    ``draw_members``, and ``apply`` and ``apply_to_mask``, which read it. A
    fixed policy need not be a subclass of this class: it can be a Transform
    that keeps a OneOf or a SomeOf and calls its ``draw`` (with
    ``rng.child(n)``, n being different for each), ``apply`` and
    ``apply_to_mask``.

    Attributes:
      transforms: those to choose from, of any kind.
      weights: how likely each of them is, relative to the others, each
        above 0; None if all are as likely.
    """

    transforms: Sequence[Transform]
    weights: Sequence[float] | None = None

    def __post_init__(self) -> None:
        """Checks the fields, and makes tuples of them."""
        super().__post_init__()
        name = type(self).__name__
        given = self.transforms
        members = tuple(given) if isinstance(given, (list, tuple)) else ()
        if not members or not all(isinstance(m, Transform) for m in members):
            raise ValueError(
                f"Expected {name}.transforms to be a list of one or more "
                f"transforms. Received: {given!r}"
            )
        object.__setattr__(self, "transforms", members)
        if self.weights is None:
            return
        try:
            weights = tuple(float(weight) for weight in self.weights)
        except (TypeError, ValueError):
            weights = ()
        if len(weights) != len(members) or not all(
            0 < weight < np.inf for weight in weights
        ):
            raise ValueError(
                f"Expected {name}.weights to be {len(members)} numbers above "
                f"0, one per transform. Received: {self.weights!r}"
            )
        object.__setattr__(self, "weights", weights)

    def draw_members(self, rng: draws.Draws, shape: Shape) -> tuple[Drawn, ...]:
        """Draws for every transform, whether it is chosen or not."""
        return tuple(
            step.draw_with_probability(rng.child(number), shape)
            for number, step in enumerate(self.transforms)
        )

    @property
    def drawn_per_pixel(self) -> bool:  # type: ignore[override]
        """Whether any transform draws for every pixel."""
        return any(step.drawn_per_pixel for step in self.transforms)

    @property
    def expected_range(self) -> Range | None:
        """The first range that any transform expects."""
        ranges = [step.expected_range for step in self.transforms]
        return next((r for r in ranges if r is not None), None)

    def range_after(self, given: Range | None) -> Range | None:
        """The range after the transforms, if all leave the same."""
        ranges = {step.range_after(given) for step in self.transforms}
        return ranges.pop() if len(ranges) == 1 else None

    def check_masks(self) -> None:
        """Raises ValueError if masks cannot follow every transform."""
        for step in self.transforms:
            step.check_masks()


@dataclasses.dataclass(frozen=True, repr=False)
class OneOf(Choice):
    """Applies one of the transforms to each example.

        OneOf([GaussianNoise(5.0), Brightness(0.2)], weights=[2, 1])

    Its transforms may change the pictures' size if all return the same.

    Attributes:
      transforms: those to choose from, of any kind.
      weights: how likely each of them is, relative to the others, each
        above 0; None if all are as likely.
    """

    def draw(self, rng: draws.Draws, shape: Shape) -> Drawn:
        """Draws "choice", int32[B], and "transforms", what each draws."""
        weights = self.weights or [1.0] * len(self.transforms)
        bounds = np.cumsum(weights)[:-1] / np.sum(weights)
        reached = rng.uniform(1) >= tf.constant(bounds[None], tf.float32)
        return {
            "choice": tf.reduce_sum(tf.cast(reached, tf.int32), axis=1),
            "transforms": self.draw_members(rng, shape),
        }

    def apply(self, images: tf.Tensor, drawn: Drawn) -> tf.Tensor:
        """Applies all, and takes the result of the chosen one."""
        return self._chosen(
            [
                tf.cast(step.apply_where_drawn(images, own), tf.float32)
                for step, own in zip(
                    self.transforms, drawn["transforms"], strict=True
                )
            ],
            drawn,
        )

    def apply_to_mask(self, mask: tf.Tensor, drawn: Drawn) -> tf.Tensor:
        """Moves the mask as the chosen transform does."""
        return self._chosen(
            [
                step.apply_to_mask_where_drawn(mask, own)
                for step, own in zip(
                    self.transforms, drawn["transforms"], strict=True
                )
            ],
            drawn,
        )

    @staticmethod
    def _chosen(results: list[tf.Tensor], drawn: Drawn) -> tf.Tensor:
        result = results[0]
        for number, other in enumerate(results[1:], start=1):
            chosen = per_example(tf.equal(drawn["choice"], number))
            result = tf.where(chosen, other, result)
        return result

    def output_shape(self, shape: Shape) -> Shape:
        """The shape that all transforms return.

        Raises:
          ValueError: they return several.
        """
        return _one_shape(self, shape, self.transforms[0].output_shape(shape))

    def for_evaluation(self) -> Transform | None:
        """What the first transform does then, if it changes the size."""
        kept = self.transforms[0].for_evaluation()
        if kept is None or type(kept).output_shape is Transform.output_shape:
            return None
        return kept


@dataclasses.dataclass(frozen=True, repr=False)
class SomeOf(Choice):
    """Applies some of the transforms to each example, in the given order.

        SomeOf([RandomAffine(rotation=10), GaussianNoise(5.0)], count=1)

    No transform is applied twice to an example. With weights, transforms
    are taken one after the other, each with a probability proportional to
    its weight among those that are left (Efraimidis and Spirakis 2006,
    "Weighted random sampling with a reservoir").

    Attributes:
      transforms: those to choose from; each must keep the pictures' shape.
      weights: how likely each of them is, relative to the others, each
        above 0; None if all are as likely.
      count: how many are applied, or (least, most) for a number that is
        drawn per example.
    """

    count: int | tuple[int, int] = 1

    def __post_init__(self) -> None:
        """Checks the fields."""
        super().__post_init__()
        pair = self._count_range()
        good = len(pair) == 2 and all(
            isinstance(n, (int, np.integer)) and not isinstance(n, bool)
            for n in pair
        )
        if not good or not 0 <= pair[0] <= pair[1] <= len(self.transforms):
            raise ValueError(
                f"Expected {type(self).__name__}.count to be a whole number "
                "or (least, most), least <= most, in "
                f"[0, {len(self.transforms)}]. Received: {self.count!r}"
            )

    def _count_range(self) -> tuple[int, ...]:
        if isinstance(self.count, (tuple, list)):
            return tuple(self.count)
        return self.count, self.count

    def draw(self, rng: draws.Draws, shape: Shape) -> Drawn:
        """Draws "chosen", bool[B, n], and "transforms", what each draws."""
        number = len(self.transforms)
        uniform = rng.uniform(number + 1)
        order = uniform[:, :number]
        if self.weights is not None:
            # In [0, inf): an exponential draw with the weight as its rate.
            rates = tf.constant([self.weights], tf.float32)
            order = -tf.math.log(1 - order) / rates
        earlier = order[:, None, :] < order[:, :, None]
        # Equal draws: the transform that is listed first comes first.
        listed = np.tril(np.ones((number, number), bool), -1)
        equal = tf.equal(order[:, None, :], order[:, :, None]) & listed
        rank = tf.reduce_sum(tf.cast(earlier | equal, tf.int32), axis=2)
        least, most = self._count_range()
        extra = tf.cast(uniform[:, number:] * (most - least + 1), tf.int32)
        count = least + tf.minimum(extra, most - least)
        return {
            "chosen": rank < count,
            "transforms": self.draw_members(rng, shape),
        }

    def apply(self, images: tf.Tensor, drawn: Drawn) -> tf.Tensor:
        """Applies the chosen transforms, one after the other."""
        images = tf.cast(images, tf.float32)
        for number, step in enumerate(self.transforms):
            own = drawn["transforms"][number]
            chosen = per_example(drawn["chosen"][:, number])
            result = step.apply_where_drawn(images, own)
            images = tf.where(chosen, tf.cast(result, tf.float32), images)
        return images

    def apply_to_mask(self, mask: tf.Tensor, drawn: Drawn) -> tf.Tensor:
        """Moves the mask as the chosen transforms do."""
        for number, step in enumerate(self.transforms):
            own = drawn["transforms"][number]
            chosen = per_example(drawn["chosen"][:, number])
            moved = step.apply_to_mask_where_drawn(mask, own)
            mask = tf.where(chosen, moved, mask)
        return mask

    def output_shape(self, shape: Shape) -> Shape:
        """The pictures' own shape.

        Raises:
          ValueError: a transform would change it.
        """
        return _one_shape(self, shape, shape)


def _one_shape(choice: Choice, shape: Shape, expected: Shape) -> Shape:
    """Returns ``expected`` if every transform of the choice returns it."""
    for step in choice.transforms:
        result = step.output_shape(shape)
        for one, other in zip(expected, result, strict=True):
            known = isinstance(one, int) and isinstance(other, int)
            if known and one != other:
                raise ValueError(
                    f"Expected all transforms of {type(choice).__name__} to "
                    f"return pictures of shape {tuple(expected)}. Received: "
                    f"{tuple(result)} from {type(step).__name__}"
                )
    return expected
