"""The text that is printed at the start and at the end of a run."""

import textwrap
from collections.abc import Mapping

from mnistpipe.recipes import documented
from mnistpipe.runs import backends
from mnistpipe.runs.record import Hardware, Provenance, RunRecord


def summary(record: RunRecord) -> str:
    """Returns accuracy, protocol, versions and folder of a run, as lines."""
    rows = {
        "network": _network(record),
        "test accuracy": _accuracy(record),
        "protocol": record.protocol(),
        "best watched": record.best_watched(),
        "documented": documented_score(record),
        "training": training(record),
        "made with": made_with(record.versions, record.hardware),
        "run folder": record.run_dir,
    }
    return "\n".join(row(name, text) for name, text in rows.items() if text)


def opening(run: Provenance) -> str:
    """Returns the lines above the figures that a training prints."""
    rows = {
        "training": f"{run.arch}, {run.train_examples:,} images of "
        f"{run.data.name}, seed {run.seed}",
        "protocol": run.protocol(),
        "made with": made_with(run.versions, run.hardware),
    }
    return "\n".join(row(name, text) for name, text in rows.items())


def row(name: str, text: str) -> str:
    """Returns a line with a name before it, wrapped beside the name."""
    return textwrap.fill(
        text,
        width=79,
        initial_indent=f"{name:<15}",
        subsequent_indent=" " * 15,
        break_long_words=False,  # Paths must stay whole to be copied.
        break_on_hyphens=False,
    )


def made_with(versions: Mapping[str, str], hardware: Hardware) -> str:
    """Returns versions and hardware in one line."""
    gpus = "".join(f", {gpu}" for gpu in hardware.gpus)
    return (
        f"mnistpipe {versions.get('mnistpipe')}, {backends.summary(versions)}, "
        f"Python {versions.get('python')}; {hardware.processor()}{gpus}"
    )


def duration(seconds: float) -> str:
    """Returns a time in hours and minutes, minutes and seconds, or seconds."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def _network(record: RunRecord) -> str:
    stem = ""
    if record.arch == "strided400k":
        stem = f", stem {record.recipe.stem}"
    return f"{record.arch}{stem}, {record.parameters:,} parameters"


def _accuracy(record: RunRecord) -> str:
    if record.interrupted:
        return "not measured: the run was interrupted"
    examples, correct = record.test_examples, record.test_correct
    if examples is None or correct is None:
        return "not measured, as asked: --evaluate_test=false"
    return (
        f"{record.test_accuracy:.2%} of {examples:,} images "
        f"({examples - correct:,} wrong), {record.which_weights()}"
    )


def documented_score(record: RunRecord) -> str:
    """Documented scores exist only for the documented networks on MNIST."""
    if record.data.name != "mnist" or record.arch not in documented.SCORES:
        return ""
    first, second = documented.SCORES[record.arch]
    return (
        f"{first}% of the 10,000 MNIST test images, protocol not stated, "
        f"seemingly the best epoch on them ({second}% of a private test set "
        "that cannot be had)"
    )


def training(record: RunRecord) -> str:
    """Returns epochs, images, time and speed of a training in one line."""
    steps = ", ".join(map(str, record.resumed_at_steps))
    devices = record.devices
    return (
        f"{record.epochs_run} of {record.recipe.epochs} epochs of "
        f"{record.train_examples:,} images of {record.data.name} in "
        f"{duration(record.duration_seconds)}, "
        f"{record.images_per_second:,.0f} images/s, input on the "
        f"{record.input}{f' of {devices} devices' if devices > 1 else ''}, "
        f"seed {record.seed}{f', resumed at step {steps}' if steps else ''}"
    )
