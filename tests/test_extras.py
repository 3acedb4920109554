"""What `pip install mnistpipe` brings, and what a command says without more.

`tests/light_install.py`, which .ci/run calls in an environment of its own,
checks the same with a real light install.
"""

import configparser
import pathlib
import re
import subprocess
import sys

import pytest

from mnistpipe import extras
from mnistpipe.errors import UserError

ROOT = pathlib.Path(__file__).parents[1]
# Where the name of the distribution is not the name of the package.
IMPORTED = {
    "absl-py": "absl",
    "grpcio": "grpc",
    "keras-tuner": "keras_tuner",
    "scikit-learn": "sklearn",
}
COMMANDS = {
    **dict.fromkeys(("main", "evaluate", "report"), "train"),
    **{"tune": "sweep", "preview": "preview", "demo": "demo"},
}


@pytest.fixture(scope="module")
def declared():
    """The distributions of each extra, without those of other extras."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    lists = dict(parser["options.extras_require"])
    lists[""] = parser["options"]["install_requires"]
    return {
        extra: set(re.findall(r"^(mnistpipe\[\w+\]|[\w-]+)", text, re.M))
        for extra, text in lists.items()
    }


def resolved(extra, declared):
    """The packages of an extra, those of the extras in it too."""
    for name in declared[extra]:
        inner = re.fullmatch(r"mnistpipe\[(\w+)\]", name)
        if inner:
            yield from resolved(inner[1], declared)
        else:
            yield IMPORTED.get(name, name)


def test_the_core_is_light(declared):
    assert declared[""] == {"tensorflow", "keras", "numpy", "pillow"}


@pytest.mark.parametrize("extra", extras.PACKAGES)
def test_setup_installs_what_the_commands_check(extra, declared):
    assert set(resolved(extra, declared)) == set(extras.PACKAGES[extra])


def test_the_tests_extra_has_what_sweeps_need(declared):
    assert set(resolved("test", declared)) >= set(extras.PACKAGES["sweep"])


def test_missing_packages_are_named(monkeypatch):
    for name in ("sklearn", "jinja2"):
        monkeypatch.setitem(sys.modules, name, None)  # as if not installed
    extras.check("")
    extras.check("preview")
    with pytest.raises(UserError) as caught:
        extras.check("train")
    assert str(caught.value) == (
        "expected the packages of the extra `train` (pip install"
        " 'mnistpipe[train]'), got no jinja2, sklearn"
    )


@pytest.mark.parametrize(("command", "extra"), COMMANDS.items())
def test_a_command_names_its_extra(command, extra):
    code = f"""
import runpy, sys
for name in {extras.PACKAGES[extra]!r}:
    if name not in ("absl", "h5py"):  # which TensorFlow brings
        sys.modules[name] = None
sys.argv = ["mnistpipe.{command}"]
runpy.run_module("mnistpipe.{command}", run_name="__main__")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    assert done.returncode == 1 and not done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ") and f"extra `{extra}`" in line


def test_a_preview_without_matplotlib_names_the_extra(monkeypatch):
    from mnistpipe.pipeline import previews

    for name in [n for n in sys.modules if n.split(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"mnistpipe\[preview\]"):
        previews.figure(None)
