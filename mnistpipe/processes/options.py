"""The options that say on which processes one training runs."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

from mnistpipe.errors import UserError
from mnistpipe.recipes import Interval, field, validate

_GROUP = "Several processes"
_MOST = 10_000
# By this variable the launcher tells a process its place.
VARIABLE = "MNISTPIPE_PROCESS"
# The variables that Open MPI, Slurm and an indexed Kubernetes job set. Open MPI
# is first, because its processes inherit Slurm's variables inside a job.
_NUMBER = ("OMPI_COMM_WORLD_SIZE", "SLURM_NTASKS")
_PLACE = ("OMPI_COMM_WORLD_RANK", "SLURM_PROCID", "JOB_COMPLETION_INDEX")


@dataclass(frozen=True, kw_only=True)
class ProcessOptions:
    """On how many processes a training runs, and which one is started here."""

    # fmt: off
    processes: int = field(
        int, _GROUP, "number of processes that train one network together"
        " with JAX, each on its part of every batch; without --coordinator,"
        " all are started on this machine", interval=Interval(0, _MOST),
        default=0)
    process: int = field(
        int, _GROUP, "which process this command starts, from 0; -1 reads the"
        " variables of Slurm, Open MPI or Kubernetes",
        interval=Interval(-1, _MOST - 1), default=-1)
    coordinator: str = field(
        str, _GROUP, "host:port of process 0, at which all processes meet; the"
        " port has no password, so it belongs into a private network",
        default="")
    # fmt: on

    def __post_init__(self) -> None:
        validate(self)

    @property
    def several(self) -> bool:
        """Whether the training runs on several processes."""
        return self.processes > 1

    def settled(self, environ: Mapping[str, str]) -> "ProcessOptions":
        """Returns the options with number and place from the environment.

        The variables count only beside --coordinator, so that a training
        inside some Slurm job stays a training of one process.

        Raises:
          UserError: the options do not say which process this is.
        """
        if not self.coordinator:
            if self.process >= 0:
                raise UserError(
                    "process: expected --coordinator=host:port beside "
                    f"--process={self.process}, got none"
                )
            return self
        host, _, port = self.coordinator.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise UserError(
                "coordinator: expected host:port with a port of 1 to 65535, "
                f"got {self.coordinator}"
            )
        number = self.processes or _variable(environ, _NUMBER, "processes")
        if number < 2:
            raise UserError(
                "processes: expected at least 2 beside --coordinator, got "
                f"{number}; a lone process needs no coordinator"
            )
        place = self.process
        if place < 0:
            place = _variable(environ, _PLACE, "process")
        if not place < number:
            raise UserError(
                f"process: expected one of 0 to {number - 1} for {number} "
                f"processes, got {place}"
            )
        return replace(self, processes=number, process=place)


def _variable(
    environ: Mapping[str, str], names: tuple[str, ...], option: str
) -> int:
    for name in names:
        if environ.get(name, "").isdecimal():
            return int(environ[name])
    raise UserError(
        f"{option}: expected --{option} beside --coordinator, or the variable "
        f"{' or '.join(names)}, got neither"
    )


def loopback(coordinator: str) -> bool:
    """Returns whether only this machine reaches a coordinator's address."""
    host = coordinator.rpartition(":")[0]
    return host in ("localhost", "[::1]") or host.startswith("127.")


def in_environment() -> ProcessOptions | None:
    """Returns which process the launcher has started, if it started this one.

    The launcher says so in a variable, because the flags of all processes of
    a machine are the same.
    """
    text = os.environ.get(VARIABLE, "")
    if not text:
        return None
    process, processes, coordinator = text.split(" ")
    return ProcessOptions(
        process=int(process), processes=int(processes), coordinator=coordinator
    )
