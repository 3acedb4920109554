"""A recipe's optimizer, with the schedules that change at every step.

Recipes set the learning rate and the betas. Everything else has the defaults
of the optimizer's library:

    lookahead       Adam inside; every 6 steps half of the way, as in its paper
    rectified_adam  rectifies from 5 degrees of freedom, as its paper's code
    yogi            Adam's bias correction, second moment from 1e-6
    lamb            no weight decay; trust ratios per variable

Keras calls tensorflow-addons' optimizers legacy. Legacy optimizers count
steps, compile and take schedules like others, but list their variables
elsewhere.
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
    # Keras' Lamb follows tensorflow-addons' LAMB and equals it without weight
    # decay and with this epsilon (github.com/keras-team/keras/pull/19981).
    _OPTIMIZERS["lamb"] = functools.partial(keras.optimizers.Lamb, epsilon=1e-6)


def make(recipe: Recipe, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """Returns the optimizer with the recipe's first learning rate.

    A callback changes the learning rate in a schedule by epochs. A schedule
    by steps is part of the optimizer, so the schedule is compiled with the
    training step and follows the optimizer's count of steps when a run is
    resumed.

    Raises:
      RecipeError: the optimizer needs tensorflow-addons, which cannot be
        imported here, or the precision needs a scaled loss.
    """
    addons.check(recipe)
    if recipe.precision == "mixed_float16":
        # In float16 small gradients would be 0 without a scaled loss, and a
        # saved state cannot hold the variables of Keras' LossScaleOptimizer.
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
    return (
        maker(**settings)
        if maker
        else _addons_optimizer(recipe.optimizer, settings)
    )


def _addons_optimizer(
    name: str, settings: dict[str, Any]
) -> keras.optimizers.Optimizer:
    """Returns tensorflow-addons' optimizer of that name."""
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
    """Makes the optimizer's variables for the trained variables."""
    if hasattr(optimizer, "build"):
        optimizer.build(trained)
    else:  # a legacy optimizer
        optimizer._create_all_weights(trained)


def variables(optimizer: keras.optimizers.Optimizer, trained: Sequence) -> list:
    """Returns all variables that decide the optimizer's next step."""
    build(optimizer, trained)
    if not hasattr(optimizer, "build"):
        # Of a legacy optimizer's settings only the learning rate changes. The
        # learning rate is a variable unless a schedule replaces it; Lookahead
        # has the learning rate of the Adam inside.
        rate = optimizer.learning_rate
        own = [rate] if hasattr(rate, "assign") else []
        return [*optimizer.weights, *own]
    steering = list(optimizer.variables)
    # Keras 2 does not list the learning rate and Nadam's product.
    for value in vars(optimizer).values():
        if hasattr(value, "assign") and not any(value is v for v in steering):
            steering.append(value)
    return steering


def learning_rate(
    recipe: Recipe, steps_per_epoch: int
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """Returns the learning rate, as a number or as a function of the step.

    The function is Keras' half cosine, in a one-cycle schedule after a linear
    rise.

    Cosine: Loshchilov and Hutter 2017, "SGDR", without restarts. One cycle:
    Smith and Topin 2018, "Super-convergence", falling as a cosine.
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
