"""All command-line flags of the project, and how they become a recipe.

Flag names are global to a process, so this is the only module that defines any.
A flag of a recipe's field is None until it is given, and then the documented
value of the chosen ``--arch`` holds. A flagfile has one ``--name=value`` per
line; of a flag that is given twice, the last one counts. Nested flagfiles are
looked for from the working folder.
"""

import dataclasses
import functools
import os
import re
import sys
import textwrap
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from absl import app, flags

from mnistpipe import recipes
from mnistpipe.errors import UsageError, UserError
from mnistpipe.evaluation.options import EvaluationOptions, PredictionOptions
from mnistpipe.recipes import Recipe, RunOptions, Spec
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
_ASSIGNMENT = re.compile(r"--?(\w+)(=.*)?")

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
        if not isinstance(argument, str):
            return self.spec.check(argument)
        try:
            value = self.spec.kind(argument)
        except ValueError:
            value = argument
        return self.spec.check(value)

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
                f"expected true or false, came {argument!r}"
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
        value = _text(_DEFAULTS[name])
        return f" Default: {value}." if value else ""
    values = {
        arch: _text(getattr(recipe, name))
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
    documented = recipes.recipe_for(given.get("arch"))
    recipe = documented.replace(**given)
    for name in recipe.unused_fields():
        if getattr(recipe, name) != getattr(documented, name):
            raise recipes.RecipeError(
                f"{name}: expected a flag that has an effect, came"
                f" {_text(given[name])}, which is not used with"
                f" schedule={recipe.schedule},"
                f" early_stopping_patience={recipe.early_stopping_patience},"
                f" checkpoint={recipe.checkpoint},"
                f" elastic_alpha={recipe.elastic_alpha},"
                f" erasing={recipe.erasing}"
            )
    return recipe


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


def from_flagfile(path: str) -> tuple[Recipe, RunOptions]:
    """The recipe and the options that a flagfile gives.

    Raises:
      UsageError: it cannot be read.
      RecipeError: a value is wrong.
    """
    values = flags.FlagValues()
    define(values)
    parse(["", f"--flagfile={path}"], values)
    return recipe_from_flags(values), options_from_flags(values)


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


def flagfile_text(recipe: Recipe, options: RunOptions | None = None) -> str:
    """A flagfile that gives this recipe, and with it these options.

    ``run_dir`` and ``resume`` are left out, since they name one folder, and
    ``data`` is absolute, since the next run may start in another folder.
    """
    values = dataclasses.asdict(recipe)
    if options is not None:
        values |= dataclasses.asdict(options)
        del values["run_dir"], values["resume"]
        if options.data:
            values["data"] = os.path.abspath(options.data)
    groups = []
    for group in GROUPS:
        lines = [
            f"--{name}={_text(value)}"
            for name, value in values.items()
            if _SPECS[name].group == group
        ]
        if lines:
            groups.append("\n".join([f"# {group}", *lines]) + "\n")
    return "\n".join(groups)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


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
    for path in _flagfiles(argv[1:]):
        _check_flagfile(path, ())
    try:
        rest = flag_values(list(argv))
    except flags.Error as error:
        raise UsageError(_one_line(error)) from None
    if len(rest) > 1 and not files:
        raise UsageError(
            f"expected only flags, --name=value, came the argument {rest[1]!r}"
        )
    return rest


def _flagfiles(arguments: Sequence[str]) -> Iterator[str]:
    """The paths of --flagfile=PATH and --flagfile PATH."""
    following = [*arguments[1:], ""]
    for argument, after in zip(arguments, following, strict=False):
        name, equals, path = argument.partition("=")
        if argument == "--":
            return
        if name in ("--flagfile", "-flagfile"):
            yield path if equals else after


def _check_flagfile(path: str, above: tuple[str, ...]) -> None:
    """Refuses the lines that absl would take for something else in silence."""
    if path in above:
        raise UsageError(
            f"{path}: expected a flagfile that ends, came a circle"
        )
    try:
        with open(os.path.expanduser(path), encoding="utf-8") as file:
            lines = file.readlines()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise UsageError(
            f"expected a flagfile that can be read, came {path!r}: {reason}"
        ) from None
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith(("#", "//")):
            continue
        flag = _ASSIGNMENT.fullmatch(line.strip())
        if not flag or re.search(r"\s#", line) or _lacks_value(*flag.groups()):
            raise UsageError(
                f"{path}:{number}: expected --name=value, or a comment that"
                f" starts the line with #, came {line.rstrip()!r}"
            )
        if flag[1] == "flagfile":
            _check_flagfile((flag[2] or "=")[1:], (*above, path))


def _lacks_value(name: str, assignment: str | None) -> bool:
    """Whether absl would take the next line for this flag's value."""
    known = name in _SPECS and _SPECS[name].kind is not bool
    return known and assignment is None


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
