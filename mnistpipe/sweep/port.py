"""The chief's port: gRPC with JSON, for workers that know the sweep's secret.

    Next   {"worker": name}                  → a `coordinator.Task`
    Renew  {"worker": name, "trial": number} → {}
    End    {"worker": name, "trial": number} → {}

The secret is a file in the sweep's folder that only its owner can read; all
machines share the folder. A request carries no results and no hyperparameters:
the chief reads results from the trial's folder. There is no encryption.
"""

import contextlib
import dataclasses
import hmac
import json
import os
import pathlib
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import grpc

from mnistpipe import safejson
from mnistpipe.sweep import records
from mnistpipe.sweep.settings import Settings, SweepError

SECRET = "chief.secret"
_SERVICE = "mnistpipe.Sweep"
_KEY = "sweep-secret"
_MAX_REQUEST = 4096  # bytes
_WORKER = re.compile(r"[A-Za-z0-9.-]{1,100}")
# How long a worker waits for a chief that does not answer, in seconds. A chief
# may be stopped and started again.
GONE_SECONDS = 30.0
RENEW_SECONDS = 15.0

Address = tuple[str, int]


def is_worker_name(name: Any) -> bool:
    """Says whether a worker may have this name."""
    return isinstance(name, str) and bool(_WORKER.fullmatch(name))


def make_secret(folder: pathlib.Path) -> str:
    """Returns the secret of a sweep, and creates its file (0600) if needed.

    Raises:
      SweepError: the file is damaged, or others can read it.
    """
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(
            folder / SECRET, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600
        )
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32))
    return read_secret(folder)


def read_secret(folder: pathlib.Path) -> str:
    """Reads the secret of a sweep.

    Raises:
      SweepError: the file is missing or damaged, or others can read it.
    """
    path = folder / SECRET
    text = ""
    try:
        if path.is_file():
            text = path.read_bytes()[:65].decode("ascii", "replace")
        private = path.is_file() and not path.stat().st_mode & 0o077
    except OSError as error:
        raise SweepError(
            f"{path}: expected a file that this user can read: {error.strerror}"
        ) from None
    if not private or not re.fullmatch("[0-9a-f]{64}", text):
        raise SweepError(
            f"{path}: expected a secret of 64 hexadecimal digits that only its"
            " owner can read; remove the file and start the chief again"
        )
    return text


def serve(coordinator: Any, address: Address, secret: str) -> grpc.Server:
    """Starts the server of a chief, which answers in threads.

    Args:
      coordinator: a `coordinator.Coordinator`.
      address: host and port to listen at.
      secret: what every request must have in its metadata.
    """

    def next_task(worker: str) -> dict[str, Any]:
        return dataclasses.asdict(coordinator.next_task(worker, lease=True))

    methods = {
        "Next": (next_task, {"worker"}),
        "Renew": (coordinator.renew, {"worker", "trial"}),
        "End": (coordinator.end, {"worker", "trial"}),
    }
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(_handler(*method, secret))
        for name, method in methods.items()
    }
    server = grpc.server(
        futures.ThreadPoolExecutor(4),
        handlers=[grpc.method_handlers_generic_handler(_SERVICE, handlers)],
        options=[
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", _MAX_REQUEST),
        ],
        maximum_concurrent_rpcs=256,
    )
    server.add_insecure_port(f"{address[0]}:{address[1]}")
    server.start()
    return server


def _handler(
    function: Callable[..., Any], names: set[str], secret: str
) -> Callable[[bytes, Any], bytes]:
    def handle(content: bytes, context: grpc.ServicerContext) -> bytes:
        got = dict(context.invocation_metadata()).get(_KEY, "")
        if not hmac.compare_digest(str(got).encode(), secret.encode()):
            context.abort(
                grpc.StatusCode.UNAUTHENTICATED,
                f"expected the secret of the sweep, see {SECRET} in its folder",
            )
        try:
            request = safejson.loads(content)
            if (
                not isinstance(request, dict)
                or request.keys() != names
                or not all(isinstance(v, str) for v in request.values())
                or not is_worker_name(request["worker"])
            ):
                raise ValueError(f"expected texts for {sorted(names)}")
            answer = function(**request)
        except ValueError as error:
            context.abort(
                grpc.StatusCode.INVALID_ARGUMENT, records.printable(str(error))
            )
        return json.dumps(answer or {}).encode()

    return handle


class Client:
    """What a worker asks its chief."""

    def __init__(self, address: Address, secret: str, worker: str) -> None:
        self._target = f"{address[0]}:{address[1]}"
        self._secret = secret
        self._worker = worker
        # A proxy does not know the chief.
        self._channel = grpc.insecure_channel(
            self._target, options=[("grpc.enable_http_proxy", 0)]
        )

    def next_task(self, settings: Settings) -> tuple[str, str, dict[str, Any]]:
        """Asks for a trial; returns state, number and point, all checked.

        Raises:
          SweepError: there is no chief, or the answer is wrong.
        """
        answer = self._ask("Next")
        try:
            if not isinstance(answer, dict):
                raise ValueError(f"expected a trial, got {answer!r:.40}")
            state = answer.get("state")
            if state in ("idle", "stopped"):
                return state, "", {}
            return (
                "run",
                records.check_trial_id(answer.get("trial"), settings),
                records.check_values(answer.get("values"), settings),
            )
        except ValueError as error:
            raise SweepError(self.no_chief(str(error))) from None

    def end(self, trial: str) -> bool:
        """Gives back a trial; False if another worker has it by now.

        Raises:
          SweepError: there is no chief.
        """
        return self._ask("End", trial=trial) is not None

    @contextlib.contextmanager
    def renewing(self, trial: str, stop: threading.Event) -> Iterator[None]:
        """Renews the lease on a trial in a thread.

        Args:
          trial: the trial's number.
          stop: set if the chief has not answered for GONE_SECONDS.
        """
        over = threading.Event()

        def renew() -> None:
            while not over.wait(RENEW_SECONDS):
                try:
                    self._ask("Renew", trial=trial)
                except SweepError:
                    stop.set()
                    return

        thread = threading.Thread(target=renew, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()

    def no_chief(self, reason: str) -> str:
        """Returns the message of an error about the chief."""
        return (
            f"chief_address: expected a chief at {self._target}, but {reason};"
            " it is started with --role=chief"
        )

    def _ask(self, method: str, **request: str) -> Any:
        """Returns the answer, or None if the chief refuses the request."""
        call = self._channel.unary_unary(f"/{_SERVICE}/{method}")
        content = json.dumps({"worker": self._worker, **request}).encode()
        end = time.monotonic() + GONE_SECONDS
        while True:
            try:
                answer = call(
                    content,
                    timeout=max(0.1, end - time.monotonic()),
                    wait_for_ready=True,
                    metadata=[(_KEY, self._secret)],
                )
                return safejson.loads(answer)
            except grpc.RpcError as error:
                code = error.code()
                if code == grpc.StatusCode.INVALID_ARGUMENT:
                    return None
                passing = code == grpc.StatusCode.UNAVAILABLE
                if not passing or time.monotonic() > end:
                    raise SweepError(self.no_chief(_reason(error))) from None
                time.sleep(0.2)
            except ValueError:
                raise SweepError(
                    self.no_chief("something else answers")
                ) from None


def _reason(error: grpc.RpcError) -> str:
    if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"no chief answered within {GONE_SECONDS:g} s"
    return records.printable(error.details() or error.code().name)
