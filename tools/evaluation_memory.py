"""Does an ensemble cost more memory than its largest network? Peak RSS.

python tools/evaluation_memory.py [how many times each of the four]

Makes an untrained run of each architecture, then evaluates each alone and all
together on MNIST's test set, every time in a process of its own.
"""

import pathlib
import subprocess
import sys
import tempfile

from mnistpipe.recipes import ARCHS

# The peak of a process is known to itself only.
MEASURE = """
import io, contextlib, resource, sys
from mnistpipe import evaluate
from mnistpipe.cli import app, flags
from mnistpipe.evaluation.options import EvaluationOptions
flags.define(EvaluationOptions)
try:
    with contextlib.redirect_stdout(io.StringIO()):
        app.run(evaluate.main)
except SystemExit as end:
    assert not end.code, end.code
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def python(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    return done.stdout


def peak(*runs: str) -> int:
    """MiB."""
    return int(python("-c", MEASURE, f"--run={','.join(runs)}"))


def main() -> None:
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    with tempfile.TemporaryDirectory() as folder:
        runs = {}
        for arch in ARCHS:
            for n in range(times):
                run = str(pathlib.Path(folder) / f"{arch}-{n}")
                python(
                    *("-m", "mnistpipe.main", f"--arch={arch}", "--epochs=0"),
                    *(f"--run_dir={run}", f"--seed={n}", "--verbose=0"),
                )
                runs.setdefault(arch, []).append(run)
        alone = {arch: peak(runs[arch][0]) for arch in ARCHS}
        for arch, figure in alone.items():
            print(f"{arch:<20}{figure:>6} MiB")
        together = peak(*(run for group in runs.values() for run in group))
    print(f"{len(ARCHS) * times} together          {together:>6} MiB")
    print(f"beside the largest  {together - max(alone.values()):>+6} MiB")


if __name__ == "__main__":
    main()
