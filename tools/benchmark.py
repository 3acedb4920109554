"""Measures the pipeline beside its peers, and training with it.

    python tools/benchmark.py --all                 # 20 minutes on two cores
    python tools/benchmark.py --section=augment --sizes=28
    python tools/benchmark.py --section=fit,torch --arch=strided400k,pool2m

    augment   images/s of the pipeline and of each peer
    cores     the same with every peer on all cores, resized crops with colour
              jitter, and RandAugment: images/s of the machine and per core
    growth    images/s by batch size, image size, number of examples, cores
    fit       `fit` on the host and on the device path beside the same network
              on one constant batch
    torch     the same networks in PyTorch
    settings  threads, oneDNN, steps_per_execution, XLA
    epoch     where the time of an epoch of a documented recipe goes
    evaluate  scores of 10,000 images beside `predict`
    startup   from the trainer's start to its first step

In every section the candidates take turns, and medians of the rounds count
(`benchmark_timing.py`). Tables are Markdown; `--json` keeps them as JSON. A
peer that is not installed is named and left out (the extra `bench` installs
them). Run it with nothing else running.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import os
import platform
import time
from collections.abc import Callable
from typing import Any

# Set before TensorFlow is imported, which the sections do.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import benchmark_timing as timing
import keras
import tensorflow as tf

from mnistpipe import recipes

Section = Callable[[argparse.Namespace], list[timing.Table]]


def _augment(options: argparse.Namespace) -> list[timing.Table]:
    import benchmark_augment

    sizes = [int(size) for size in options.sizes.split(",")]
    return benchmark_augment.peers(sizes, options.rounds, options.seconds)


def _cores(options: argparse.Namespace) -> list[timing.Table]:
    import benchmark_machine

    sizes = [int(size) for size in options.sizes.split(",")]
    return benchmark_machine.tables(sizes, options.rounds, options.seconds)


def _growth(options: argparse.Namespace) -> list[timing.Table]:
    import benchmark_augment

    return benchmark_augment.growth(options.rounds, options.seconds / 2)


def _torch(options: argparse.Namespace) -> list[timing.Table]:
    if importlib.util.find_spec("torch") is None:
        note = "PyTorch is not installed: left out"
        return [timing.Table("The same networks in PyTorch", notes=[note])]
    import benchmark_torch

    return benchmark_torch.compare(
        options.arch, options.rounds, options.seconds
    )


def _fit(name: str) -> Section:
    def section(options: argparse.Namespace) -> list[timing.Table]:
        import benchmark_fit

        return getattr(benchmark_fit, name)(
            options.arch, options.rounds, options.seconds
        )

    return section


def _startup(options: argparse.Namespace) -> list[timing.Table]:
    import benchmark_startup

    return benchmark_startup.startup(options.arch[:1], options.rounds)


def _settings(options: argparse.Namespace) -> list[timing.Table]:
    import benchmark_settings

    return benchmark_settings.settings(
        options.arch, min(options.rounds, 3), options.seconds
    )


SECTIONS: dict[str, Section] = {
    "augment": _augment,
    "cores": _cores,
    "growth": _growth,
    "fit": _fit("fit"),
    "torch": _torch,
    "settings": _settings,
    "epoch": _fit("epoch"),
    "evaluate": _fit("evaluate"),
    "startup": _startup,
}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--section", default="", help="names, with commas")
    parser.add_argument("--all", action="store_true", help="every section")
    parser.add_argument("--sizes", default="28,96,224")
    parser.add_argument("--arch", default=",".join(recipes.DOCUMENTED))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--seconds", type=float, default=1.0, help="of each candidate's turn"
    )
    parser.add_argument("--json", help="also write the figures to this file")
    options = parser.parse_args()
    options.arch = options.arch.split(",")
    names = options.section.split(",") if options.section else list(SECTIONS)
    options.section = list(SECTIONS) if options.all else names
    for name, exists in (
        *((name, SECTIONS) for name in options.section),
        *((name, recipes.ARCHS) for name in options.arch),
    ):
        if name not in exists:
            parser.error(f"expected {', '.join(exists)}, got {name}")
    return options


def _machine() -> dict[str, Any]:
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "devices": [d.name for d in tf.config.list_physical_devices()],
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
    }


def main() -> None:
    """Runs the sections and prints their tables."""
    options = _options()
    machine = _machine()
    print(
        f"{machine['processor']}, {machine['cores']} cores; TensorFlow "
        f"{machine['tensorflow']}, Keras {machine['keras']}; medians of "
        f"{options.rounds} rounds by turns"
    )
    alone = timing.warning()
    if alone:
        print(alone)
    kept: dict[str, Any] = {
        "machine": machine,
        "rounds": options.rounds,
        "warning": alone,
    }
    for name in options.section:
        start = time.perf_counter()
        tables = SECTIONS[name](options)
        for table in tables:
            print(f"\n{table.markdown()}", flush=True)
        kept[name] = [dataclasses.asdict(table) for table in tables]
        print(f"\n({name}: {time.perf_counter() - start:.0f} s)", flush=True)
        if options.json:
            with open(options.json, "w", encoding="utf-8") as file:
                json.dump(kept, file, indent=2, ensure_ascii=False)


if __name__ == "__main__":
    main()
