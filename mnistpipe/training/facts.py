"""The facts of a saved state beside its arrays, typed and checked on reading.

A state may come from a stranger. `Memory` names every attribute of a callback
that may be restored; nothing else in a state can set an attribute.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import ClassVar

from mnistpipe.runs.record import Count, Provenance, Seconds
from mnistpipe.safejson import AnyFloat

_NUMBER = r"(?:[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?|nan|[-+]?inf|NA)"
# Keras' CSVLogger writes a row of names, then a row of numbers per epoch.
_CSV = re.compile(rf"(?:\w+(?:,\w+)*\r?\n(?:{_NUMBER}(?:,{_NUMBER})*\r?\n)+)?")


@dataclasses.dataclass(frozen=True)
class PlateauMemory:
    """What Keras' ReduceLROnPlateau keeps from one epoch to the next."""

    best: AnyFloat | None = None
    wait: Count | None = None
    cooldown_counter: Count | None = None
    refuses_unknown: ClassVar[bool] = True


@dataclasses.dataclass(frozen=True)
class StoppingMemory:
    """What Keras' EarlyStopping keeps from one epoch to the next."""

    best: AnyFloat | None = None
    wait: Count | None = None
    stopped_epoch: Count | None = None
    best_epoch: Count | None = None
    refuses_unknown: ClassVar[bool] = True


@dataclasses.dataclass(frozen=True)
class BestMemory:
    """What SaveBest keeps from one epoch to the next."""

    best: AnyFloat | None = None
    best_epoch: Count | None = None
    refuses_unknown: ClassVar[bool] = True


@dataclasses.dataclass(frozen=True)
class Memory:
    """The memory of the callbacks, by the class of the callback.

    Fields are None before the end of the first epoch, and for callbacks that
    the recipe does not use.
    """

    ReduceLROnPlateau: PlateauMemory | None = None
    EarlyStopping: StoppingMemory | None = None
    SaveBest: BestMemory | None = None
    refuses_unknown: ClassVar[bool] = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class StateFacts(Provenance):
    """What the run was begun with, and the memory of the training.

    Attributes:
      memory: the memory of the callbacks at the end of the last epoch.
      stopped: whether early stopping has ended the training.
      history: figures by name, one for each finished epoch.
      history_file: the text of history.csv.
      seconds: the time spent in training so far.
      resumed: the steps at which the run was resumed.
    """

    memory: Memory
    stopped: bool
    history: Mapping[str, tuple[AnyFloat, ...]]
    history_file: str
    seconds: Seconds
    resumed: tuple[Count, ...]

    @property
    def epochs(self) -> int:
        """The number of finished epochs."""
        return len(next(iter(self.history.values()), ()))

    @classmethod
    def from_json(cls, content: Mapping) -> "StateFacts":
        """Returns the facts of parsed JSON, by this version or an older one.

        Raises:
          ValueError: one line: a fact is missing, or no training writes
            such a fact.
        """
        # The general check allows no line breaks, so this text is checked
        # separately.
        text = content.get("history_file")
        if not isinstance(text, str) or not _CSV.fullmatch(text):
            raise ValueError(
                "history_file: expected a table of numbers, got another text"
            )
        facts = super().from_json({**content, "history_file": ""})
        rows = max(text.count("\n") - 1, 0)
        lengths = {rows, *map(len, facts.history.values())}
        if len(lengths) > 1:
            raise ValueError(
                "history: expected as many figures as history_file has rows, "
                f"got {sorted(lengths)}"
            )
        best = facts.memory.SaveBest
        if best and best.best_epoch is not None and best.best_epoch >= rows:
            raise ValueError(
                f"memory.SaveBest.best_epoch: expected one of {rows} epochs, "
                f"got {best.best_epoch}"
            )
        return dataclasses.replace(facts, history_file=text)

    def to_json(self) -> dict:
        """Returns the fields for JSON; NaN and infinities are kept."""
        memory = {
            name: value
            for name, value in dataclasses.asdict(self.memory).items()
            if value is not None
        }
        own = {
            "memory": memory,
            "history": dict(self.history),
            "history_file": self.history_file,
        }
        return {**super().to_json(), **own}
