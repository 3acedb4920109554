"""Starts the processes of one training on this machine, and waits for them.

The launcher loads neither TensorFlow nor JAX, so it sees at once how a process
ends, whatever has happened inside. When a process fails, the launcher ends the
others and prints one line.
"""

import collections
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable

from mnistpipe.errors import INTERRUPTED, UserError
from mnistpipe.extras import require
from mnistpipe.processes.options import VARIABLE, ProcessOptions

LOST = 71  # Exit status of a process that has lost another process.
# JAX aborts a process whose heartbeat finds no answer.
_LOSSES = (LOST, -signal.SIGABRT)
_GRACE = 10.0  # seconds in which the other processes may end by themselves
_POLL = 0.1  # seconds
# C++ libraries log in this form.
_LOG = re.compile(r"([IWEF])\d{4} \d\d:|WARNING: All log messages")
# What is printed if a process ended by a signal that the launcher passed on.
_ENDINGS = {
    -signal.SIGTERM: "Interrupted before the training began.",
    -signal.SIGKILL: "Ended at once; --resume goes on from the last state.",
}


class _Child:
    """A process of the group, with its standard error.

    Process 0's standard error is printed as it comes. Only the last lines of
    the other processes are kept, since most lines would come once for each
    process.

    Args:
      options: the process' place, and where all processes meet.
      temporary: the folder for its temporary files.
    """

    def __init__(self, options: ProcessOptions, temporary: str) -> None:
        self.place = options.process
        self.last: collections.deque[str] = collections.deque(maxlen=30)
        self.shown = options.process == 0
        told = f"{options.process} {options.processes} {options.coordinator}"
        self.process = subprocess.Popen(
            [sys.executable, *sys.orig_argv[1:]],
            env={
                **os.environ,
                "KERAS_BACKEND": "jax",
                # The process ends without Python's clean-up, so the launcher
                # removes what the process leaves here.
                "TMPDIR": temporary,
                VARIABLE: told,
            },
            # The process ends when this pipe is closed, that is, at the latest
            # when the launcher ends.
            stdin=subprocess.PIPE,
            stdout=None if self.shown else subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            # A terminal's Ctrl-C reaches the launcher, which passes it on.
            start_new_session=True,
        )
        self.killed = False  # by the launcher
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        aborting = False
        for line in self.process.stderr:
            log = _LOG.match(line)
            # JAX describes the loss of a process in many lines and aborts.
            if log and (
                log[1] == "F" or (log[1] == "E" and "oordination" in line)
            ):
                aborting = True
            if log or aborting:
                continue
            self.last.append(line)
            if self.shown:
                print(line, end="", file=sys.stderr, flush=True)


def run(options: ProcessOptions) -> int:
    """Starts this machine's processes; returns the exit status.

    Args:
      options: the result of `settled`, for several processes.

    Raises:
      UserError: JAX is missing, or another backend is asked for.
    """
    backend = os.environ.get("KERAS_BACKEND") or "jax"
    if backend != "jax":
        raise UserError(
            "processes: expected KERAS_BACKEND=jax, since several processes "
            f"train together with JAX only, got {backend}"
        )
    require("jax", ("jax", "jaxlib"))
    if options.coordinator:
        places = [options.process]
        coordinator = options.coordinator
    else:
        places = [*range(options.processes)]
        coordinator = f"127.0.0.1:{_free_port()}"
    with tempfile.TemporaryDirectory(
        prefix="mnistpipe-", ignore_cleanup_errors=True
    ) as temporary:
        return _wait(
            [
                _Child(
                    ProcessOptions(
                        process=place,
                        processes=options.processes,
                        coordinator=coordinator,
                    ),
                    temporary,
                )
                for place in places
            ]
        )


def _wait(children: list[_Child]) -> int:
    """Waits until all processes have ended; returns the exit status."""
    asked = _forward_signals(children)
    if _all_end_well(children):
        return 0
    _end(children)
    failed = [c for c in children if c.process.returncode and not c.killed]
    # Processes that have only lost another one do not tell why.
    cause = min(failed, key=lambda c: c.process.returncode in _LOSSES)
    status = cause.process.returncode
    if asked() and status in _ENDINGS:
        print(f"\n{_ENDINGS[status]}", file=sys.stderr)
        return INTERRUPTED
    if status == INTERRUPTED:
        return INTERRUPTED
    return _explain(cause, status)


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def _forward_signals(children: list[_Child]) -> Callable[[], bool]:
    """Passes Ctrl-C and SIGTERM to one process, which tells the others.

    A second signal ends all processes at once.

    Returns:
      A function that says whether a signal has come.
    """
    came: list[int] = []

    def forward(number: int, _: object) -> None:
        came.append(number)
        for child in children[: 1 if len(came) == 1 else None]:
            child.process.send_signal(
                signal.SIGTERM if len(came) == 1 else signal.SIGKILL
            )

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, forward)
    return lambda: bool(came)


def _all_end_well(children: list[_Child]) -> bool:
    """Waits until all have ended well, or one has failed."""
    while True:
        statuses = [child.process.poll() for child in children]
        if any(statuses):
            return False
        if None not in statuses:
            return True
        time.sleep(_POLL)


def _end(children: list[_Child]) -> None:
    """Waits a moment for processes that end by themselves, kills the rest."""
    until = time.monotonic() + _GRACE
    for child in children:
        try:
            child.process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.killed = True
            child.process.kill()
            child.process.wait()
        child.reader.join(1.0)


def _explain(child: _Child, status: int) -> int:
    """Prints why the group has ended, unless the process has.

    Returns:
      The exit status.
    """
    name = f"process {child.place}"
    if status in _LOSSES:
        print(
            f"error: {name} has lost another process of the training, which "
            "has ended or cannot be reached; --resume goes on",
            file=sys.stderr,
        )
        return 1
    if status < 0:
        what = signal.Signals(-status).name
        print(
            f"error: {name} was ended by {what}, and the training with it; "
            "--resume goes on",
            file=sys.stderr,
        )
        return 1
    if not child.shown:
        print("".join(child.last), end="", file=sys.stderr)
    return status
