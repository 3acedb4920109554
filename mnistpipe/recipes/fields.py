"""Declared fields: type, unit, range and meaning of each hyperparameter.

A dataclass whose fields carry a ``Spec`` validates itself, documents itself,
and becomes absl flags (see ``mnistpipe.cli``). Nothing here imports TensorFlow:
``--help`` has to answer at once.
"""

import dataclasses
import difflib
import numbers
from collections.abc import Iterable
from dataclasses import MISSING, dataclass
from typing import Any

from mnistpipe.errors import UserError

# The texts that absl takes for true and false.
_SWITCHES = {
    **dict.fromkeys(("true", "t", "1"), True),
    **dict.fromkeys(("false", "f", "0"), False),
}


class RecipeError(UserError):
    """A recipe or an option that cannot be: expected, got, what exists."""

    status = 2


@dataclass(frozen=True)
class Interval:
    """The numbers from ``low`` to ``high``; an open end is not among them."""

    low: float
    high: float
    open_low: bool = False
    open_high: bool = False

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        return above and below  # NaN is neither

    def __str__(self) -> str:
        left = "(" if self.open_low else "["
        right = ")" if self.open_high else "]"
        return f"{left}{self.low}, {self.high}{right}"


@dataclass(frozen=True)
class Spec:
    """What a field means and takes.

    Attributes:
      kind: ``int``, ``float``, ``bool`` or ``str``.
      group: heading in flagfiles and ``--help``.
      help: meaning and unit.
      interval: the numbers allowed, for ``int`` and ``float``.
      choices: the names allowed, for ``str``; empty for any text.
    """

    kind: type
    group: str
    help: str
    interval: Interval | None = None
    choices: tuple[str, ...] = ()

    @property
    def expected(self) -> str:
        """What is allowed, in words."""
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
          ValueError: it is of another type, or out of range.
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
        if self.kind is bool:
            value = _SWITCHES.get(text.lower(), text)
        else:
            try:
                value = self.kind(text)
            except ValueError:
                value = text
        return self.check(value)

    def _allows(self, value: Any) -> bool:
        if self.kind is bool:
            return isinstance(value, bool)
        if self.kind is str:
            if not isinstance(value, str):
                return False
            # A flagfile must be able to carry it.
            plain = value == value.strip() and value.isprintable()
            return value in self.choices or (
                not self.choices and plain and " #" not in value
            )
        number = numbers.Integral if self.kind is int else numbers.Real
        return (
            isinstance(value, number)
            and not isinstance(value, bool)
            and value in self.interval
        )


def suggestion(value: Any, names: Iterable[str]) -> str:
    """Returns a question that names the closest name; empty if none is."""
    close = difflib.get_close_matches(str(value), list(names), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def text_of(value: Any) -> str:
    """Returns a field's value as flagfiles and `--help` write the value."""
    return str(value).lower() if isinstance(value, bool) else str(value)


SHARE = Interval(0, 1, open_high=True)
FACTOR = Interval(0, 1, open_low=True, open_high=True)
COUNT = Interval(1, 1_000_000)
COUNT_OR_OFF = Interval(0, 1_000_000)


def field(spec: Spec, default: Any) -> Any:
    """Declares a dataclass field with its `Spec`."""
    return dataclasses.field(default=default, metadata={"spec": spec})


def number(
    group: str, interval: Interval, text: str, default: Any = MISSING
) -> Any:
    """Declares a float field."""
    return field(Spec(float, group, text, interval), default)


def integer(
    group: str, interval: Interval, text: str, default: Any = MISSING
) -> Any:
    """Declares an int field."""
    return field(Spec(int, group, text, interval), default)


def name(
    group: str, choices: Iterable[str], text: str, default: Any = MISSING
) -> Any:
    """Declares a str field: one of `choices`, or any text if empty."""
    return field(Spec(str, group, text, choices=tuple(choices)), default)


def switch(group: str, text: str, default: Any = MISSING) -> Any:
    """Declares a bool field."""
    return field(Spec(bool, group, text), default)


def specs(cls: type) -> dict[str, Spec]:
    """The fields of ``Recipe`` or ``RunOptions`` by name, in order."""
    return {f.name: f.metadata["spec"] for f in dataclasses.fields(cls)}


def validate(instance: Any) -> None:
    """Checks every field, and stores it as its own type (10 as 10.0)."""
    for name, spec in specs(type(instance)).items():
        try:
            value = spec.check(getattr(instance, name))
        except ValueError as error:
            raise RecipeError(f"{name}: {error}") from None
        object.__setattr__(instance, name, value)


def replace_fields(instance: Any, changes: dict[str, Any]) -> Any:
    """Returns a copy with some fields changed, validated anew."""
    known = specs(type(instance))
    for name in changes:
        if name not in known:
            raise RecipeError(
                f"expected one of the fields {', '.join(known)}, got {name!r}"
            )
    return dataclasses.replace(instance, **changes)


def with_attributes(cls: type) -> type:
    """Appends to the docstring what the fields say of themselves."""
    lines = [
        f"  {name}: {spec.help}; {spec.expected}."
        for name, spec in specs(cls).items()
    ]
    cls.__doc__ = "\n".join([cls.__doc__ or "", "Attributes:", *lines])
    return cls
