"""A recipe's optimizer."""

import keras

from mnistpipe.recipes import Recipe

_OPTIMIZERS = {
    "adam": keras.optimizers.Adam,
    "adamax": keras.optimizers.Adamax,
    "nadam": keras.optimizers.Nadam,
}


def make(recipe: Recipe) -> keras.optimizers.Optimizer:
    """The optimizer at the learning rate that the recipe starts with."""
    return _OPTIMIZERS[recipe.optimizer](
        learning_rate=recipe.learning_rate,
        beta_1=recipe.beta_1,
        beta_2=recipe.beta_2,
    )
