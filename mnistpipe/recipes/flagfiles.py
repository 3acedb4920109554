"""Flagfiles: the text form of a recipe and of a run's options.

A flagfile has one ``--name=value`` per line. Empty lines and lines that start
with ``#`` or ``//`` are skipped. ``--name`` and ``--noname`` set a field that
is true or false. ``--flagfile=PATH`` reads another flagfile at that place; a
relative path starts from the working folder. If a field is named twice, the
last value counts. A field of the recipe that is not named keeps the value of
the documented recipe of ``--arch``.
"""

import dataclasses
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from mnistpipe.errors import UsageError
from mnistpipe.recipes.catalog import recipe_with
from mnistpipe.recipes.fields import Spec, specs, suggestion, text_of
from mnistpipe.recipes.options import RunOptions
from mnistpipe.recipes.recipe import Recipe

GROUPS = ("Dataset", "Architecture", "Augmentation", "Training")
_SPECS = {**specs(Recipe), **specs(RunOptions)}
# The field with which `text` ends if options are given.
_LAST = "verbose"
_LINE = re.compile(r"--?(\w+)(=.*)?")
# These options name one folder, so a flagfile that is to be used again cannot
# have them.
_OF_ONE_FOLDER = ("run_dir", "resume")


def text(recipe: Recipe, options: RunOptions | None = None) -> str:
    """Returns a flagfile that gives this recipe and these options.

    Fields of the recipe that have no effect are left out if the documented
    recipe has the same value. ``run_dir`` and ``resume`` are left out, since
    they name one folder. ``data`` is made absolute, since the flagfile may be
    used in another folder.
    """
    documented = recipe_with({"arch": recipe.arch})
    values = {
        name: value
        for name, value in dataclasses.asdict(recipe).items()
        if name not in recipe.unused_fields()
        or value != getattr(documented, name)
    }
    if options is not None:
        values |= dataclasses.asdict(options)
        for name in _OF_ONE_FOLDER:
            del values[name]
        if options.data:
            values["data"] = os.path.abspath(options.data)
    groups = []
    for group in GROUPS:
        lines = [
            f"--{name}={text_of(value)}"
            for name, value in values.items()
            if _SPECS[name].group == group
        ]
        if lines:
            groups.append("\n".join([f"# {group}", *lines]) + "\n")
    return "\n".join(groups)


def read(path: str, *, whole: bool = False) -> tuple[Recipe, RunOptions]:
    """Returns the recipe and the options that a flagfile gives.

    Args:
      path: the flagfile.
      whole: refuse a file that `text` wrote and that was cut off since then.

    Raises:
      UsageError: the file cannot be read, or a line is wrong.
      RecipeError: the values do not fit together.
    """
    values: dict[str, Any] = {}
    name = ""
    for line in lines(path, _SPECS):
        name, value = _assignment(path, line)
        values[name] = value
    if whole and name != _LAST:
        raise UsageError(
            f"{path}: expected --{_LAST} in the last line, got a file that is"
            " cut off"
        )
    options = {n: values.pop(n) for n in specs(RunOptions) if n in values}
    return recipe_with(values), RunOptions(**options)


def _assignment(path: str, line: str) -> tuple[str, Any]:
    """Returns the field and the value that a line of a flagfile gives."""
    name, equals, value = line.lstrip("-").partition("=")
    if not equals:
        value = "true"
        if name not in _SPECS and name.startswith("no"):
            name, value = name.removeprefix("no"), "false"
    spec = _SPECS.get(name)
    if spec is None or (not equals and spec.kind is not bool):
        raise UsageError(
            f"{path}: expected fields of a recipe or of a run, got {line}"
            f"{suggestion(name, _SPECS)}"
        )
    try:
        return name, spec.parse(value)
    except ValueError as error:
        raise UsageError(f"{path}: --{name}: {error}") from None


def expand(arguments: Iterable[str], known: Mapping[str, Spec]) -> list[str]:
    """Returns the arguments with the lines of each flagfile in its place.

    Args:
      arguments: a command line without the program's name.
      known: the fields that have flags, by name.

    Raises:
      UsageError: a flagfile cannot be read, or a line is no flag.
    """
    expanded: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        name, equals, path = argument.partition("=")
        if argument == "--":
            return [*expanded, argument, *rest]
        if name.lstrip("-") == "flagfile" and name.startswith("-"):
            expanded += lines(path if equals else next(rest, ""), known)
        else:
            expanded.append(argument)
    return expanded


def lines(
    path: str, known: Mapping[str, Spec], above: tuple[str, ...] = ()
) -> list[str]:
    """Returns the flags of a flagfile and of those that it names, in order.

    absl reads an indented comment as an argument, and a comment behind a
    value as a part of that value. Such lines are refused here.

    Args:
      path: the flagfile.
      known: the fields that have flags, by name.
      above: the flagfiles that lead to this one.

    Raises:
      UsageError: it cannot be read, or a line is no flag.
    """
    if path in above:
        raise UsageError(
            f"{path}: expected a flagfile that ends, got a flagfile that reads"
            " itself"
        )
    flags = []
    for number, line in enumerate(_content(path), 1):
        if not line.strip() or line.startswith(("#", "//")):
            continue
        flag = _LINE.fullmatch(line.strip())
        if not flag or re.search(r"\s#", line) or _lacks_value(flag, known):
            raise UsageError(
                f"{path}:{number}: expected --name=value, or a comment that"
                f" starts the line with #, got {line!r}"
            )
        if flag[1] == "flagfile":
            nested = (flag[2] or "=")[1:]
            flags += lines(nested, known, (*above, path))
        else:
            flags.append(flag[0])
    return flags


def _content(path: str) -> list[str]:
    try:
        with open(os.path.expanduser(path), encoding="utf-8") as file:
            return [line.rstrip() for line in file]
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise UsageError(
            f"expected a flagfile that can be read, got {path!r}: {reason}"
        ) from None


def _lacks_value(flag: re.Match[str], known: Mapping[str, Spec]) -> bool:
    """Whether absl would take the next line for this flag's value."""
    spec = known.get(flag[1])
    return spec is not None and spec.kind is not bool and flag[2] is None
