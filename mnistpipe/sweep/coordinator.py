"""Hands out the trials of a sweep and takes them back, under one lock.

Threads of this process and workers of other machines (see port.py) ask for
trials by name. A worker of another machine has a lease on its trial, which the
worker must renew; when the lease ends, another worker gets the trial. Results
are read from the trial's folder, and never taken from a worker's request.
"""

import contextlib
import itertools
import pathlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from mnistpipe.sweep import records, search
from mnistpipe.sweep.records import DamagedError
from mnistpipe.sweep.settings import Settings

ORACLE = "oracle.json"
LEASE_SECONDS = 60.0


class LeaseError(ValueError):
    """The trial is not leased to the worker that names the trial."""


@dataclass(frozen=True)
class Task:
    """The answer to a worker that asks for a trial.

    Attributes:
      state: "run", "idle" (ask again later) or "stopped" (nothing is left).
      trial: the trial's number.
      values: the trial's point.
    """

    state: str
    trial: str = ""
    values: dict[str, Any] = field(default_factory=dict)


class Coordinator:
    """Holds the oracle of a sweep; every method may be called by any thread."""

    def __init__(
        self,
        folder: pathlib.Path,
        settings: Settings,
        report: Callable[[str], None],
    ) -> None:
        """Rebuilds the oracle from the folder.

        Args:
          folder: the sweep's.
          settings: the sweep's.
          report: called with a trial's number when it begins and ends.
        """
        self._folder = folder
        self._settings = settings
        self._report = report
        self._oracle = search.make_oracle(settings)
        self._waiting: list[str] = []  # trials to hand out before new ones
        self._leases: dict[str, float] = {}  # when a worker's lease ends
        self._told: dict[str, bool] = {}  # remote workers: told of the end?
        self._lock = threading.Lock()
        self._error: BaseException | None = None
        self._restore()

    def next_task(self, worker: str, lease: bool = False) -> Task:
        """Hands out a trial.

        A worker that was started again gets the trial that it already has.

        Args:
          worker: the worker's name.
          lease: whether the trial has to be renewed.
        """
        with self._working():
            self._end_leases()
            trial = self._oracle.ongoing_trials.get(worker) or self._begin()
            if lease:
                self._told[worker] = trial == "STOPPED"
            if isinstance(trial, str):
                return Task(trial.lower())
            if lease:
                self._leases[worker] = time.monotonic() + LEASE_SECONDS
            if worker not in self._oracle.ongoing_trials:
                self._oracle.ongoing_trials[worker] = trial
                self._report(trial.trial_id)
            return Task("run", trial.trial_id, trial.hyperparameters.values)

    def renew(self, worker: str, trial: str) -> None:
        """Extends the lease of a worker.

        Raises:
          LeaseError: the trial is not leased to this worker.
        """
        with self._working():
            self._check_lease(worker, trial)
            self._leases[worker] = time.monotonic() + LEASE_SECONDS

    def end(self, worker: str, trial: str) -> None:
        """Takes back a trial, whose outcome is in its folder.

        Raises:
          LeaseError: the trial is not leased to this worker.
          DamagedError: the folder has no outcome, or a damaged one. The lease
            is left alone.
        """
        with self._working():
            self._check_lease(worker, trial)
            taken = self._oracle.trials[trial]
            self._judge(taken)
            self._save(taken)
            del self._oracle.ongoing_trials[worker]
            self._leases.pop(worker, None)
            self._report(trial)

    def finished(self) -> bool:
        """Says whether nothing is left, and raises what ended the sweep."""
        if self._error:
            raise self._error
        with self._working():
            self._end_leases()
            if self._waiting or self._oracle.ongoing_trials:
                return False
            trial = self._begin()
            if isinstance(trial, str):
                return True
            self._waiting.append(trial.trial_id)
            return False

    @property
    def everybody_told(self) -> bool:
        """Whether every worker of another machine has been told of the end."""
        return all(self._told.values())

    @contextlib.contextmanager
    def _working(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except (LeaseError, DamagedError):
                raise
            except BaseException as error:  # raised by `finished` too
                self._error = error
                raise

    def _begin(self) -> Any:
        """Returns a trial to run, "IDLE", or "STOPPED"."""
        oracle = self._oracle
        if self._waiting:
            return oracle.trials[self._waiting.pop(0)]
        names = (
            records.trial_id(number, self._settings)
            for number in itertools.count()
        )
        name = next(name for name in names if name not in oracle.trials)
        most = self._settings.sweep.max_trials
        response: dict[str, Any] = {"status": "STOPPED"}
        if not most or int(name) < most:
            response = oracle.populate_space(name)
        if response["status"] != records.RUNNING:
            return "IDLE" if oracle.ongoing_trials else "STOPPED"
        trial = oracle.add(name, response["values"])
        self._save(trial)
        return trial

    def _save(self, trial: search.Trial) -> None:
        folder = self._folder / f"trial_{trial.trial_id}"
        records.write(folder / records.TRIAL, trial.get_state())
        state = {"seed_state": self._oracle.seed_state}
        records.write(self._folder / ORACLE, state)

    def _judge(self, trial: search.Trial) -> None:
        """Takes the result of a trial from its folder."""
        folder = self._folder / f"trial_{trial.trial_id}"
        outcome = records.read_outcome(folder, self._settings)
        trial.status = "FAILED" if outcome.reason else "COMPLETED"
        trial.score = outcome.figures.get(self._settings.sweep.objective)

    def _check_lease(self, worker: str, trial: str) -> None:
        held = self._oracle.ongoing_trials.get(worker)
        if held is None or held.trial_id != trial:
            raise LeaseError(
                f"expected a trial that {worker} was handed and has not lost,"
                f" got {trial[:40]!r}"
            )

    def _end_leases(self) -> None:
        """Has trials handed out anew whose workers are silent."""
        now = time.monotonic()
        for worker in [w for w, end in self._leases.items() if end < now]:
            del self._leases[worker]
            self._told.pop(worker, None)
            trial = self._oracle.ongoing_trials.pop(worker)
            self._waiting.append(trial.trial_id)
            print(
                f"{trial.trial_id:>5}  {worker} has not been heard of for"
                f" {LEASE_SECONDS:g} s; the trial is handed out anew",
                flush=True,
            )

    def _restore(self) -> None:
        """Puts back the trials of earlier starts."""
        found = []
        for folder in sorted(self._folder.glob("trial_*")):
            if not folder.is_dir() or not any(folder.iterdir()):
                continue
            try:
                found.append(records.read_trial(folder, self._settings))
            except DamagedError as error:
                self._set_aside(folder, error)
        # A promoted trial needs the trial of the earlier round.
        found.sort(key=lambda r: (r.values.get(records.ROUND, 0), r.trial))
        for record in found:
            folder = self._folder / f"trial_{record.trial}"
            try:
                self._oracle.put_back(record)
            except DamagedError as error:
                self._set_aside(folder, error)
                continue
            self._take_up(record)
        self._waiting.sort()
        self._oracle.count_draws(self._folder / ORACLE)

    def _take_up(self, record: records.TrialRecord) -> None:
        """Has a trial repeated that was running or whose outcome is lost."""
        trial = self._oracle.trials[record.trial]
        if record.status != records.RUNNING:
            try:
                self._judge(trial)
                return
            except DamagedError as error:
                print(f"{record.trial:>5}  damaged, is repeated: {error}")
                self._save(trial)
        self._waiting.append(record.trial)

    def _set_aside(self, folder: pathlib.Path, error: DamagedError) -> None:
        """Keeps a damaged trial under another name; its number is free."""
        aside = (
            folder.with_name(f"damaged_{folder.name}-{number}")
            for number in itertools.count(1)
        )
        path = next(path for path in aside if not path.exists())
        folder.rename(path)
        number = records.printable(folder.name.removeprefix("trial_"))
        print(
            f"{number:>5}  damaged, kept as {records.printable(path.name)},"
            f" is repeated: {records.printable(str(error))}",
            flush=True,
        )
