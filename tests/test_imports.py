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


@pytest.mark.parametrize(
    "path", sorted((PACKAGE / "pipeline").glob("*.py")), ids=lambda p: p.name
)
def test_the_pipeline_knows_nothing_of_the_project(path):
    ours = [name for name in imported(path) if name.startswith("mnistpipe")]
    assert all(name.startswith("mnistpipe.pipeline") for name in ours), ours


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
    core = [name.split(".")[2] for name in ours if name.count(".") == 2]
    assert {"draws", "stream", "warp", "affine", "feeds"} <= set(core)
    for name in core:
        path = PACKAGE / "pipeline" / f"{name}.py"
        others = {module.split(".")[0] for module in imported(path)}
        others -= set(sys.stdlib_module_names) | {"mnistpipe"}
        assert others <= {"tensorflow", "numpy"}, path


def test_recipes_and_flags_load_no_tensorflow():
    loaded = loaded_after("import mnistpipe.flagdefs, mnistpipe.main")
    assert "mnistpipe.recipes" in loaded
    heavy = {"tensorflow", "keras", "tensorflow_addons"}
    assert not loaded & (heavy | {"sklearn", "matplotlib"})
