"""The processes that train one network together, seen from one of them.

A process that is alone is process 0 of 1, for which nothing here does
anything. JAX connects several processes: `jax.distributed` makes them known to
each other, and `keras.distribution.DataParallel` divides each batch among
their devices. Keras' own sharding of the dataset is off, because with it each
process would compute the whole batch and throw most of it away.

https://docs.jax.dev/en/latest/multi_process.html
https://keras.io/guides/distribution/
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import os
import pathlib
import signal
import sys
import tarfile
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import NoReturn

import numpy as np

from mnistpipe.errors import INTERRUPTED, UserError
from mnistpipe.processes.launcher import LOST
from mnistpipe.processes.options import ProcessOptions, loopback
from mnistpipe.runs import backends, runfolder
from mnistpipe.runs.runfolder import RunFolder

# Seconds after which a process that sends nothing counts as lost. JAX' default
# is 100.
HEARTBEAT = 20
# Seconds in which all processes must have started.
_START = 300
# Seconds that the other processes wait while process 0 scores and writes.
_SHUTDOWN = 86_400
_TEXT = 512  # bytes of a process' message to all others
# What a run folder holds that decides how a run goes on.
_DECIDING = (
    runfolder.FLAGS,
    runfolder.METRICS,
    runfolder.HISTORY,
    runfolder.STATE,
)
# How JAX describes a process that can no longer be reached.
_LOST_WORDS = ("gloo", "coordination", "connection", "heartbeat", "unavailable")


def run(options: ProcessOptions, body: Callable[[], int]) -> NoReturn:
    """Joins the group, calls `body`, and ends this process with its status.

    The process ends without Python's own clean-up, in which JAX would wait for
    the other processes, and these may be gone.
    """
    faulthandler.disable()  # absl's prints all threads when JAX aborts
    threading.Thread(target=_end_with_launcher, daemon=True).start()
    try:
        backends.load()
        _join(options)
        status = body()
        import jax

        jax.distributed.shutdown()
    except UserError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        status = error.status
    except KeyboardInterrupt:
        status = INTERRUPTED
    except Exception as error:
        status = 1
        if _is_loss(error):
            status = LOST
        else:
            traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _end_with_launcher() -> None:
    # The launcher holds the other end of this pipe and writes nothing.
    os.read(sys.stdin.fileno(), 1)
    os._exit(LOST)


def _is_loss(error: Exception) -> bool:
    import jax

    text = str(error).lower()
    return isinstance(error, (ValueError, jax.errors.JaxRuntimeError)) and any(
        word in text for word in _LOST_WORDS
    )


def _join(options: ProcessOptions) -> None:
    import jax
    import keras

    address = options.coordinator
    jax.distributed.initialize(
        coordinator_address=address,
        num_processes=options.processes,
        process_id=options.process,
        cluster_detection_method="deactivate",
        initialization_timeout=_START,
        heartbeat_timeout_seconds=HEARTBEAT,
        shutdown_timeout_seconds=_SHUTDOWN,
        # By default everybody who reaches this machine reaches the port.
        coordinator_bind_address=address if loopback(address) else None,
    )
    own, every = jax.local_device_count(), jax.device_count()
    if every != own * options.processes:
        raise UserError(
            "processes: expected the same number of devices on every process, "
            f"got {own} of {every} on process {options.process}"
        )
    # JAX has taken SIGTERM, and passes it on to all processes.
    signal.signal(signal.SIGINT, lambda *_: signal.raise_signal(signal.SIGTERM))
    keras.distribution.set_distribution(
        keras.distribution.DataParallel(auto_shard_dataset=False)
    )


def count() -> int:
    """Returns how many processes train together."""
    if backends.name() != "jax":
        return 1
    import jax

    return jax.process_count()


def place() -> int:
    """Returns which of these processes this is, from 0."""
    if backends.name() != "jax":
        return 0
    import jax

    return jax.process_index()


def devices() -> int:
    """Returns how many devices all processes have; 1 for a lone process."""
    if count() == 1:
        return 1
    import jax

    return jax.device_count()


def own_devices() -> int:
    """Returns how many devices this process has; 1 for a lone process."""
    return devices() // count()


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """Lets Keras work on this process only inside a `with` statement.

    Under the group's distribution, building, loading and predicting are common
    work: a process that does them alone waits for the others for ever.
    """
    if count() == 1:
        yield
        return
    import keras

    distribution = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(distribution)


def texts(text: str) -> list[str]:
    """Returns the text that each process passes, in the processes' order.

    All processes must call this function. Texts are cut after 512 bytes.
    """
    if count() == 1:
        return [text]
    from jax.experimental import multihost_utils

    message = np.zeros(_TEXT, np.uint8)
    content = np.frombuffer(text.encode()[:_TEXT], np.uint8)
    message[: len(content)] = content
    rows = np.asarray(multihost_utils.process_allgather(message))
    return [row.tobytes().rstrip(b"\0").decode(errors="ignore") for row in rows]


def check_same(what: str, text: str) -> None:
    """Refuses to train if the processes disagree about what to train.

    Raises:
      UserError: names the first process that differs from process 0.
    """
    first, *others = texts(text)
    for number, other in enumerate(others, 1):
        if other != first:
            raise UserError(
                f"processes: expected the {what} of process 0 on every "
                f"process, got others on process {number}"
            )


def stop_together(step: int) -> None:
    """Raises KeyboardInterrupt on all processes before the same step.

    All processes must call this function before each step. Nothing happens
    until one of them has received SIGTERM or Ctrl-C.

    Args:
      step: number of the step, counted over all epochs.
    """
    from jax.experimental import multihost_utils

    if multihost_utils.reached_preemption_sync_point(step):
        raise KeyboardInterrupt


@contextlib.contextmanager
def folder(
    opened: contextlib.AbstractContextManager[RunFolder],
) -> Iterator[RunFolder]:
    """Opens the run folder on process 0, and a temporary one elsewhere.

    The temporary folder begins with those files of the run folder that decide
    how the run goes on, and is removed at the end. So the hosts need no common
    file system, and process 0 alone writes the run folder.

    Raises:
      UserError: process 0 cannot use the run folder.
    """
    if count() == 1:
        with opened as own:
            yield own
        return
    with contextlib.ExitStack() as stack:
        error, content = "", b""
        if place() == 0:
            try:
                own = stack.enter_context(opened)
                content = _packed(own.path)
            except UserError as refusal:
                error = str(refusal)
        first, *_ = texts(error)
        if first:
            raise UserError(error or first)
        content = _from_first(content)
        if place() > 0:
            path = pathlib.Path(
                stack.enter_context(
                    tempfile.TemporaryDirectory(prefix="mnistpipe-")
                )
            )
            with tarfile.open(fileobj=io.BytesIO(content)) as archive:
                archive.extractall(path, filter="data")
            own = RunFolder(path)
        yield own


def _packed(path: pathlib.Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in _DECIDING:
            if (path / name).exists():
                archive.add(path / name, name)
    return buffer.getvalue()


def _from_first(content: bytes) -> bytes:
    """Returns process 0's bytes on every process."""
    from jax.experimental import multihost_utils

    # JAX sends arrays, whose shape must be the same on all processes.
    size = multihost_utils.broadcast_one_to_all(np.int32(len(content)))
    array = np.zeros(int(size), np.uint8)
    if place() == 0:
        array[:] = np.frombuffer(content, np.uint8)
    sent = multihost_utils.broadcast_one_to_all(array)
    return np.asarray(sent).astype(np.uint8).tobytes()
