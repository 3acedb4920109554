"""The roles of a sweep's processes.

    alone    runs trials in threads of this process, --workers of them
    chief    does the same and also hands out trials at a port (see port.py)
    worker   asks a chief for trials until nothing is left

In each role, every training is a process of its own. All roles share the
sweep's folder.
"""

import contextlib
import fcntl
import os
import pathlib
import socket
import time
from collections.abc import Iterator
from concurrent import futures
from typing import Any

from mnistpipe.sweep import settings as settings_module
from mnistpipe.sweep import space, trials
from mnistpipe.sweep.options import SweepOptions
from mnistpipe.sweep.report import Reporter
from mnistpipe.sweep.settings import Settings, SweepError

DEFAULT_ADDRESS = "127.0.0.1:8790"
# A chief that is started at the same time needs some seconds to listen.
CHIEF_SECONDS = 10
# How long the chief waits at the end until all workers know of the end.
_FAREWELL_SECONDS = 5
_POLL_SECONDS = 0.2


def parse_address(text: str) -> tuple[str, int]:
    """Returns host and port of "host:port"; IPv6 is not supported.

    Raises:
      SweepError: the text is something else.
    """
    host, _, port = text.rpartition(":")
    number = int(port) if port.isdecimal() and len(port) < 6 else 0
    if host and ":" not in host and 0 < number < 65536:
        return host, number
    raise SweepError(
        f"chief_address: expected host:port, as {DEFAULT_ADDRESS}, got {text!r}"
    )


def run(folder: pathlib.Path, settings: Settings, options: SweepOptions) -> int:
    """Runs a sweep, alone or as its chief; returns the exit status."""
    address = None
    if options.role == "chief":
        address = _free_address(options.chief_address or DEFAULT_ADDRESS)
    continued = settings_module.keep(folder, settings)
    with _only_one(folder / "lock", f"the sweep in {folder}"):
        from mnistpipe.sweep import coordinator  # loads keras-tuner

        print(f"{'Continuing' if continued else 'Sweep in'} {folder}")
        reporter = Reporter(folder, settings)
        try:
            one = coordinator.Coordinator(folder, settings, reporter)
            if address:
                _serve(folder, settings, one, address, options.workers)
            else:
                _run_threads(folder, settings, one, options.workers)
        except KeyboardInterrupt:
            reporter.finish()
            raise
        rows = reporter.finish()
    return 0 if any(row.status == "completed" for row in rows) else 1


def _free_address(text: str) -> tuple[str, int]:
    """Returns the chief's address, or refuses an address in use."""
    host, port = parse_address(text)
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        raise SweepError(
            f"chief_address: expected a free port, got {host}:{port}:"
            f" {error.strerror}"
        ) from None
    return host, port


@contextlib.contextmanager
def _only_one(path: pathlib.Path, what: str) -> Iterator[None]:
    """Allows one process at a time; the file holds its process number."""
    with open(path, "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            raise SweepError(
                f"run_dir: expected nobody else at {what}, found process"
                f" {file.read() or 'of unknown number'}"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _run_threads(
    folder: pathlib.Path, settings: Settings, coordinator: Any, count: int
) -> None:
    """Runs trials in threads until nothing is left."""
    environment = trials.share_of_cores(count) if count else {}
    limits = trials.Limits(environment=environment)
    count = count or 1
    with futures.ThreadPoolExecutor(count) as pool:
        threads = [
            pool.submit(
                _run_thread, folder, settings, coordinator, f"local-{n}", limits
            )
            for n in range(count)
        ]
        try:
            for thread in futures.as_completed(threads):
                thread.result()
        finally:  # after Ctrl-C or an error, trainings save their state
            limits.stop.set()


def _run_thread(
    folder: pathlib.Path,
    settings: Settings,
    coordinator: Any,
    name: str,
    limits: trials.Limits,
) -> None:
    while not limits.stop.is_set():
        task = coordinator.next_task(name)
        if task.state == "stopped":
            return
        if task.state == "idle":
            limits.stop.wait(_POLL_SECONDS)
            continue
        with contextlib.suppress(trials.StoppedError):
            trials.run_point(folder, task.trial, task.values, settings, limits)
            coordinator.end(name, task.trial)


def _serve(
    folder: pathlib.Path,
    settings: Settings,
    coordinator: Any,
    address: tuple[str, int],
    count: int,
) -> None:
    """Hands out trials to the workers, and runs some in threads if asked."""
    from mnistpipe.sweep import port

    server = port.serve(coordinator, address, port.make_secret(folder))
    try:
        if count:
            _run_threads(folder, settings, coordinator, count)
        while not coordinator.finished():
            time.sleep(_POLL_SECONDS)
        end = time.monotonic() + _FAREWELL_SECONDS
        while not coordinator.everybody_told and time.monotonic() < end:
            time.sleep(_POLL_SECONDS)
    finally:
        server.stop(grace=1).wait()


def work(folder: pathlib.Path, options: SweepOptions) -> int:
    """Runs a chief's trials until none is left; returns the exit status."""
    from mnistpipe.sweep import port

    name = options.worker_id or socket.gethostname()
    if not port.is_worker_name(name):
        raise SweepError(
            "worker_id: expected at most 100 letters, digits, - and ., got"
            f" {name!r}"
        )
    address = parse_address(options.chief_address or DEFAULT_ADDRESS)
    _await_chief(address)
    settings = settings_module.load(folder)
    # Trials that fail on this machine would count as the sweep's.
    space.check_optimizers(settings.axes, settings.recipe)
    path = folder / "workers" / f"{name}.lock"
    path.parent.mkdir(exist_ok=True)
    with _only_one(path, f"work as --worker_id={name}"):
        chief = port.Client(address, port.read_secret(folder), name)
        _run_tasks(folder, settings, chief)
    return 0


def _run_tasks(folder: pathlib.Path, settings: Settings, chief: Any) -> None:
    while True:
        state, trial, values = chief.next_task(settings)
        if state == "stopped":
            return
        if state == "idle":
            time.sleep(_POLL_SECONDS)
            continue
        limits = trials.Limits()
        try:
            with chief.renewing(trial, limits.stop):
                trials.run_point(folder, trial, values, settings, limits)
        except trials.StoppedError:
            raise SweepError(chief.no_chief("the chief has gone")) from None
        chief.end(trial)


def _await_chief(address: tuple[str, int]) -> None:
    """Waits for a chief that was started at the same time."""
    end = time.monotonic() + CHIEF_SECONDS
    while True:
        try:
            socket.create_connection(address, timeout=2).close()
            return
        except OSError as error:
            if time.monotonic() > end:
                raise SweepError(
                    "chief_address: expected a chief at"
                    f" {address[0]}:{address[1]}, but nobody listens; it is"
                    " started with --role=chief"
                ) from error
        time.sleep(_POLL_SECONDS)
