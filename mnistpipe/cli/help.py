"""The text of ``--help``: meaning, range and default of each flag, by group."""

import dataclasses
import sys
import textwrap

from absl import flags

from mnistpipe import recipes
from mnistpipe.recipes import Recipe, Spec
from mnistpipe.recipes.fields import text_of
from mnistpipe.recipes.flagfiles import GROUPS

_END = """\
A flagfile, --flagfile=PATH, has one --name=value per line. If a flag is given
twice, the last value counts. --helpfull also lists the flags of absl."""


def of_field(cls: type, name: str) -> str:
    """Returns the help of a field's flag: meaning, unit, range and default."""
    spec = recipes.specs(cls)[name]
    text = spec.help[0].upper() + spec.help[1:]
    if spec.kind is not str or spec.choices:
        text += f"; {spec.expected}"
    return f"{text}.{_default(cls, name)}"


def _default(cls: type, name: str) -> str:
    values = {
        arch: text_of(getattr(recipe, name))
        for arch, recipe in recipes.RECIPES.items()
        if cls is Recipe and name not in recipe.unused_fields()
    }
    if name == "arch":
        return ""
    if len(values) > 1 and len(set(values.values())) == 1:
        return f" All recipes: {next(iter(values.values()))}."
    if values:
        return f" Recipes: {', '.join(f'{a} {v}' for a, v in values.items())}."
    (default,) = (f.default for f in dataclasses.fields(cls) if f.name == name)
    return f" Default: {text_of(default)}." if default != "" else ""


def text(known: dict[str, Spec], flag_values: flags.FlagValues) -> str:
    """Returns the program's docstring and its own flags, without absl's."""
    lines = [(sys.modules["__main__"].__doc__ or "").strip()]
    groups = {spec.group: None for spec in known.values()}
    own = [group for group in groups if group not in GROUPS]
    for group in own + [group for group in GROUPS if group in groups]:
        lines += ["", f"{group}:"]
        for name, spec in known.items():
            if spec.group != group:
                continue
            lines.append(f"  --{name}")
            indent = " " * 6
            lines += textwrap.wrap(
                flag_values[name].help,
                78,
                initial_indent=indent,
                subsequent_indent=indent,
            )
    return "\n".join([*lines, "", _END])
