"""All command-line flags of the project, and how they become a recipe.

Flag names are global to a process, so this is the only module that defines any.
A flag of a recipe's field is None until it is given, and then the documented
value of the chosen ``--arch`` holds. A flagfile has one ``--name=value`` per
line; of a flag that is given twice, the last one counts. Nested flagfiles are
looked for from the working folder.
"""

import dataclasses
import functools
import sys
import textwrap
from collections.abc import Callable, Collection, Sequence
from typing import Any

from absl import app, flags

from mnistpipe import recipes
from mnistpipe.errors import UsageError, UserError
from mnistpipe.evaluation.options import EvaluationOptions, PredictionOptions
from mnistpipe.recipes import Recipe, RunOptions, Spec, flagfiles
from mnistpipe.recipes.fields import text_of
from mnistpipe.sweep.options import SweepOptions

GROUPS = (
    "Sweep",
    "Scoring",
    "Dataset",
    "Architecture",
    "Augmentation",
    "Training",
)
_OF_A_RUN = {**recipes.specs(Recipe), **recipes.specs(RunOptions)}
_SPECS = {
    **recipes.specs(EvaluationOptions),
    **recipes.specs(SweepOptions),
    **_OF_A_RUN,
}
_DEFAULTS = {
    field.name: field.default
    for cls in (EvaluationOptions, SweepOptions, RunOptions)
    for field in dataclasses.fields(cls)
}
_HELP = {"--help", "-help", "-h", "--helpshort", "-helpshort", "-?", "--?"}

# The flags of a run that a sweep has too.
SWEEP_SHARES = (
    "run_dir",
    "arch",
    "epochs",
    "data",
    "train_examples",
    "validation_size",
    "input",
    "seed",
    "jit_compile",
)


class _Parser(flags.ArgumentParser):
    """Reads a flag's text by the spec of the field, with the spec's errors."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec

    def parse(self, argument: Any) -> Any:
        """Returns the value; a ValueError says what was expected."""
        read = self.spec.parse if isinstance(argument, str) else self.spec.check
        return read(argument)

    def flag_type(self) -> str:
        """The name that absl's own --helpfull prints."""
        return self.spec.kind.__name__


class _SwitchParser(flags.BooleanParser):
    """absl's own, with an error that says what was expected."""

    def parse(self, argument: Any) -> bool:
        """Returns the value; a ValueError says what was expected."""
        try:
            return super().parse(argument)
        except (TypeError, ValueError):
            raise ValueError(
                f"expected true or false, got {argument!r}"
            ) from None


def define(
    flag_values: flags.FlagValues = flags.FLAGS,
    names: Collection[str] = tuple(_OF_A_RUN),
) -> None:
    """Defines one flag per field of the recipe and of the run's options.

    Args:
      flag_values: where to; absl's global flags unless told otherwise. What is
        defined there already stays as it is.
      names: the fields to take; by default all that a run has.
    """
    for name in names:
        if name in flag_values:
            continue
        spec = _SPECS[name]
        words = (name, _DEFAULTS.get(name), _flag_help(name, spec))
        if spec.kind is bool:
            flag = flags.BooleanFlag(*words)
            flag.parser = _SwitchParser()
            flags.DEFINE_flag(flag, flag_values)
        else:
            flags.DEFINE(
                _Parser(spec), *words, flag_values, flags.ArgumentSerializer()
            )


def _flag_help(name: str, spec: Spec) -> str:
    """Meaning, unit, range, and what holds when the flag is not given."""
    text = spec.help[0].upper() + spec.help[1:]
    if spec.kind is not str or spec.choices:
        text += f"; {spec.expected}"
    return f"{text}.{_default(name)}"


def _default(name: str) -> str:
    if name == "arch":
        return ""
    if name in _DEFAULTS:
        value = text_of(_DEFAULTS[name])
        return f" Default: {value}." if value else ""
    values = {
        arch: text_of(getattr(recipe, name))
        for arch, recipe in recipes.RECIPES.items()
        if name not in recipe.unused_fields()
    }
    if len(set(values.values())) == 1 and len(values) > 1:
        return f" All recipes: {next(iter(values.values()))}."
    return f" Recipes: {', '.join(f'{a} {v}' for a, v in values.items())}."


def recipe_from_flags(flag_values: flags.FlagValues = flags.FLAGS) -> Recipe:
    """The documented recipe of ``--arch`` with the given flags' changes.

    Raises:
      RecipeError: a value is wrong, or would have no effect in this recipe.
    """
    given = {
        name: flag_values[name].value
        for name in recipes.specs(Recipe)
        if name in flag_values and flag_values[name].value is not None
    }
    return recipes.recipe_with(given)


