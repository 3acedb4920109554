"""The search space near a recipe, and the recipe of a point in the space.

An axis is a range of numbers, or a list of values, for one field of the
recipe, in the field's unit. A list always contains the documented value.
"""

import dataclasses
import difflib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from mnistpipe import recipes
from mnistpipe.networks import architectures
from mnistpipe.recipes import Recipe, RecipeError, Spec, addons
from mnistpipe.recipes.documented import TABLES

# The upper end of a range, unless twice the documented value is larger.
_AT_LEAST = {
    "rotation": 15.0,
    "width_shift": 0.15,
    "height_shift": 0.15,
    "shear": 10.0,
    "zoom": 0.15,
    "noise": 0.1,
    "label_smoothing": 0.1,
}
_RATE_FACTOR = 4  # learning rates between a quarter and four times
_DROPOUT_MARGIN = 0.2
_LARGEST_SHARE = 0.9  # a share of 1 would leave nothing
# Multiples of 8 leave the narrowest layers, of 32, no finer steps than 1/4.
_WIDTHS = (0.5, 0.625, 0.75, 0.875, 1.0, 1.125, 1.25, 1.375, 1.5)
# The recipe itself, and the budget of a trial.
_NOT_SEARCHED = ("arch", "epochs")


@dataclass(frozen=True)
class Axis:
    """One hyperparameter.

    Attributes:
      documented: the recipe's own value.
      low: the smallest number of a range.
      high: the largest number of a range.
      log: whether the logarithm, and not the number, is drawn uniformly.
      choices: the values of a list; empty for a range.
    """

    documented: Any
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    choices: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Budget:
    """The size of the largest network.

    Attributes:
      parameters: the largest number; 0 is the number of the documented
        network, or the document's bound.
      shape: height, width and channels of the pictures.
      classes: the number of classes.
    """

    parameters: int = 0
    shape: tuple[int, ...] = (28, 28, 1)
    classes: int = 10


