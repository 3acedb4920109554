"""The four documented recipes, and this project's own quick recipe.

Decisions where the document is silent or damaged are marked † with the reason.
"""

import math
from collections.abc import Mapping
from typing import Any

from mnistpipe.recipes.fields import RecipeError, specs, text_of
from mnistpipe.recipes.recipe import Recipe

_RECIPES: tuple[Recipe, ...] = (
    Recipe(
        arch="strided400k",
        stem="printed",  # † has the 128 parameters of the table's first row
        activation="relu",  # † not printed; the public code uses gelu
        dropout=0.4,  # † the table has the layers, not the rate
        rotation=10,
        width_shift=0.1,
        height_shift=0.1,
        shear=0.2,  # Keras' shear_range is in degrees
        zoom=0.1,
        noise=0.05,  # † not clipped, as in the printed lambda
        fill_mode="nearest",
        epochs=100,
        batch_size=64,  # † not printed; as in recipe 2
        learning_rate=1e-3,
        label_smoothing=0.1,
        schedule="plateau",
        plateau_monitor="val_loss",  # † not printed; Keras' default
        plateau_patience=20,
        plateau_factor=0.2,
        plateau_min_lr=0.0,  # † not printed; Keras' default
        checkpoint="best",
        checkpoint_monitor="val_accuracy",  # † not printed; as in recipe 3
    ),
    Recipe(
        arch="pool2m",
        dropout=0.25,
        output_dropout=0.5,  # † from the public code with this network
        rotation=10,
        width_shift=0.1,
        height_shift=0.1,
        zoom=0.1,
        fill_mode="nearest",  # † not printed; ImageDataGenerator's default
        epochs=50,
        batch_size=64,
        learning_rate=1e-3,
        schedule="epoch_decay",
        decay_factor=0.9,
    ),
    Recipe(
        arch="compact500k",
        dropout=0.4,  # † not documented; neither is the network
        output_dropout=0.5,  # † not documented
        rotation=10,
        width_shift=0.1,
        height_shift=0.1,
        zoom=0.1,
        fill_mode="nearest",  # † not printed; ImageDataGenerator's default
        epochs=50,
        batch_size=256,
        learning_rate=1e-3,
        beta_1=0.9,
        beta_2=0.999,
        schedule="hold_then_decay",
        decay_factor=math.exp(-0.1),
        hold_epochs=10,
        checkpoint="best",
        checkpoint_monitor="val_accuracy",
    ),
    Recipe(
        arch="wide900k",
        dropout=0.25,  # † the table has the layers, not the rate
        output_dropout=0.5,  # † the table ends at Flatten
        # † The document has lost this recipe's augmentation and its epochs.
        # Both are from a fuller copy, except for the zoom: the copy's 0.8,
        # which means factors from 0.2 to 1.8, is almost surely a typo.
        rotation=8,
        width_shift=0.08,
        height_shift=0.08,
        shear=0.3,
        zoom=0.08,
        fill_mode="nearest",
        epochs=30,
        batch_size=170,
        learning_rate=1e-3,  # † not printed; Keras' default
        schedule="plateau",
        plateau_monitor="val_accuracy",
        plateau_patience=3,
        plateau_factor=0.5,
        plateau_min_lr=1e-5,
        early_stopping_monitor="val_accuracy",
        early_stopping_patience=10,
        # EarlyStopping(restore_best_weights=True) judges by the best epoch.
        checkpoint="best",
        checkpoint_monitor="val_accuracy",
    ),
    # Not documented: the shortest way to a good network on a small machine.
    # results/ says which other recipes were tried.
    Recipe(
        arch="quick65k",
        rotation=5,
        width_shift=0.07,
        height_shift=0.07,
        zoom=0.07,
        fill_mode="nearest",
        epochs=5,
        batch_size=128,
        learning_rate=4e-3,
        schedule="one_cycle",
    ),
)

RECIPES: dict[str, Recipe] = {recipe.arch: recipe for recipe in _RECIPES}


def recipe_for(arch: Any) -> Recipe:
    """Returns the recipe of ``arch``: documented, or this project's own.

    Raises:
      RecipeError: ``arch`` does not exist; the error names those that do.
    """
    try:
        return RECIPES[specs(Recipe)["arch"].check(arch)]
    except ValueError as error:
        raise RecipeError(f"arch: {error}") from None


def recipe_with(values: Mapping[str, Any]) -> Recipe:
    """Returns the recipe of ``values["arch"]`` with the other values changed.

    Raises:
      RecipeError: a value is wrong, or would have no effect in this recipe.
    """
    if "arch" not in values:
        raise RecipeError(
            f"arch: expected a recipe, one of {', '.join(RECIPES)}; got none"
        )
    documented = recipe_for(values["arch"])
    recipe = documented.replace(**values)
    for name in recipe.unused_fields():
        if getattr(recipe, name) != getattr(documented, name):
            raise RecipeError(
                f"{name}: expected a flag that has an effect, got"
                f" {text_of(values[name])}, which is not used with"
                f" schedule={recipe.schedule},"
                f" early_stopping_patience={recipe.early_stopping_patience},"
                f" checkpoint={recipe.checkpoint},"
                f" elastic_alpha={recipe.elastic_alpha},"
                f" erasing={recipe.erasing}"
            )
    return recipe
