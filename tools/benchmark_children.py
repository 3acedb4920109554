"""Measuring in processes of their own.

A child is one of this folder's programs. Each time that it reads a line, it
measures and prints the result as one line of JSON. In between it waits.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any


@contextlib.contextmanager
def child(
    program: str, *arguments: str, env: Mapping[str, str] | None = None
) -> Iterator[Callable[[], Any]]:
    """Gives a function that asks a new process for its figures.

    Args:
      program: path of the program.
      *arguments: the program's arguments.
      env: environment variables of the child, besides this process' own.
    """
    with subprocess.Popen(
        [sys.executable, program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **(env or {})},
        text=True,
    ) as process:

        def ask() -> Any:
            print(file=process.stdin, flush=True)
            answer = process.stdout.readline()
            if not answer:
                raise RuntimeError(f"{program} {arguments} ended early.")
            return json.loads(answer)

        try:
            yield ask
        finally:
            # A child has nothing to save, and TensorFlow can take minutes to
            # end an iterator whose batches are still being made.
            process.kill()


def answer(measure: Callable[[], Any]) -> None:
    """Measures and answers each time that the parent asks."""
    for _ in sys.stdin:
        print(json.dumps(measure()), flush=True)
