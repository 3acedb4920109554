"""Recipes and run options: what to train, and how to run it. No TensorFlow."""

from mnistpipe.recipes.catalog import (
    RECIPES,
    recipe_for,
    recipe_with,
)
from mnistpipe.recipes.fields import (
    Interval,
    RecipeError,
    Spec,
    field,
    specs,
    validate,
)
from mnistpipe.recipes.options import (
    RunOptions,
)
from mnistpipe.recipes.recipe import (
    ACTIVATIONS,
    ADDONS,
    ARCHS,
    DOCUMENTED,
    FILL_MODES,
    MONITORS,
    OPTIMIZERS,
    PRECISIONS,
    SCHEDULES,
    SCHEDULES_BY_STEP,
    STEMS,
    Recipe,
)

__all__ = [
    "ACTIVATIONS",
    "ADDONS",
    "ARCHS",
    "DOCUMENTED",
    "FILL_MODES",
    "MONITORS",
    "OPTIMIZERS",
    "PRECISIONS",
    "RECIPES",
    "SCHEDULES",
    "SCHEDULES_BY_STEP",
    "STEMS",
    "Interval",
    "Recipe",
    "RecipeError",
    "RunOptions",
    "Spec",
    "field",
    "recipe_for",
    "recipe_with",
    "specs",
    "validate",
]