def derive(recipe: Recipe) -> dict[str, Axis]:
    """Returns the axes around a recipe's values, by name."""
    rate, batch = recipe.learning_rate, recipe.batch_size
    axes = {
        "learning_rate": Axis(
            rate, rate / _RATE_FACTOR, rate * _RATE_FACTOR, log=True
        ),
        "schedule": Axis(recipe.schedule, choices=tuple(recipes.SCHEDULES)),
        "batch_size": Axis(
            batch, choices=(max(1, batch // 2), batch, 2 * batch)
        ),
        "optimizer": Axis(recipe.optimizer, choices=recipes.OPTIMIZERS),
        "width": Axis(recipe.width, choices=_WIDTHS),
    }
    for name in ("dropout", "output_dropout"):
        rate = getattr(recipe, name)
        # Rounded, since 0.25 - 0.2 is not quite 0.05.
        low = round(max(0.0, rate - _DROPOUT_MARGIN), 9)
        high = round(min(_LARGEST_SHARE, rate + _DROPOUT_MARGIN), 9)
        axes[name] = Axis(rate, low, high)
    known = recipes.specs(Recipe)
    for name, least in _AT_LEAST.items():
        value = getattr(recipe, name)
        high = max(2 * value, least)
        interval = known[name].interval
        if interval is not None and high not in interval:
            high = _LARGEST_SHARE
        axes[name] = Axis(value, 0.0, high)
    return axes


def select(
    recipe: Recipe,
    search: str = "",
    ranges: Mapping[str, Any] | None = None,
    budget: Budget | None = None,
) -> dict[str, Axis]:
    """Returns the axes that a sweep searches, by name.

    Args:
      recipe: the documented point.
      search: names, separated by commas; empty is all names.
      ranges: ranges that replace derived ranges or add to them, as in the
        file of --space.
      budget: of every network; by default the documented size, on MNIST.

    Raises:
      RecipeError: a name does not exist, a range is empty, a network exceeds
        the budget, or an optimizer is not available here.
    """
    ranges = ranges or {}
    axes = _named(derive(recipe) | from_json(ranges, recipe), search)
    if "optimizer" not in ranges:
        axes = _without_lacking(axes, recipe)
    check_optimizers(axes, recipe)
    return _within(axes, recipe, budget or Budget(), "width" in ranges)


def _named(axes: Mapping[str, Axis], search: str) -> dict[str, Axis]:
    if not search:
        return dict(axes)
    names = [name.strip() for name in search.split(",")]
    for name in names:
        if name not in axes:
            raise RecipeError(
                f"search: expected some of {', '.join(axes)}, or fields of the"
                f" recipe that --space names, got {name!r}{_hint(name, axes)}"
            )
    return {name: axis for name, axis in axes.items() if name in names}


def check_optimizers(axes: Mapping[str, Axis], recipe: Recipe) -> None:
    """Refuses optimizers with which trials would fail.

    Raises:
      RecipeError: an optimizer is not available here, or does not support the
        averages of the weights that are searched.
    """
    for name, reason in _lacks(axes, recipe).items():
        if reason:
            asked = "" if name == recipe.optimizer else "space: "
            raise RecipeError(f"{asked}{reason}")


def _without_lacking(
    axes: Mapping[str, Axis], recipe: Recipe
) -> dict[str, Axis]:
    """Removes optimizers that are not available, except the recipe's own."""
    if "optimizer" not in axes:
        return dict(axes)
    choices = tuple(
        name
        for name, reason in _lacks(axes, recipe).items()
        if not reason or name == recipe.optimizer
    )
    axis = dataclasses.replace(axes["optimizer"], choices=choices)
    return {**axes, "optimizer": axis}


def _lacks(axes: Mapping[str, Axis], recipe: Recipe) -> dict[str, str]:
    """Returns why each optimizer is not available; "" if it is."""
    if "ema_momentum" in axes:
        axis = axes["ema_momentum"]
        most = max(axis.choices, default=axis.high)
        recipe = recipe.replace(ema_momentum=most)
    tried = (recipe.optimizer,)
    if "optimizer" in axes:
        tried = axes["optimizer"].choices
    return {n: addons.lack(recipe.replace(optimizer=n)) for n in tried}


def _within(
    axes: dict[str, Axis], recipe: Recipe, budget: Budget, asked: bool
) -> dict[str, Axis]:
    """Removes widths beyond the budget, or refuses widths of the user."""
    stems = axes["stem"].choices if "stem" in axes else (recipe.stem,)

    def parameters(width: float) -> int:
        networks = (recipe.replace(stem=stem, width=width) for stem in stems)
        sizes = (budget.shape, budget.classes)
        return max(architectures.parameters(one, *sizes) for one in networks)

    own = parameters(recipe.width)
    table = TABLES[recipe.arch]
    most = budget.parameters or own
    if table.bound and not budget.parameters:
        most = max(own, table.parameters)
    if own > most:
        raise RecipeError(
            f"max_parameters: expected at least {own}, the parameters of"
            f" {recipe.arch} as documented, which is always tried, got {most}"
        )
    if "width" not in axes:
        return axes
    axis = axes["width"]
    widest = max(axis.choices, default=axis.high)
    if asked and parameters(widest) > most:
        raise RecipeError(
            f"space: width: expected networks of at most {most} parameters,"
            f" which --max_parameters can raise, got {widest}, which makes"
            f" {parameters(widest)}"
        )
    choices = tuple(w for w in axis.choices if parameters(w) <= most)
    return {**axes, "width": dataclasses.replace(axis, choices=choices)}


def read(path: str) -> dict[str, Any]:
    """Reads the ranges in a JSON file.

    Raises:
      RecipeError: the file cannot be read, or holds no object of names.
    """
    try:
        with open(path, encoding="utf-8") as file:
            ranges = json.load(file)
    except OSError as error:
        reason = error.strerror
    except ValueError as error:
        reason = f"no JSON: {error}"
    else:
        if isinstance(ranges, dict):
            return ranges
        reason = "no names with ranges"
    raise RecipeError(
        f"space: expected a JSON file of ranges, got {path!r}: {reason}"
    )


def from_json(ranges: Mapping[str, Any], recipe: Recipe) -> dict[str, Axis]:
    """Returns axes of {"name": {"min": …, "max": …, "log": …}, "name": […]}.

    Raises:
      RecipeError: a field does not exist, a range is empty, or a value is out
        of the field's range.
    """
    known = recipes.specs(Recipe)
    names = [name for name in known if name not in _NOT_SEARCHED]
    axes = {}
    for name, wanted in ranges.items():
        if name not in names:
            raise RecipeError(
                f"space: expected some of {', '.join(names)}, got"
                f" {name!r}{_hint(name, names)}"
            )
        make = _choices if isinstance(wanted, list) else _range
        axes[name] = make(name, known[name], wanted, getattr(recipe, name))
    return axes


def to_json(axes: Mapping[str, Axis]) -> dict[str, Any]:
    """Returns JSON types that `from_json` reads."""
    return {
        name: list(axis.choices)
        if axis.choices
        else {"min": axis.low, "max": axis.high, "log": axis.log}
        for name, axis in axes.items()
    }


def _hint(name: str, names: Collection[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _choices(name: str, spec: Spec, wanted: list, documented: Any) -> Axis:
    if not wanted:
        raise RecipeError(f"space: {name}: expected values, got none")
    values = [_checked(name, spec, value) for value in wanted]
    # The first trial has the documented value, and reports look it up.
    if documented not in values:
        values.append(documented)
    return Axis(documented, choices=tuple(dict.fromkeys(values)))


def _range(name: str, spec: Spec, wanted: Any, documented: Any) -> Axis:
    if spec.kind not in (int, float):
        raise RecipeError(
            f"space: {name}: expected a list of values,"
            f" {spec.expected}, got {json.dumps(wanted)}"
        )
    if (
        not isinstance(wanted, dict)
        or not {"min", "max"} <= wanted.keys() <= {"min", "max", "log"}
        or not isinstance(wanted.get("log", False), bool)
    ):
        raise RecipeError(
            f'space: {name}: expected {{"min": …, "max": …, "log": true or'
            f" false}}, or a list of values, got {json.dumps(wanted)}"
        )
    low, high = (_checked(name, spec, wanted[end]) for end in ("min", "max"))
    if not low < high:
        raise RecipeError(
            f"space: {name}: expected a min below the max, got the empty"
            f" range {low} to {high}"
        )
    log = wanted.get("log", False)
    if log and min(low, documented) <= 0:
        raise RecipeError(
            f"space: {name}: expected numbers above 0 for logarithms, got"
            f" {min(low, documented)}"
            f"{', the documented value' if documented <= 0 else ''}"
        )
    return Axis(documented, low, high, log)


def _checked(name: str, spec: Spec, value: Any) -> Any:
    try:
        return spec.check(value)
    except ValueError as error:
        raise RecipeError(f"space: {name}: {error}") from None


def documented_point(axes: Mapping[str, Axis]) -> dict[str, Any]:
    """Returns the documented value of every axis."""
    return {name: axis.documented for name, axis in axes.items()}


def recipe_at(
    recipe: Recipe, values: Mapping[str, Any], epochs: int | None = None
) -> Recipe:
    """Returns the recipe of a point; names that are no fields are ignored.

    A schedule other than the recipe's own takes its parameters from the
    shortest documented recipe with that schedule. A field without effect at
    this point keeps its documented value, as the trainer's flags demand.
    """
    known = recipes.specs(Recipe)
    changes = {name: v for name, v in values.items() if name in known}
    schedule = changes.get("schedule", recipe.schedule)
    if schedule != recipe.schedule:
        changes = _schedule_fields(schedule) | changes
    if epochs is not None:
        changes["epochs"] = epochs
    point = recipe.replace(**changes)
    documented = recipes.recipe_for(recipe.arch)
    unused = {n: getattr(documented, n) for n in point.unused_fields()}
    return point.replace(**unused)


def _schedule_fields(schedule: str) -> dict[str, Any]:
    having = [r for r in recipes.RECIPES.values() if r.schedule == schedule]
    if not having:
        return {}
    shortest = min(having, key=lambda recipe: recipe.epochs)
    return {n: getattr(shortest, n) for n in recipes.SCHEDULES[schedule]}
