"""Every Python block of the README runs as it stands."""

import pathlib
import re

import pytest

README = pathlib.Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(
    r"^### (.+?)\n.*?^```python\n(.*?)^```",
    README.read_text(encoding="utf-8"),
    flags=re.MULTILINE | re.DOTALL,
)


def test_the_examples_were_found():
    assert len(BLOCKS) == README.read_text(encoding="utf-8").count("```python")
    assert len(BLOCKS) >= 5


@pytest.mark.parametrize(
    "code", [code for _, code in BLOCKS], ids=[title for title, _ in BLOCKS]
)
def test_example_runs(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})
