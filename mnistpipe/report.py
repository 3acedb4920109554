"""Writes a self-contained HTML report of runs or of a sweep.

python -m mnistpipe.report --run=runs/X
python -m mnistpipe.report --run=runs/X,runs/Y --out=both.html
python -m mnistpipe.report --sweep=sweeps/X

A training writes the report of its own run when it ends or is interrupted, and
a sweep writes its report after each trial. The page opens from a file and
needs no network.
"""

import os
import pathlib

from mnistpipe.cli import app, flags
from mnistpipe.errors import UserError
from mnistpipe.reports.options import ReportOptions
from mnistpipe.runs import finished, runfolder


def main(argv: list[str]) -> None:
    """Writes the page that the flags ask for, and prints its path."""
    del argv  # the parser allows nothing but flags
    options = flags.read(ReportOptions)
    out = pathlib.Path(options.out) if options.out else None
    if out is not None and out.exists():
        raise UserError(f"out: expected a new page, got {out}, which exists")
    # Without a GPU, TensorFlow prints errors about CUDA that mean nothing.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if options.sweep:
        from mnistpipe.reports import sweep_report

        folder = pathlib.Path(options.sweep)
        page = sweep_report.html(folder)
        path = out or folder / sweep_report.NAME
    else:
        runs = {run: finished.read_record(run) for run in options.runs}
        from mnistpipe.reports import run_report

        page = run_report.html(
            {
                pathlib.Path(run).resolve().name: (pathlib.Path(run), one)
                for run, one in runs.items()
            }
        )
        path = out or pathlib.Path(options.runs[0]) / run_report.NAME
    try:
        with runfolder.replacing(path) as beside:
            beside.write_text(page, "utf-8")
    except OSError as error:
        raise _unwritable(path, error) from None
    print(path)


def _unwritable(path: pathlib.Path, error: OSError) -> UserError:
    return UserError(
        f"out: expected a page that can be written, got {str(path)!r}:"
        f" {os.strerror(error.errno or 0)}"
    )


if __name__ == "__main__":
    flags.define(ReportOptions)
    app.run(main, extra="train")
