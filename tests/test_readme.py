"""What README.md and docs/ show runs, and what they name exists."""

import functools
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "WORKSPACE.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
TEXTS = {str(p.relative_to(ROOT)): p.read_text("utf-8") for p in PAGES}
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
BLOCKS = {
    f"{name}:{text.count(chr(10), 0, match.start()) + 1}": match[1]
    for name, text in TEXTS.items()
    for match in BLOCK.finditer(text)
}
LINK = re.compile(r"\]\(([^)\s]+)\)")
COMMAND = re.compile(r"python -m mnistpipe\.(\w+)((?:[^\n`\\]|\\\n)*)")
INLINE = re.compile(r"`--(\w+)")


def test_the_examples_were_found():
    assert len(BLOCKS) == sum(
        text.count("```python") for text in TEXTS.values()
    )
    assert len(BLOCKS) >= 5
    assert TEXTS["README.md"].count("\n") <= 200
    assert TEXTS["WORKSPACE.md"].count("\n") <= 120


@pytest.mark.parametrize("code", BLOCKS.values(), ids=BLOCKS.keys())
def test_example_runs(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "example", "exec"), {"__name__": "example"})


def heading_anchors(page: pathlib.Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    titles = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    kept = (re.sub(r"[^\w\- ]", "", title.lower()) for title in titles)
    return {title.replace(" ", "-") for title in kept}


@pytest.mark.parametrize("name", TEXTS)
def test_relative_links_lead_somewhere(name):
    for target in LINK.findall(TEXTS[name]):
        if target.startswith(("http:", "https:", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        page = (ROOT / name).parent / path if path else ROOT / name
        assert page.exists(), target
        assert not anchor or anchor in heading_anchors(page), target


@functools.cache
def flags_of(binary: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-m", f"mnistpipe.{binary}", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    names = set(re.findall(r"^ +--(\w+)$", done.stdout, re.MULTILINE))
    assert names, done.stdout
    return names | {f"no{name}" for name in names} | {"flagfile", "help"}


@pytest.mark.parametrize("name", TEXTS)
def test_commands_name_binaries_and_flags_that_exist(name):
    for binary, rest in COMMAND.findall(TEXTS[name]):
        assert (ROOT / "mnistpipe" / f"{binary}.py").exists(), binary
        for flag in re.findall(r"--(\w+)", rest.partition("#")[0]):
            assert flag in flags_of(binary), f"{binary} --{flag}"


@pytest.mark.parametrize("name", TEXTS)
def test_flags_in_the_text_exist(name):
    binaries = (
        *("main", "evaluate", "predict", "tune", "models", "preview"),
        *("report", "demo", "export"),
    )
    known = set().union(*(flags_of(binary) for binary in binaries))
    assert set(INLINE.findall(TEXTS[name])) <= known


@pytest.mark.parametrize("name", TEXTS)
def test_tools_exist(name):
    for tool in re.findall(r"python tools/(\w+\.py)", TEXTS[name]):
        assert (ROOT / "tools" / tool).exists(), tool


def test_the_workspace_names_files_that_exist():
    named = re.findall(r"`(\w+/[\w/]*(?:\.py)?)`", TEXTS["WORKSPACE.md"])
    assert len(named) > 30
    missing = [
        path
        for path in named
        if not (ROOT / path).exists()
        and not (ROOT / "mnistpipe" / path).exists()
    ]
    assert not missing