def options_from_flags(
    flag_values: flags.FlagValues = flags.FLAGS,
) -> RunOptions:
    """The run's options as the flags have them."""
    names = [n for n in recipes.specs(RunOptions) if n in flag_values]
    return RunOptions(**{name: flag_values[name].value for name in names})


def given(flag_values: flags.FlagValues = flags.FLAGS) -> dict[str, Any]:
    """The fields that the command line or its flagfile names, with values."""
    return {
        name: flag_values[name].value
        for name in _SPECS
        if name in flag_values and flag_values[name].present
    }


def define_sweep(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines the flags of a sweep, and those of a run that mean the same."""
    define(flag_values, [*recipes.specs(SweepOptions), *SWEEP_SHARES])
    flag_values["run_dir"].help = (
        "The folder of the sweep; one that was interrupted goes on in it. Empty"
        " is sweeps/<arch>-<time>."
    )


def sweep_from_flags(
    flag_values: flags.FlagValues = flags.FLAGS,
) -> SweepOptions:
    """The sweep's options as the flags have them."""
    names = recipes.specs(SweepOptions)
    return SweepOptions(**{name: flag_values[name].value for name in names})


def define_scoring(
    cls: type[PredictionOptions],
    flag_values: flags.FlagValues = flags.FLAGS,
) -> None:
    """Defines the flags of `evaluate` or of `predict`, by their options."""
    specs = recipes.specs(cls)
    define(flag_values, specs)
    if "data" in specs:  # more kinds than a training takes
        flag_values["data"].help = _flag_help("data", specs["data"])


def scoring_from_flags(
    cls: type[PredictionOptions],
    flag_values: flags.FlagValues = flags.FLAGS,
) -> PredictionOptions:
    """The options of `evaluate` or of `predict` as the flags have them."""
    return cls(**{name: flag_values[name].value for name in recipes.specs(cls)})


def help_text(flag_values: flags.FlagValues = flags.FLAGS) -> str:
    """The project's own flags by group, without absl's."""
    lines = [(sys.modules["__main__"].__doc__ or "").strip()]
    for group in GROUPS:
        names = [
            name
            for name, spec in _SPECS.items()
            if spec.group == group and name in flag_values
        ]
        if names:
            lines += ["", f"{group}:"]
        for name in names:
            lines.append(f"  --{name}")
            lines += textwrap.wrap(
                flag_values[name].help,
                78,
                initial_indent=" " * 6,
                subsequent_indent=" " * 6,
            )
    lines += [
        "",
        "A flagfile, --flagfile=PATH, has one --name=value per line; the last"
        " one counts.",
        "--helpfull lists absl's own flags too.",
    ]
    return "\n".join(lines)


def parse(
    argv: Sequence[str],
    flag_values: flags.FlagValues = flags.FLAGS,
    files: bool = False,
) -> list[str]:
    """Parses the command line into ``flag_values``.

    Args:
      argv: the program's name and its arguments.
      flag_values: where the flags are defined.
      files: whether arguments that are no flags are taken too.

    Returns:
      The program's name and, if they are taken, the other arguments.

    Raises:
      UsageError: one line for an unknown flag, a value out of range, an
        argument that is no flag, or a flagfile that cannot be read.
    """
    arguments = flagfiles.expand(argv[1:], _SPECS)
    try:
        rest = flag_values([*argv[:1], *arguments])
    except flags.Error as error:
        raise UsageError(_one_line(error)) from None
    if len(rest) > 1 and not files:
        raise UsageError(
            f"expected only flags, --name=value, got the argument {rest[1]!r}"
        )
    return rest


def _one_line(error: Exception) -> str:
    """The message in one line, and nothing that a terminal would obey."""
    line = " ".join(str(error).split())
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)


def run(
    main: Callable[[list[str]], int | None], *, files: bool = False
) -> None:
    """Runs a binary: parses the flags, calls ``main(argv)`` and exits.

    Arguments that are no flags are an error unless it takes ``files``.

    A ``UserError``, wherever it comes from, is one line on stderr and the exit
    status that it carries; any other exception is a bug and stays loud.
    ``--help`` prints the project's flags and exits with 0.
    """
    try:
        app.run(
            main, flags_parser=functools.partial(_parse_or_help, files=files)
        )
    except UserError as error:
        print(f"error: {_one_line(error)}", file=sys.stderr)
        sys.exit(error.status)
    except KeyboardInterrupt:
        sys.exit(130)  # as the shell reports a program that SIGINT ended


def _parse_or_help(argv: Sequence[str], files: bool) -> list[str]:
    if _HELP.intersection(argv[1:]):
        print(help_text())
        sys.exit(0)
    if "--helpfull" in argv[1:]:  # absl's own exits with 1
        print(flags.FLAGS.get_help())
        sys.exit(0)
    return parse(argv, files=files)
