"""Who may import whom, read from the source and seen in a fresh process."""

import ast
import pathlib
import subprocess
import sys

import pytest

import mnistpipe

PACKAGE = pathlib.Path(mnistpipe.__file__).parent


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


# What a room may import besides itself; the root's basics are for everybody.
BASICS = {"errors", "extras", "safejson"}
MAY_IMPORT = {
    "pipeline": set(),
    "recipes": set(),
    "data": {"recipes"},
    "networks": {"recipes", "pipeline"},
    "runs": {"networks", "data", "recipes"},
    "processes": {"runs", "recipes"},
    "training": {
        "evaluation",
        "processes",
        "runs",
        "networks",
        "data",
        "recipes",
        "pipeline",
    },
    "evaluation": {"runs", "networks", "data", "recipes", "pipeline"},
    "sweep": {"runs", "networks", "data", "recipes"},
    "reports": {
        *("sweep", "evaluation", "runs", "networks", "data", "recipes"),
        "pipeline",
    },
    "serving": {"evaluation", "runs", "networks", "data", "recipes"},
    "cli": {"sweep", "evaluation", "training", "runs", "recipes"},
}


def module_name(path):
    relative = path.relative_to(PACKAGE.parent).with_suffix("")
    parts = [part for part in relative.parts if part != "__init__"]
    return ".".join(parts)


def imported_modules(path):
    """The project's modules that a file imports, `import x from y` too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name for name in names if name.startswith("mnistpipe"))


def room(name):
    """The folder below mnistpipe that a dotted name is in, or the module."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else ""


INSIDE = [p for p in sorted(PACKAGE.rglob("*.py")) if p.parent != PACKAGE]


@pytest.mark.parametrize("path", INSIDE, ids=module_name)
def test_imports_follow_the_direction(path):
    own = room(module_name(path))
    allowed = MAY_IMPORT[own] | {own}
    if own != "pipeline":
        allowed |= BASICS
    refused = {
        name for name in imported_modules(path) if room(name) not in allowed
    } - {"mnistpipe"}
    assert not refused, f"{own} may import {sorted(allowed)}"


@pytest.mark.parametrize("name", sorted(BASICS))
def test_the_basics_import_no_room(name):
    refused = {
        imported
        for imported in imported_modules(PACKAGE / f"{name}.py")
        if room(imported) not in BASICS
    }
    assert not refused


def test_the_rooms_are_small():
    """At the root only binaries and basics; nowhere more than 12 modules."""
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    for folder in folders - {PACKAGE}:
        assert len(list(folder.glob("*.py"))) <= 13, folder  # and __init__
    for path in PACKAGE.glob("*.py"):
        binary = 'if __name__ == "__main__":' in path.read_text()
        assert binary or path.stem in BASICS | {"__init__"}, path


def loaded_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_the_core_needs_tensorflow_and_numpy_only():
    loaded = loaded_after("import mnistpipe.pipeline")
    ours = {name for name in loaded if name.startswith("mnistpipe.")}
    assert {name.split(".")[1] for name in ours} == {"pipeline"}
    core = [name.removeprefix("mnistpipe.") for name in ours]
    assert {"pipeline.draws", "pipeline.transforms.affine"} <= set(core)
    for name in core:
        path = (PACKAGE / name.replace(".", "/")).with_suffix(".py")
        if not path.exists():
            path = path.with_suffix("") / "__init__.py"
        others = {module.split(".")[0] for module in imported(path)}
        others -= set(sys.stdlib_module_names) | {"mnistpipe"}
        assert others <= {"tensorflow", "numpy"}, path


def test_recipes_and_flags_load_no_tensorflow():
    loaded = loaded_after("import mnistpipe.cli.app, mnistpipe.main")
    assert "mnistpipe.recipes" in loaded
    heavy = {"tensorflow", "keras", "tensorflow_addons"}
    assert not loaded & (heavy | {"sklearn", "matplotlib"})
