"""What a person reads at the end of a run, from what metrics.json holds."""

import textwrap
from collections.abc import Mapping
from typing import Any

from mnistpipe.recipes import documented
from mnistpipe.runs import backends


def summary(metrics: Mapping[str, Any]) -> str:
    """A line each: accuracy with its protocol, what made it, where it is."""
    rows = {
        "network": _network(metrics),
        "test accuracy": _accuracy(metrics),
        "protocol": protocol(metrics),
    }
    # Of other data and of our own networks, nothing is.
    if (
        metrics["data"]["name"] == "mnist"
        and metrics["arch"] in documented.SCORES
    ):
        rows["documented"] = _documented(metrics)
    rows |= {
        "training": _training(metrics),
        "made with": made_with(metrics),
        "run folder": metrics["run_dir"],
    }
    return "\n".join(row(name, str(text)) for name, text in rows.items())


def opening(origin: Mapping[str, Any]) -> str:
    """What stands above the figures that a training prints."""
    read = origin["options"]["evaluate_test"] or None
    rows = {
        "training": f"{origin['arch']}, {origin['train_examples']:,} images "
        f"of {origin['data']['name']}, seed {origin['seed']}",
        "protocol": protocol({**origin, "test_accuracy": read}),
        "made with": made_with(origin),
    }
    return "\n".join(row(name, text) for name, text in rows.items())


def protocol(metrics: Mapping[str, Any]) -> str:
    """How the number was selected, in words; no accuracy goes without."""
    name = metrics["protocol"]
    if metrics["selected_on_test"]:
        return (
            f"{name}: selected on the test set, whose images were the "
            "validation images"
        )
    held_out = f"{metrics['validation_examples']:,} training images held out"
    if not metrics["validation_examples"]:
        held_out = "no images held out"
    read = "test set read once, at the end"
    if metrics.get("options", {}).get("watch_test"):
        read = "test set scored after each epoch, and chose nothing"
    elif metrics["test_accuracy"] is None:
        read = "test set not read"
    return f"{name}: {held_out}; {read}"


def row(name: str, text: str) -> str:
    """A line with a name before it, wrapped beside the name."""
    return textwrap.fill(
        text,
        width=79,
        initial_indent=f"{name:<15}",
        subsequent_indent=" " * 15,
        break_long_words=False,  # paths are to be copied
        break_on_hyphens=False,
    )


def _network(metrics: Mapping[str, Any]) -> str:
    stem = ""
    if metrics["arch"] == "strided400k":
        stem = f", stem {metrics['recipe']['stem']}"
    return f"{metrics['arch']}{stem}, {metrics['parameters']:,} parameters"


def _accuracy(metrics: Mapping[str, Any]) -> str:
    if metrics["interrupted"]:
        return "not measured: the run was interrupted"
    if metrics["test_accuracy"] is None:
        return "not measured, as asked: --evaluate_test=false"
    wrong = metrics["test_examples"] - metrics["test_correct"]
    weights = "last weights"
    if metrics["weights"] == "best.keras":
        weights = f"weights of the best epoch, {metrics['best_epoch'] + 1}"
    return (
        f"{metrics['test_accuracy']:.2%} of {metrics['test_examples']:,} "
        f"images ({wrong:,} wrong), {weights}"
    )


def _documented(metrics: Mapping[str, Any]) -> str:
    """The first score is on MNIST's test images, the second can't be had."""
    first, second = documented.SCORES[metrics["arch"]]
    return (
        f"{first}% of the 10,000 MNIST test images, protocol not stated, "
        f"seemingly the best epoch on them ({second}% of a private test set "
        "that cannot be had)"
    )


def _training(metrics: Mapping[str, Any]) -> str:
    epochs = f"{metrics['epochs_run']} of {metrics['recipe']['epochs']} epochs"
    resumed = metrics["resumed_at_steps"]
    steps = f", resumed at step {', '.join(map(str, resumed))}"
    return (
        f"{epochs} of {metrics['train_examples']:,} images of "
        f"{metrics['data']['name']} in "
        f"{duration(metrics['duration_seconds'])}, "
        f"{metrics['images_per_second']:,.0f} images/s, input on the "
        f"{metrics['input']}{_devices(metrics)}, seed {metrics['seed']}"
        f"{steps if resumed else ''}"
    )


def _devices(metrics: Mapping[str, Any]) -> str:
    number = metrics.get("devices", 1)  # which older runs don't say
    return f" of {number} devices" if number > 1 else ""


def made_with(metrics: Mapping[str, Any]) -> str:
    """Versions and hardware."""
    versions, hardware = metrics["versions"], metrics["hardware"]
    gpus = "".join(f", {gpu}" for gpu in hardware["gpus"])
    return (
        f"mnistpipe {versions['mnistpipe']}, {backends.words(versions)}, "
        f"Python {versions['python']}; {hardware['cores']} cores of "
        f"{hardware['cpu']}{gpus}"
    )


def duration(seconds: float) -> str:
    """A time in the units that people would use for it."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
