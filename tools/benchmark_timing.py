"""Timing by turns, and tables of the results.

A shared or throttled machine changes from second to second. So candidates
take turns, round after round, every other round in reverse; what counts is
the median of the rounds, and for a ratio that of the rounds' own ratios.
"""

from __future__ import annotations

import dataclasses
import os
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

Rounds = dict[str, list[Any]]


def interleaved(
    candidates: Mapping[str, Callable[[], Any]], rounds: int
) -> Rounds:
    """Calls each candidate once a round, after a round that is thrown away.

    Args:
      candidates: by name, functions that measure and give what they measured.
      rounds: how many count.

    Returns:
      The figures of each, in the order of the rounds.
    """
    figures: Rounds = {name: [] for name in candidates}
    names = list(candidates)
    for round_ in range(rounds + 1):
        for name in names if round_ % 2 else reversed(names):
            figure = candidates[name]()
            if round_:  # the first one traces and warms
                figures[name].append(figure)
    return figures


def seconds(function: Callable[[], Any]) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def medians(figures: Rounds) -> dict[str, float]:
    """One figure for each candidate."""
    return {name: statistics.median(f) for name, f in figures.items()}


def ratio(figures: Rounds, above: str, below: str) -> float:
    """Median of the rounds' ratios, in which the machine's drift cancels."""
    pairs = zip(figures[above], figures[below], strict=True)
    return statistics.median(a / b for a, b in pairs)


@dataclasses.dataclass
class Table:
    """Figures with a title, printed as Markdown and kept for JSON.

    Attributes:
      title: what was measured, with its unit.
      rows: dicts of the same keys, which are the columns.
      notes: what is behind a peer and why, and what else must be known.
    """

    title: str
    rows: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)

    def markdown(self) -> str:
        """Title, table, notes."""
        columns = list(dict.fromkeys(c for row in self.rows for c in row))
        lines = [
            f"**{self.title}**",
            "",
            "| " + " | ".join(columns) + " |",
            "|---" * len(columns) + "|",
            *(
                "| " + " | ".join(_text(row.get(c)) for c in columns) + " |"
                for row in self.rows
            ),
            *([""] if self.notes else []),
            *(f"- {note}" for note in self.notes),
        ]
        return "\n".join(lines)


def _text(value: Any) -> str:
    """Three digits, or whole numbers: more is noise."""
    if value is None:
        return "–"
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def warning() -> str | None:
    """One line if others were at work on the machine, if that is known."""
    if not hasattr(os, "getloadavg"):
        return None
    load = os.getloadavg()[0]
    if load < 0.5:
        return None
    return (
        f"Load {load:.1f} on {os.cpu_count()} cores when it began: with others "
        "at work the times count for little, the ratios for more."
    )
