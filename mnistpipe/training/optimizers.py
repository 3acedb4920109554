"""A recipe's optimizer, with the schedules that go by steps.

Each has the defaults of where it is from, but for learning rate and betas:

    lookahead       around Adam, every 6 steps half of the way, as its paper
    rectified_adam  rectifies from 5 degrees of freedom on, as its paper's code
    yogi            with Adam's correction of the bias, second moment from 1e-6
    lamb            without weight decay, by layer and variable

tensorflow-addons' are of the kind that Keras calls legacy, which counts steps,
compiles and takes schedules as the others do, but keeps its variables apart.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras

from mnistpipe.recipes import SCHEDULES_BY_STEP, Recipe, RecipeError, addons

_OPTIMIZERS: dict[str, Callable[..., keras.optimizers.Optimizer]] = {
    "adam": keras.optimizers.Adam,
    "adamax": keras.optimizers.Adamax,
    "nadam": keras.optimizers.Nadam,
}
if hasattr(keras.optimizers, "Lamb"):
    # Made after tensorflow-addons', which it equals without weight decay and
    # with its epsilon (github.com/keras-team/keras/pull/19981).
    _OPTIMIZERS["lamb"] = functools.partial(keras.optimizers.Lamb, epsilon=1e-6)


def make(recipe: Recipe, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """The optimizer, at the learning rate that the recipe starts with.

    A schedule that goes by epochs is a callback's work; one that goes by
    steps is part of the optimizer, so that it is compiled with the step and
    goes on where the optimizer's count of steps does.

    Raises:
      RecipeError: it is tensorflow-addons', which cannot be had here.
    """
    addons.check(recipe)
    if recipe.precision == "mixed_float16":
        # Small gradients would be 0 in float16, and a saved state cannot hold
        # the variables of Keras' LossScaleOptimizer.
        raise RecipeError(
            "precision: expected float32 or mixed_bfloat16 for training, since"
            " the loss is not scaled, got 'mixed_float16'"
        )
    settings: dict[str, Any] = {
        "learning_rate": learning_rate(recipe, steps_per_epoch),
        "beta_1": recipe.beta_1,
        "beta_2": recipe.beta_2,
    }
    if recipe.ema_momentum:
        settings |= {"use_ema": True, "ema_momentum": recipe.ema_momentum}
    maker = _OPTIMIZERS.get(recipe.optimizer)
    return maker(**settings) if maker else _theirs(recipe.optimizer, settings)


def _theirs(name: str, settings: dict[str, Any]) -> keras.optimizers.Optimizer:
    """tensorflow-addons' optimizer of that name."""
    tfa = addons.load().optimizers
    if name == "lookahead":
        return tfa.Lookahead(keras.optimizers.legacy.Adam(**settings))
    if name == "yogi":
        rate, beta_1, beta_2 = settings.values()
        return tfa.Yogi(rate, beta1=beta_1, beta2=beta_2)
    return {"rectified_adam": tfa.RectifiedAdam, "lamb": tfa.LAMB}[name](
        **settings
    )


def build(optimizer: keras.optimizers.Optimizer, trained: Sequence) -> None:
    """Makes the optimizer's variables for those that it is to train."""
    if hasattr(optimizer, "build"):
        optimizer.build(trained)
    else:  # a legacy one
        optimizer._create_all_weights(trained)


def variables(optimizer: keras.optimizers.Optimizer, trained: Sequence) -> list:
    """All variables that decide its next step, made if they aren't there."""
    build(optimizer, trained)
    if not hasattr(optimizer, "build"):
        # Of a legacy one's numbers only the learning rate ever changes, which
        # is a variable unless a schedule has its place; Lookahead's is Adam's.
        rate = optimizer.learning_rate
        own = [rate] if hasattr(rate, "assign") else []
        return [*optimizer.weights, *own]
    steering = list(optimizer.variables)
    # Keras 2 leaves some out: the learning rate, Nadam's product.
    for value in vars(optimizer).values():
        if hasattr(value, "assign") and not any(value is v for v in steering):
            steering.append(value)
    return steering


def learning_rate(
    recipe: Recipe, steps_per_epoch: int
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """A number, or the learning rate as a function of the step.

    That is Keras' half cosine, behind its linear rise in a one-cycle schedule.

    Cosine: Loshchilov and Hutter 2017, "SGDR", without restarts. One cycle:
    Smith and Topin 2018, "Super-convergence", with a cosine for its fall.
    """
    highest, steps = recipe.learning_rate, recipe.epochs * steps_per_epoch
    if recipe.schedule not in SCHEDULES_BY_STEP or not steps:
        return highest
    if recipe.schedule == "cosine":
        return keras.optimizers.schedules.CosineDecay(
            highest, steps, alpha=recipe.final_rate_factor
        )
    rise = min(round(recipe.warmup_share * steps), steps - 1)
    return keras.optimizers.schedules.CosineDecay(
        highest * recipe.initial_rate_factor,
        steps - rise,
        alpha=recipe.final_rate_factor,
        warmup_target=highest,
        warmup_steps=rise,
    )
