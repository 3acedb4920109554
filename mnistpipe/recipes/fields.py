"""Declared fields: type, unit, range and meaning of each hyperparameter.

A dataclass whose fields are declared with ``field`` checks its values,
documents itself, and becomes command-line flags (see ``mnistpipe.cli``). This
module imports no TensorFlow, so that ``--help`` answers at once.
"""

import contextlib
import dataclasses
import difflib
import numbers
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass
from typing import Any

from mnistpipe.errors import UserError

# The texts that absl takes for true and false.
_SWITCHES = {
    **dict.fromkeys(("true", "t", "1"), True),
    **dict.fromkeys(("false", "f", "0"), False),
}


class RecipeError(UserError):
    """A wrong recipe or option: what was expected, what was got."""

    status = 2


@dataclass(frozen=True)
class Interval:
    """The numbers from ``low`` to ``high``, without the ends that are open."""

    low: float
    high: float
    open_low: bool = False
    open_high: bool = False

    def __contains__(self, value: Any) -> bool:
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        return above and below  # both are false for NaN

    def __str__(self) -> str:
        left = "(" if self.open_low else "["
        right = ")" if self.open_high else "]"
        return f"{left}{self.low}, {self.high}{right}"


SHARE = Interval(0, 1, open_high=True)
FACTOR = Interval(0, 1, open_low=True, open_high=True)
COUNT = Interval(1, 1_000_000)
COUNT_OR_OFF = Interval(0, 1_000_000)


@dataclass(frozen=True)
class Spec:
    """What a field means and which values are allowed.

    Attributes:
      kind: ``int``, ``float``, ``bool`` or ``str``.
      group: heading in flagfiles and ``--help``.
      help: meaning and unit.
      interval: the allowed numbers, for ``int`` and ``float``.
      choices: the allowed names, for ``str``; empty allows any line of text.
    """

    kind: type
    group: str
    help: str
    interval: Interval | None = None
    choices: tuple[str, ...] = ()

    @property
    def expected(self) -> str:
        """Describes the allowed values, for errors and ``--help``."""
        if self.kind is bool:
            return "true or false"
        if self.choices:
            return "one of " + ", ".join(self.choices)
        if self.kind is str:
            return "one line of text without ' #' or spaces around it"
        noun = "an integer" if self.kind is int else "a number"
        return f"{noun} in {self.interval}"

    def check(self, value: Any) -> Any:
        """Returns ``value`` as the field's own type.

        Raises:
          ValueError: the value has another type, or is out of range.
        """
        if not self._allows(value):
            raise ValueError(
                f"expected {self.expected}, got {value!r}"
                f"{suggestion(value, self.choices)}"
            )
        return self.kind(value)

    def parse(self, text: str) -> Any:
        """Returns the value that a flag's text gives.

        Raises:
          ValueError: the text is of another type, or out of range.
        """
        value: Any = text
        if self.kind is bool:
            value = _SWITCHES.get(text.lower(), text)
        else:
            with contextlib.suppress(ValueError):
                value = self.kind(text)
        return self.check(value)

    def _allows(self, value: Any) -> bool:
        if self.kind is bool:
            return isinstance(value, bool)
        if self.choices:
            return isinstance(value, str) and value in self.choices
        if self.kind is str:  # a flagfile must be able to carry the text
            return (
                isinstance(value, str)
                and value.isprintable()
                and value == value.strip()
                and " #" not in value
            )
        number = numbers.Integral if self.kind is int else numbers.Real
        return (
            isinstance(value, number)
            and not isinstance(value, bool)
            and (self.interval is None or value in self.interval)
        )


def field(
    kind: type,
    group: str,
    help: str,
    *,
    default: Any = MISSING,
    interval: Interval | None = None,
    choices: Iterable[str] = (),
) -> Any:
    """Declares a dataclass field with its `Spec`."""
    spec = Spec(kind, group, help, interval, tuple(choices))
    return dataclasses.field(default=default, metadata={"spec": spec})


def specs(cls: type) -> dict[str, Spec]:
    """Returns the `Spec` of each field of a class, in order."""
    return {f.name: f.metadata["spec"] for f in dataclasses.fields(cls)}


def validate(instance: Any) -> None:
    """Checks every field, and stores its value as its own type (10 as 10.0).

    Raises:
      RecipeError: a value is wrong.
    """
    for name, spec in specs(type(instance)).items():
        try:
            value = spec.check(getattr(instance, name))
        except ValueError as error:
            raise RecipeError(f"{name}: {error}") from None
        object.__setattr__(instance, name, value)


def replace_fields(instance: Any, changes: Mapping[str, Any]) -> Any:
    """Returns a copy with some fields changed, checked again.

    Raises:
      RecipeError: a field does not exist, or a value is wrong.
    """
    known = specs(type(instance))
    for name in changes:
        if name not in known:
            raise RecipeError(
                f"expected one of the fields {', '.join(known)}, got {name!r}"
            )
    return dataclasses.replace(instance, **changes)


def with_attributes(cls: type) -> type:
    """Adds each field's meaning and range to the docstring of a class."""
    lines = [
        f"  {name}: {spec.help}; {spec.expected}."
        for name, spec in specs(cls).items()
    ]
    cls.__doc__ = "\n".join([cls.__doc__ or "", "Attributes:", *lines])
    return cls


def suggestion(value: Any, names: Iterable[str]) -> str:
    """Returns a question that names the closest name; empty if none is."""
    close = difflib.get_close_matches(str(value), list(names), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def text_of(value: Any) -> str:
    """Returns a field's value as flagfiles and `--help` write the value."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return str(value).removesuffix(".0")
    return str(value)
