"""Recipe → hyperparameters with ranges; a point of the space → its recipe.

An axis is a range of numbers, or a list of values, around the documented value
of one field of the recipe. Its unit is the field's (see recipes.py). The
documented value of an axis of choices is always among them.
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

# How far an augmentation, or label smoothing, is searched where the document
# does not have it, or hardly; else up to twice the documented value.
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
_LARGEST_SHARE = 0.9  # 1 would leave nothing
# Multiples of 8 leave the narrowest layers, of 32, no finer steps than 1/4.
_WIDTHS = (0.5, 0.625, 0.75, 0.875, 1.0, 1.125, 1.25, 1.375, 1.5)
# The budget of a trial, and what makes the recipe another one.
_NOT_SEARCHED = ("arch", "epochs")


@dataclass(frozen=True)
class Axis:
    """One hyperparameter.

    Attributes:
      documented: the recipe's own value.
      low: the smallest number, where there are no choices.
      high: the largest number.
      log: whether logarithms are drawn uniformly, or numbers.
      choices: the values, where there is no range.
    """

    documented: Any
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    choices: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Budget:
    """How large a network may be, on which data.

    Attributes:
      parameters: at most so many; 0 is as many as the documented network has,
        or may have.
      shape: height, width and channels of the pictures.
      classes: how many probabilities come out.
    """

    parameters: int = 0
    shape: tuple[int, ...] = (28, 28, 1)
    classes: int = 10


def derive(recipe: Recipe) -> dict[str, Axis]:
    """The neighbourhood of a recipe, by name."""
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
    """What is searched: the neighbourhood, as changed by the user.

    Args:
      recipe: the documented point.
      search: names, comma-separated; empty is all there are.
      ranges: ranges that take the place of the derived ones, or add to them,
        as in the file of --space.
      budget: of every network; by default as documented, on MNIST.

    Raises:
      RecipeError: a name that does not exist, an empty range, a network
        beyond the budget, or an optimizer that cannot be had here.
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
    """Refuses what the trials would fail of.

    Raises:
      RecipeError: an optimizer that cannot be had here, or not with averages
        of the weights, which are searched.
    """
    for name, reason in _lacks(axes, recipe).items():
        if reason:
            asked = "" if name == recipe.optimizer else "space: "
            raise RecipeError(f"{asked}{reason}")


def _without_lacking(
    axes: Mapping[str, Axis], recipe: Recipe
) -> dict[str, Axis]:
    """Leaves out the optimizers that cannot be had, but not the recipe's."""
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
    """Each optimizer that is tried, and why it cannot be had, if so."""
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
    """Leaves out widths beyond the budget; those asked for are refused."""
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
    """The ranges in a JSON file.

    Raises:
      RecipeError: it cannot be read, or is no object of names.
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
    """Axes from {"name": {"min": …, "max": …, "log": …}, "name": […]}.

    Raises:
      RecipeError: no such field, an empty range, a value out of range.
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
    """What `from_json` reads."""
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
    # The first trial is there, and its place among the values is asked for.
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
    """The documented value of every axis."""
    return {name: axis.documented for name, axis in axes.items()}


def recipe_at(
    recipe: Recipe, values: Mapping[str, Any], epochs: int | None = None
) -> Recipe:
    """The recipe of a point; names that are no fields are left out.

    A schedule that is not the recipe's own brings the parameters of the
    shortest documented recipe that has it. A field without effect at this
    point keeps its documented value, as the trainer's flags demand.
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
