"""Trains a list of runs in the background, and continues after any stop.

python tools/campaign.py                        # tools/campaign.txt, runs/
python tools/campaign.py tools/campaign.txt --runs=runs --jobs=2

Each line of the list is the name of a run, which is its folder's name below
--runs, and the flags of `mnistpipe.main`. A run whose folder exists is resumed,
a finished one is skipped, and a failed one does not stop the others. Every run
is a process of its own at low priority (nice 10) with one thread, since on a
small machine two runs of one thread do more than one run of two threads.

Ctrl-C or SIGTERM stops the runs before their next step; each of them saves its
state, so the same command continues. Progress is one line per event; each
run's own output is in RUNS/NAME.log.
"""

import argparse
import dataclasses
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import time

DOCUMENTED = pathlib.Path(__file__).with_suffix(".txt")
ONE_THREAD = {
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}


@dataclasses.dataclass(frozen=True)
class Job:
    """One line of the list: a run's name and its flags."""

    name: str
    flags: tuple[str, ...]

    def command(self, runs: pathlib.Path) -> list[str]:
        """The trainer's command line: a new run, or the rest of an old one."""
        folder = runs / self.name
        where = [*self.flags, f"--run_dir={folder}"]
        if any(folder.glob("*")):
            where = [f"--resume={folder}"]
        return [sys.executable, "-m", "mnistpipe.main", *where, "--verbose=2"]

    def start(self, runs: pathlib.Path) -> subprocess.Popen:
        """Starts or resumes the run in the background."""
        resumed = any((runs / self.name).glob("*"))
        self.say("resumed" if resumed else "started")
        with open(runs / f"{self.name}.log", "a", encoding="utf-8") as log:
            return subprocess.Popen(
                ["nice", "-n", "10", *self.command(runs)],
                env={**os.environ, **ONE_THREAD},
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C in the terminal reaches the runs through this process.
                start_new_session=True,
            )

    def say(self, text: str) -> None:
        """Prints one line of progress."""
        print(f"{time.strftime('%H:%M:%S')}  {self.name}  {text}", flush=True)


def read_list(path: pathlib.Path) -> list[Job]:
    """Reads the list; a line that starts with # is a comment.

    Raises:
      SystemExit: one line, if the list cannot be read or names a run twice.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        sys.exit(f"error: expected a list of runs, got {path}: {error}")
    words = [shlex.split(line, comments=True) for line in lines]
    jobs = [Job(name, tuple(flags)) for name, *flags in filter(None, words)]
    names = [job.name for job in jobs]
    for name in names:
        if names.count(name) > 1 or name != pathlib.PurePath(name).name:
            sys.exit(f"error: {path}: expected one folder per run, got {name}")
    return jobs


def last_line(path: pathlib.Path) -> str:
    """The last line of a run's log that is not empty."""
    lines = path.read_text("utf-8", errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "")


def work(jobs: list[Job], runs: pathlib.Path, at_once: int) -> int:
    """Trains all jobs, some at once; returns how many failed."""
    runs.mkdir(parents=True, exist_ok=True)
    waiting, failed = list(jobs), 0
    running: dict[Job, subprocess.Popen] = {}
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                job = waiting.pop(0)
                running[job] = job.start(runs)
            ended = [j for j, p in running.items() if p.poll() is not None]
            for job in ended:
                code = running.pop(job).returncode
                failed += code != 0
                log = runs / f"{job.name}.log"
                job.say(last_line(log) if code else "finished")
            time.sleep(1)
    finally:
        for process in running.values():
            process.terminate()
        for job, process in running.items():
            process.wait()
            job.say("stopped; the same command resumes it")
    return failed


def main() -> int:
    """Trains what the list says; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "list", nargs="?", type=pathlib.Path, default=DOCUMENTED
    )
    parser.add_argument("--runs", type=pathlib.Path, default="runs")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    # SIGTERM ends the program as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    jobs = read_list(arguments.list)
    try:
        return int(work(jobs, arguments.runs, max(1, arguments.jobs)) > 0)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
