"""Measuring in processes of their own, which differ in how they were begun.

A child is one of this folder's programs; it measures each time that it reads
a line, prints one figure, and in between does nothing.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping


@contextlib.contextmanager
def child(
    program: str, *arguments: str, env: Mapping[str, str] | None = None
) -> Iterator[Callable[[], float]]:
    """A function that asks a new process for one figure.

    Args:
      program: path of the program.
      *arguments: its own.
      env: environment variables that it has besides this process' own.
    """
    with subprocess.Popen(
        [sys.executable, program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **(env or {})},
        text=True,
    ) as process:

        def ask() -> float:
            print(file=process.stdin, flush=True)
            answer = process.stdout.readline()
            if not answer:
                raise RuntimeError(f"{program} {arguments} ended early.")
            return float(answer)

        yield ask
        process.stdin.close()  # which ends it


def answer(measure: Callable[[], float]) -> None:
    """What a child does once it is ready."""
    for _ in sys.stdin:
        print(measure(), flush=True)
