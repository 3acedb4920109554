"""A recipe's optimizer, with the schedules that go by steps."""

from typing import Any

import keras

from mnistpipe.recipes import SCHEDULES_BY_STEP, Recipe

_OPTIMIZERS = {
    "adam": keras.optimizers.Adam,
    "adamax": keras.optimizers.Adamax,
    "nadam": keras.optimizers.Nadam,
}


def make(recipe: Recipe, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """The optimizer, at the learning rate that the recipe starts with.

    A schedule that goes by epochs is a callback's work; one that goes by
    steps is part of the optimizer, so that it is compiled with the step and
    goes on where the optimizer's count of steps does.
    """
    averaged: dict[str, Any] = {}
    if recipe.ema_momentum:
        averaged = {"use_ema": True, "ema_momentum": recipe.ema_momentum}
    return _OPTIMIZERS[recipe.optimizer](
        learning_rate=learning_rate(recipe, steps_per_epoch),
        beta_1=recipe.beta_1,
        beta_2=recipe.beta_2,
        **averaged,
    )


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
