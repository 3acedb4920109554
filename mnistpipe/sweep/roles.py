"""Who runs the trials: this process, or a chief's workers, here or elsewhere.

    alone                 one trial after another
    alone, --workers=N    a chief in this process, N workers of this machine
    chief                 hands out trials to whoever asks
    worker                asks a chief for trials until there are none

The chief's port has no authentication and no encryption; it is on loopback
unless told otherwise. All share the sweep's folder.
"""

import contextlib
import fcntl
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from mnistpipe.sweep import settings as settings_module
from mnistpipe.sweep import space
from mnistpipe.sweep.options import SweepOptions
from mnistpipe.sweep.report import Reporter
from mnistpipe.sweep.settings import Settings, SweepError

TUNE = (sys.executable, "-m", "mnistpipe.tune")
DEFAULT_ADDRESS = "127.0.0.1:8790"
# A chief that is started at the same time needs some seconds to listen.
CHIEF_SECONDS = 10
# A chief may be started again; its workers wait so long for it.
_GONE_SECONDS = 30
_POLL_SECONDS = 0.2
# Deaths of one worker in a row without a trial that ended in between.
_LIVES = 3
_THREADS = (
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "OMP_NUM_THREADS",
)


def parse_address(text: str) -> tuple[str, int]:
    """host:port; keras-tuner cannot take IPv6's colons.

    Raises:
      SweepError: it is something else.
    """
    host, _, port = text.rpartition(":")
    number = int(port) if port.isdecimal() else 0
    if host and ":" not in host and 0 < number < 65536:
        return host, number
    raise SweepError(
        f"chief_address: expected host:port, as {DEFAULT_ADDRESS}, came"
        f" {text!r}"
    )


def run(folder: pathlib.Path, settings: Settings, options: SweepOptions) -> int:
    """Runs or continues a sweep, alone or as its chief; the exit status."""
    for name in [n for n in os.environ if n.startswith("KERASTUNER_")]:
        del os.environ[name]  # roles are given by flags
    address = None
    if options.role == "chief" or options.workers:
        address = _own_address(options)
    continued = settings_module.keep(folder, settings)
    with _only_one(folder / "lock", f"the sweep in {folder}"):
        print(f"{'Continuing' if continued else 'Sweep in'} {folder}")
        reporter = Reporter(folder, settings)
        try:
            if options.workers:
                _run_here(folder, settings, reporter, address, options)
            else:
                _search(folder, settings, reporter, address)
        except KeyboardInterrupt:
            reporter.finish()
            raise
        rows = reporter.finish()
    return 0 if any(row.status == "completed" for row in rows) else 1


def _own_address(options: SweepOptions) -> tuple[str, int]:
    """Where the chief is to listen; refused if somebody does already."""
    if options.workers and not options.chief_address:
        with socket.create_server(("127.0.0.1", 0)) as any_port:
            return any_port.getsockname()[:2]
    host, port = parse_address(options.chief_address or DEFAULT_ADDRESS)
    # gRPC itself would share the port with another server, in silence.
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        raise SweepError(
            f"chief_address: expected a free port, came {host}:{port}:"
            f" {error.strerror}"
        ) from None
    return host, port


@contextlib.contextmanager
def _only_one(path: pathlib.Path, what: str) -> Iterator[None]:
    """Refuses to do what another process is doing; the file has its number."""
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


def _search(
    folder: pathlib.Path,
    settings: Settings,
    reporter: Reporter,
    address: tuple[str, int] | None,
) -> None:
    """Runs the trials, or as a chief hands them out."""
    from mnistpipe.sweep import search

    if address:
        search.take_role("chief", *address)
    oracle = search.make_oracle(settings, reporter)
    search.Tuner(oracle, folder, settings).search()


