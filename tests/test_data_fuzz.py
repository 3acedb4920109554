"""Damaged bytes of every kind: nothing but DataError, or good arrays.

This test tries 400 inputs; `tools/fuzz_data.py` is for many more.
"""

import os
import re
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOOL = ROOT / "tools" / "fuzz_data.py"


def run(*options, code=None):
    start = ["-c", code] if code else [str(TOOL)]
    return subprocess.run(
        [sys.executable, *start, *options],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


@pytest.mark.parametrize("fixed", [1, None])
def test_only_the_documented_error(fixed):
    seed = fixed or secrets.randbelow(2**32)
    done = run("--inputs=400", f"--seed={seed}")
    # The seed is in the output, so that a failure can be repeated.
    print(done.stdout, done.stderr)
    assert done.returncode == 0, f"seed {seed}"
    counts = re.findall(r"(\d+) refused +(\d+) loaded", done.stdout)
    assert len(counts) == 5
    assert sum(int(refused) for refused, _ in counts) > 200
    assert "400 inputs, no other outcome" in done.stdout


def test_the_fuzzer_can_fail():
    """With a reader that lets another error through, it says so."""
    code = (
        "import runpy, sys; from mnistpipe.data import files, npz, idx\n"
        "files._DAMAGE = ()\n"
        f"sys.argv[0] = {str(TOOL)!r}\n"
        f"runpy.run_path({str(TOOL)!r}, run_name='__main__')\n"
    )
    done = run("--inputs=400", "--seed=1", code=code)
    assert done.returncode != 0
    assert "changes=" in done.stderr
