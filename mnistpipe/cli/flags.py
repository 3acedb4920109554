"""absl flags from declared fields, and objects from parsed flags.

Flag names are global to a process, so only this module defines flags. A flag is
None until the command line or a flagfile gives its value. `read` then leaves
the value to the class: the documented recipe of ``--arch``, or the default of
the options. If a flag is given twice, the last value counts.
"""

from collections.abc import Collection, Sequence
from typing import Any, TypeVar, cast

from absl import flags

from mnistpipe import recipes
from mnistpipe.cli import help
from mnistpipe.errors import UsageError
from mnistpipe.recipes import Recipe, Spec, flagfiles

Fields = TypeVar("Fields")


class _Parser(flags.ArgumentParser):
    """Reads a flag's text as its field does, with the field's errors."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec

    def parse(self, argument: Any) -> Any:
        """Returns the value; a ValueError says what was expected."""
        read = self.spec.parse if isinstance(argument, str) else self.spec.check
        return read(argument)

    def flag_type(self) -> str:
        """Returns the name of the type, which absl's --helpfull prints."""
        return self.spec.kind.__name__


def define(
    cls: type,
    names: Collection[str] = (),
    flag_values: flags.FlagValues = flags.FLAGS,
) -> None:
    """Defines a flag for each field of a class.

    Args:
      cls: `Recipe` or a class of options, with fields from `recipes.fields`.
      names: the fields that get a flag; empty is all fields.
      flag_values: where the flags are defined. A flag that is already defined
        there stays as it is.
    """
    for name, spec in recipes.specs(cls).items():
        if name in flag_values or (names and name not in names):
            continue
        flag = flags.Flag(
            _Parser(spec),
            flags.ArgumentSerializer(),
            name,
            None,
            help.of_field(cls, name),
            boolean=spec.kind is bool,
        )
        flags.DEFINE_flag(flag, flag_values)


def read(
    cls: type[Fields], flag_values: flags.FlagValues = flags.FLAGS
) -> Fields:
    """Returns the `Recipe` or the options that the parsed flags give.

    Raises:
      RecipeError: a value is wrong, or would have no effect in the recipe.
    """
    values = given(flag_values)
    values = {name: values[name] for name in recipes.specs(cls).keys() & values}
    if cls is Recipe:
        return cast(Fields, recipes.recipe_with(values))
    return cls(**values)


def given(flag_values: flags.FlagValues = flags.FLAGS) -> dict[str, Any]:
    """Returns the fields that the command line or its flagfiles name."""
    return {
        name: flag_values[name].value
        for name in known(flag_values)
        if flag_values[name].value is not None
    }


def known(flag_values: flags.FlagValues = flags.FLAGS) -> dict[str, Spec]:
    """Returns the fields that have flags here, by name."""
    parsers = {name: flag_values[name].parser for name in flag_values}
    return {
        name: parser.spec
        for name, parser in parsers.items()
        if isinstance(parser, _Parser)
    }


def parse(
    argv: Sequence[str],
    flag_values: flags.FlagValues = flags.FLAGS,
    files: bool = False,
) -> list[str]:
    """Parses the command line into ``flag_values``.

    Args:
      argv: the program's name and its arguments.
      flag_values: where the flags are defined.
      files: whether arguments that are not flags are allowed.

    Returns:
      The program's name and the arguments that are not flags.

    Raises:
      UsageError: a flag is unknown, a value is out of range, an argument is
        not a flag, or a flagfile cannot be read. The message is one line.
    """
    arguments = flagfiles.expand(argv[1:], known(flag_values))
    try:
        rest = flag_values([argv[0], *arguments])
    except flags.Error as error:
        raise UsageError(" ".join(str(error).split())) from None
    if len(rest) > 1 and not files:
        raise UsageError(
            f"expected only flags, --name=value, got the argument {rest[1]!r}"
        )
    return rest