class _Chief(threading.Thread):
    """A chief in a thread.

    A daemon, since keras-tuner's looks only every 20 s whether all workers
    have gone, and waits for those that never come back.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(daemon=True)
        self._arguments = arguments
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            _search(*self._arguments)
        except BaseException as error:
            self._error = error

    def check(self) -> None:
        """Raises what ended it."""
        if self._error:
            raise self._error


def _run_here(
    folder: pathlib.Path,
    settings: Settings,
    reporter: Reporter,
    address: tuple[str, int],
    options: SweepOptions,
) -> None:
    """A chief in a thread of this process, and workers in processes."""
    chief = _Chief(folder, settings, reporter, address)
    chief.start()
    while not _listens(address):
        chief.check()
        time.sleep(_POLL_SECONDS)
    count = options.workers
    workers = [Worker(folder, address, n, count) for n in range(count)]
    try:
        going = workers
        while going:
            going = [worker for worker in going if worker.keep_going()]
            chief.check()
            time.sleep(_POLL_SECONDS)
        if options.role == "chief":  # others' workers may still be at it
            chief.join()
    finally:
        for worker in workers:
            worker.ask_to_end()
        for worker in workers:
            worker.wait()


class Worker:
    """A worker's process on this machine, started again when it dies."""

    def __init__(
        self,
        folder: pathlib.Path,
        address: tuple[str, int],
        number: int,
        count: int,
    ) -> None:
        self._name = f"local-{number}"
        self._log = folder / "workers" / f"{self._name}.log"
        self._log.parent.mkdir(exist_ok=True)
        self._command = [
            *TUNE,
            "--role=worker",
            f"--run_dir={folder}",
            f"--chief_address={address[0]}:{address[1]}",
            f"--worker_id={self._name}",
        ]
        self._environment = {**os.environ, **_threads(count)}
        for name in ("TUNER_ID", "ORACLE_IP", "ORACLE_PORT"):
            self._environment.pop(f"KERASTUNER_{name}", None)
        self._folder = folder
        self._ended = -1  # trials, when it was last started
        self._lives = _LIVES
        self._start()

    def _start(self) -> None:
        ended = len(list(self._folder.glob("trial_*/outcome.json")))
        self._lives = self._lives - 1 if ended == self._ended else _LIVES
        self._ended = ended
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,  # Ctrl-C reaches it through us
            )

    def keep_going(self) -> bool:
        """Starts it again if it died; False when it has ended its work."""
        status = self._process.poll()
        if status is None:
            return True
        if status == 0:
            return False
        if not self._lives:
            raise SweepError(
                f"workers: expected {self._name} to run, it ended {_LIVES + 1}"
                f" times without ending a trial; see {self._log}"
            )
        print(f"       {self._name} died with status {status}, starts again")
        self._start()
        return True

    def ask_to_end(self) -> None:
        """Has it save its training's state."""
        if self._process.poll() is None:
            self._process.terminate()

    def wait(self) -> None:
        """Waits until it has ended."""
        self._process.wait()


def _threads(count: int) -> dict[str, str]:
    """Each process' share of the cores."""
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        cores = len(os.sched_getaffinity(0))
    return dict.fromkeys(_THREADS, str(max(1, cores // count)))


def _listens(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=2).close()
    except OSError:
        return False
    return True


def work(folder: pathlib.Path, options: SweepOptions) -> int:
    """Runs a chief's trials until there are none; the exit status."""
    name = options.worker_id or socket.gethostname()
    if (
        "chief" in name
        or not name.replace("-", "a").replace(".", "a").isalnum()
    ):
        raise SweepError(
            "worker_id: expected letters, digits, - and ., without 'chief',"
            f" came {name!r}"
        )
    address = parse_address(options.chief_address or DEFAULT_ADDRESS)
    _await_chief(address)
    settings = settings_module.load(folder)
    # Trials that fail on this machine would end the sweep of all.
    space.check_optimizers(settings.axes, settings.recipe)
    path = folder / "workers" / f"{name}.lock"
    path.parent.mkdir(exist_ok=True)
    with _only_one(path, f"work as --worker_id={name}"):
        from mnistpipe.sweep import search

        search.take_role(name, *address)
        _await_grpc(address)
        watch = _ChiefWatch(address)
        oracle = search.make_oracle(settings)
        tuner = search.Tuner(oracle, folder, settings)
        watch.start()
        try:
            tuner.search()
        except KeyboardInterrupt:
            if watch.gone:
                raise SweepError(_no_chief(address, "it has gone")) from None
            raise
    return 0


def _await_chief(address: tuple[str, int]) -> None:
    end = time.monotonic() + CHIEF_SECONDS
    while not _listens(address):
        if time.monotonic() > end:
            raise SweepError(_no_chief(address, "nobody listens"))
        time.sleep(_POLL_SECONDS)


def _await_grpc(address: tuple[str, int]) -> None:
    """keras-tuner would wait for an hour for what never answers."""
    import grpc

    target = f"{address[0]}:{address[1]}"
    with grpc.insecure_channel(target) as channel:
        try:
            grpc.channel_ready_future(channel).result(CHIEF_SECONDS)
        except grpc.FutureTimeoutError:
            reason = "something else listens"
            raise SweepError(_no_chief(address, reason)) from None


def _no_chief(address: tuple[str, int], reason: str) -> str:
    return (
        f"chief_address: expected a chief at {address[0]}:{address[1]}, but"
        f" {reason}; it is started with --role=chief"
    )


class _ChiefWatch(threading.Thread):
    """Interrupts the main thread when the chief has been gone for too long."""

    def __init__(self, address: tuple[str, int]) -> None:
        super().__init__(daemon=True)
        self._address = address
        self.gone = False

    def run(self) -> None:
        seen = time.monotonic()
        while time.monotonic() < seen + _GONE_SECONDS:
            time.sleep(1)
            if _listens(self._address):
                seen = time.monotonic()
        self.gone = True
        os.kill(os.getpid(), signal.SIGTERM)
